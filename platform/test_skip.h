// Negative controls: in a build with GCM_TEST_HOOKS (CONFIG=hooks), GCM_TEST_SKIP=name,name in the
// environment leaves out one rule of the collector each, so that the rule's own test can be seen
// to fail without it. In every other build Skips() is false at compile time.
// Law: a name stands here and nowhere else; the test that needs it says what it proves.
#pragma once

#include "platform/base.h"

namespace gcm {

#define GCM_TEST_SKIPS(X)                                                                        \
  X(restart)    /* interrupted system calls are not continued after a stop */                    \
  X(publish)    /* blocking calls do not publish their stacks: all threads are signalled */      \
  X(trampoline) /* the program's handlers run although the world is stopped */                   \
  X(apart)      /* nothing is done with a descriptor table of its own */                         \
  X(keep_proc)  /* a change of the root directory leaves /proc behind */                         \
  X(own_proc)   /* /proc/self is read, the first thread's */                                     \
  X(numbers)    /* threads have the numbers that /proc shows */                                  \
  X(thread_list) /* threads are listed anew although none came or went */                        \
  X(high)       /* descriptors keep the number that open gave them */                            \
  X(inside)     /* a fork in a handler takes the locks that its thread has */                    \
  X(residence)  /* without a page map all memory is read */

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
