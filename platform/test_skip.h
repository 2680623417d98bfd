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
  X(registers)        /* what the kernel saved of a stopped thread's registers */           \
  X(own_registers)    /* the registers that the collecting thread's caller keeps */         \
  X(stack_pointer)    /* the stack pointer itself, where the stack is a block */            \
  X(alternate_stack)  /* the collecting thread's alternate signal stack, as a block */      \
  X(main_stack)       /* the main thread's stack */                                         \
  X(thread_stack)     /* stacks that the C library made for threads */                      \
  X(thread_data)      /* thread-local storage and the thread's descriptor behind it */      \
  X(statics)          /* data of loaded objects */                                          \
  X(program_break)    /* what sbrk gives */                                                 \
  X(anonymous)        /* other private anonymous mappings */                                \
  X(private_file)     /* private mappings of files */                                       \
  X(read_only)        /* private mappings that may only be read */                          \
  X(shared_anonymous) /* shared anonymous and System V memory */                            \
  X(shared_file)      /* shared mappings of files */                                        \
  X(memfd)            /* shared mappings of memfds */                                       \
  X(code_bytes)       /* operands at any byte of executable memory */                       \
  X(rings)            /* requests and answers of io_uring and aio */                        \
  X(epoll)            /* the data of epoll registrations */                                 \
  X(timers)           /* values of timers */                                                \
  X(sigqueue)         /* values of queued signals */                                        \
  X(mq_notify)        /* values of message queues' notifications */                         \
  X(protected_blocks) /* the contents of blocks that are protected against reading */       \
  X(large_blocks)     /* the contents of large blocks */                                    \
  /* Marking beside the program. */                                                         \
  X(queued)      /* a span that waits to be scanned is forgotten, now and then */           \
  X(early_sweep) /* some spans are swept before anything has been marked */                 \
  X(arm_first)   /* pages are armed when all that was found is marked, not before */        \
  X(pass)        /* what was marked before it was armed is not scanned again */             \
  X(selective)   /* all that is in use is watched, in a small heap, too */                  \
  X(beside)      /* what grows is marked in one stop */                                     \
  X(stop_arms)   /* what such a stop has marked is armed when all run again */              \
  X(armed_again) /* pages that were armed before are so once more, whatever was written */  \
  X(trial)       /* no stop comes before the slices */                                      \
  X(trial_left)  /* what there was no time for in it counts as scanned */                   \
  X(track)       /* the dirty source tracks nothing */                                      \
  X(black)       /* what is handed out during a sweep is not marked before */               \
  X(cached)      /* what threads have at hand is not marked before a sweep */               \
  /* Mark bits that stay. */                                                                \
  X(new_marks)  /* a new span has the mark bits that an earlier one has left there */       \
  X(promoted)   /* pages that are armed for the first time are not scanned once more */     \
  X(born_white) /* what is born before the stop of a minor cycle is marked */               \
  X(notes)      /* what a minor cycle marks before its last stop is not scanned again */    \
  X(born_noted) /* spans that are born while young blocks are marked are not scanned */     \
  X(unscanned)  /* pages with marked blocks that are not armed are not scanned */           \
  /* Dirty tracking. */                                                                     \
  X(dirty)  /* no page is reported as written */                                            \
  X(writes) /* nobody writes after the first round */                                       \
  X(rearm)  /* a page that was fetched and re-armed is never reported again */              \
  /* Descriptors, /proc, forks. */                                                          \
  X(own_descriptors) /* no thread can have descriptors of its own */                        \
  X(apart)           /* nothing is done with a descriptor table of its own */               \
  X(keep_proc)       /* a change of the root directory leaves /proc behind */               \
  X(own_proc)        /* /proc/self is read, the first thread's */                           \
  X(numbers)         /* threads have the numbers that /proc shows */                        \
  X(thread_list)     /* threads are listed anew although none came or went */               \
  X(high)            /* descriptors keep the number that open gave them */                  \
  X(inside)          /* a fork in a handler takes the locks that its thread has */          \
  X(residence)       /* without a page map all memory is read */

enum class Skip : unsigned {
#define GCM_SKIP_NAME(name) name,
  GCM_TEST_SKIPS(GCM_SKIP_NAME)
#undef GCM_SKIP_NAME
};

#ifdef GCM_TEST_HOOKS
inline constexpr bool kTestHooks = true;
// Reads GCM_TEST_SKIP; an unknown name ends the process. Once, at the start.
void ReadTestSkips(char** environment);
bool Skips(Skip what);
#else
inline constexpr bool kTestHooks = false;
inline void ReadTestSkips(char**) {}
constexpr bool Skips(Skip) { return false; }
#endif

}  // namespace gcm
