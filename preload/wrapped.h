// libc's own functions behind the names that this library wraps: GCM_NEXT(poll)(fds, n, timeout).
#pragma once

#include "platform/base.h"

namespace gcm::next {

// Finds all of them. At the start; a call that comes earlier finds them itself. A name that this
// libc does not have stays null.
void Resolve();

// One word a name, in the list's order.
enum Name : unsigned {
#define WRAP(name, reason) k_##name,
#include "preload/wrapped.inc"
#undef WRAP
  kNames
};
extern constinit void* g_functions[kNames + 1];

GCM_INLINE void* Find(Name name) {
  if (GCM_UNLIKELY(LoadRelaxed(&g_functions[name]) == nullptr)) Resolve();
  return LoadRelaxed(&g_functions[name]);
}

#define GCM_NEXT(name) reinterpret_cast<decltype(&::name)>(::gcm::next::Find(::gcm::next::k_##name))

}  // namespace gcm::next

namespace gcm {

// The parts of StartWrapping: preload/loading.cc, preload/blocking.cc, preload/handlers.cc.
void StartLoading();
void StartBlocking();
void StartHandlers();
void HandlersAfterFork();

// No thread of ours is left; and none is made if nothing is collected any more.
// preload/namespaces.cc
void EndCycleBeside();

// Around a fork that calls no handlers of it: preload/start.cc.
void BeforeFork();
void AfterForkInParent();
void AfterForkInChild();

}  // namespace gcm
