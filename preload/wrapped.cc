#include "preload/wrapped.h"

#include <dlfcn.h>

#include "preload/family.h"

namespace gcm::next {
namespace {

constexpr const char* kTexts[] = {
#define WRAP(name, reason) #name,
#include "preload/wrapped.inc"
#undef WRAP
    nullptr};

}  // namespace

constinit void* g_functions[kNames + 1] = {};

void Resolve() {
  for (unsigned i = 0; i < kNames; ++i) {
    if (LoadRelaxed(&g_functions[i]) == nullptr)
      StoreRelaxed(&g_functions[i], dlsym(RTLD_NEXT, kTexts[i]));
  }
}

}  // namespace gcm::next

namespace gcm {

void StartWrapping() {
  next::Resolve();
  StartLoading();
  StartBlocking();
  StartHandlers();
}

void WrappingAfterFork() { HandlersAfterFork(); }

}  // namespace gcm
