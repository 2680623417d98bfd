// Negative controls: in a build with GCM_TEST_HOOKS (CONFIG=hooks), GCM_TEST_SKIP=name,name in the
// environment leaves out one rule of the collector each, so that the rule's own test can be seen
// to fail without it. In every other build Skips() is false at compile time.
// Law: a name stands here and nowhere else; the test that needs it says what it proves.
#pragma once

#include "platform/base.h"

namespace gcm {

#define GCM_TEST_SKIPS(X)                                                                   \
  X(restart)    /* interrupted system calls are not continued after a stop */               \
  X(publish)    /* blocking calls do not publish their stacks: all threads are signalled */ \
  X(trampoline) /* the program's handlers run although the world is stopped */              \
  /* The root scan leaves out one kind of place each. */                                    \
  X(sigqueue)  /* values of queued signals */                                               \
  X(mq_notify) /* values of message queues' notifications */

enum class Skip : unsigned {
#define GCM_SKIP_NAME(name) name,
  GCM_TEST_SKIPS(GCM_SKIP_NAME)
#undef GCM_SKIP_NAME
};

#ifdef GCM_TEST_HOOKS
// Reads GCM_TEST_SKIP; an unknown name ends the process. Once, at the start.
void ReadTestSkips(char** environment);
bool Skips(Skip what);
#else
inline void ReadTestSkips(char**) {}
constexpr bool Skips(Skip) { return false; }
#endif

}  // namespace gcm
