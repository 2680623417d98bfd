// fork and its kin, while other threads allocate, lose and collect.
//
// Law: a child has the heap as it was, collects what only it has lost, and hangs at nothing that a vanished thread
// was in the middle of.
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "process.h"

extern char** environ;

namespace {
using namespace process_test;

CASE(fork_busy) {
  Busy busy;
  for (int i = 0; i < 25; ++i) in_child([] { exercise(); });
}

CASE(fork_grandchildren) {
  Busy busy;
  for (int i = 0; i < 8; ++i) in_child([] { in_child([] { in_child([] { exercise(); }); exercise(); }); exercise(); });
}

CASE(fork_child_makes_threads) {
  Busy busy;
  for (int i = 0; i < 8; ++i) {
    in_child([] {
      {
        Busy more;
        for (int n = 0; n < 3; ++n) in_child([] { exercise(); });
        exercise(false);
      }
      exercise();
    });
  }
}

CASE(fork_from_several_threads) {
  Busy busy(1, 1);
  pthread_t threads[3];
  auto forking = [](void*) -> void* {
    for (int i = 0; i < 8; ++i) in_child([] { exercise(); });
    return nullptr;
  };
  for (auto& thread : threads) MUST(pthread_create(&thread, nullptr, forking, nullptr) == 0);
  for (auto& thread : threads) pthread_join(thread, nullptr);
}

// The only thread forks in a handler that interrupts its own malloc, free or collection: as with glibc's malloc,
// parent and child both go on.
constexpr int kForks = 60;
std::atomic<int> handled;
bool is_child = false;

void arm() {
  itimerval time = {};
  time.it_value.tv_usec = 20 + rand() % 700;
  MUST(setitimer(ITIMER_REAL, &time, nullptr) == 0);
}

void fork_in_handler(int) {
  const pid_t child = fork();
  if (child == 0) {
    is_child = true;
    signal(SIGALRM, SIG_DFL);
    alarm(10);
    return;
  }
  MUST(child > 0);
  await(child);
  if (++handled < kForks) arm();
}

// `step` is what is interrupted.
void fork_while(const std::function<void()>& step) {
  struct sigaction action = {};
  action.sa_handler = fork_in_handler;
  action.sa_flags = SA_RESTART;
  MUST(sigaction(SIGALRM, &action, nullptr) == 0);
  arm();
  while (!is_child && handled < kForks) step();
  if (is_child) {  // goes on from where the handler interrupted
    for (int i = 0; i < 100; ++i) step();
    exercise();
    _exit(0);
  }
  signal(SIGALRM, SIG_DFL);
  alarm(20);
}

CASE(fork_in_handler) {
  Table table(5);
  fork_while([&table] { table.step(); });
}

CASE(fork_in_handler_refilling) {
  std::size_t n = 0;
  fork_while([&n] { lose(1, 3000 + ++n % 60000); });
}

CASE(fork_in_handler_inside) {
  static std::size_t n = 0;
  fork_while([] { free(malloc(40000 + ++n % 16 * 8192)); });
}

CASE(fork_in_handler_collecting) {
  fork_while([] {
    lose(10, 100);
    collect();
  });
}

// Forks of which libc runs no handlers.
CASE(fork_raw) {
  for (int i = 0; i < 10; ++i) {
    const pid_t child = static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr));
    MUST(child >= 0);
    if (child == 0) {
      alarm(20);
      exercise();
      { Busy busy(2, 1); usleep(20000); }
      exercise();
      _exit(0);
    }
    await(child);
    exercise();
  }
}

CASE(fork_underscore) {
  for (int i = 0; i < 10; ++i) {
    const pid_t child = _Fork();
    MUST(child >= 0);
    if (child == 0) {
      alarm(20);
      exercise();
      _exit(0);
    }
    await(child);
  }
}

int in_clone(void*) {
  alarm(20);
  exercise();
  return 0;
}

CASE(clone_without_vm) {
  Busy busy(1, 0);
  static char stack[256 * 1024] __attribute__((aligned(16)));
  usleep(1000);
  const pid_t child = clone(in_clone, stack + sizeof stack, SIGCHLD, nullptr);
  MUST(child >= 0);
  // Another thread may have held a lock at that moment, and libc ran no handlers: the child may hang, as with any
  // malloc. It must not crash or lose what it holds.
  int status;
  for (int i = 0; i < 100 && waitpid(child, &status, WNOHANG) == 0; ++i) usleep(20000);
  kill(child, SIGKILL);
  if (waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL && WTERMSIG(status) != SIGALRM) {
    fail("the child was ended by signal %d", WTERMSIG(status));
  }
}

// A process that shares memory: it allocates nothing, and the heap goes on meanwhile.
int hold_shared(void* data) {
  auto* go_on = static_cast<std::atomic<int>*>(data);
  while (*go_on == 0) usleep(1000);
  return 0;
}

CASE(clone_with_vm) {
  static std::atomic<int> go_on;
  static char stack[64 * 1024] __attribute__((aligned(16)));
  const pid_t child = clone(hold_shared, stack + sizeof stack, CLONE_VM | SIGCHLD, &go_on);
  MUST(child >= 0);
  exercise();
  go_on = 1;
  await(child);
  exercise();
}

void spawn_one() {
  const char* arguments[] = {own_path, "--use-heap", nullptr};
  pid_t child;
  MUST(posix_spawn(&child, own_path, nullptr, nullptr, const_cast<char**>(arguments), environ) == 0);
  await(child);
}

CASE(posix_spawn_busy) {
  Busy busy;
  for (int i = 0; i < 20; ++i) spawn_one();
}

CASE(posix_spawn_from_several_threads) {
  Busy busy(1, 1);
  pthread_t threads[3];
  auto spawning = [](void*) -> void* {
    for (int i = 0; i < 10; ++i) spawn_one();
    return nullptr;
  };
  for (auto& thread : threads) MUST(pthread_create(&thread, nullptr, spawning, nullptr) == 0);
  for (auto& thread : threads) pthread_join(thread, nullptr);
}

CASE(system_and_popen_busy) {
  Busy busy;
  for (int i = 0; i < 25; ++i) {
    MUST(system("exit 3") == 3 << 8);
    FILE* pipe = popen("echo text", "r");
    MUST(pipe != nullptr);
    char line[16] = {};
    MUST(fgets(line, sizeof line, pipe) != nullptr && strcmp(line, "text\n") == 0);
    MUST(pclose(pipe) == 0);
  }
}

CASE(vfork_exec_busy) {
  Busy busy;
  for (int i = 0; i < 30; ++i) {
    const pid_t child = vfork();
    MUST(child >= 0);
    if (child == 0) {
      execl("/bin/true", "true", nullptr);
      _exit(9);
    }
    await(child);
  }
}

// What a vfork child must not do, and some do: the heap must stay whole.
__attribute__((noinline)) void vfork_and_use_heap() {
  const pid_t child = vfork();
  MUST(child >= 0);
  if (child == 0) {
    for (int i = 0; i < 300; ++i) free(malloc(static_cast<std::size_t>(i) * 13));
    void* volatile large = malloc(300000);
    free(large);
    _exit(0);
  }
  await(child);
}

CASE(vfork_child_allocates) {
  Busy busy;
  for (int i = 0; i < 100; ++i) vfork_and_use_heap();
  exercise(false);
}

CASE(vfork_child_collects) {
  const pid_t child = vfork();
  MUST(child >= 0);
  if (child == 0) _exit(collect() ? 1 : 0);
  await(child);
  exercise();
}

}  // namespace
