// dlopen without RTLD_DEEPBIND: an object that looks for symbols in its own libraries first finds
// glibc's free there, and is handed blocks of ours by the program (PHP's extensions, BIND's
// plugins). What else it would have found in its own libraries first, it now finds where the
// program does: as for every object that is loaded without the flag.
#include <dlfcn.h>

#include "platform/stubs.h"
#include "preload/family.h"
#include "preload/wrapped.h"

extern "C" {

// Before libc's is known; dlopen takes us for the caller then.
static void* FindDlopen(const char* file, int flags) { return GCM_NEXT(dlopen)(file, flags); }
__attribute__((visibility("hidden"), used)) void* (*GcmDlopenBehind)(const char*, int) = FindDlopen;
asm(GCM_DLOPEN_STUB("dlopen", "GcmDlopenBehind"));
}

namespace gcm {

void StartLoading() {
  if (void* libc = next::Find(next::k_dlopen)) {
    GcmDlopenBehind = reinterpret_cast<decltype(GcmDlopenBehind)>(libc);
  }
}

}  // namespace gcm
