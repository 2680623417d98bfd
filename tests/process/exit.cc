// Ends of a process: process_tests --exit NAME. What is expected of each stands in run.py.
//
// Law: whatever way a process ends, while threads allocate, lose and collect: nothing hangs or crashes, what stdio
// has buffered is written where it would be, and the status is the one that was given.
#include "exit.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "process.h"

namespace process_test {
namespace {

void use() {
  lose(300, 700);
  collect();
}

// Destructors of static objects, and functions called at exit, that use the heap.
struct LateUser {
  std::vector<std::string> texts;
  ~LateUser() {
    if (texts.empty()) return;
    use();
    inherited().check();
    for (int i = 0; i < 500; ++i) texts.push_back(std::string(static_cast<std::size_t>(i), 'x'));
  }
};
LateUser late_user;

Busy* busy_for_ever() { return new Busy(2, 1); }

int returning() {
  busy_for_ever();
  return 5;
}

int exiting() {
  busy_for_ever();
  exit(5);
}

int exiting_at_once() {
  busy_for_ever();
  _exit(5);
}

int quick() {
  busy_for_ever();
  at_quick_exit([] {
    use();
    if (write(1, "quick\n", 6) != 6) _exit(9);
  });
  quick_exit(5);
}

int at_exit() {
  busy_for_ever();
  for (int i = 0; i < 40; ++i) atexit([] { use(); });
  late_user.texts.push_back("text");
  return 5;
}

int exit_in_a_thread() {
  busy_for_ever();
  pthread_t thread;
  pthread_create(&thread, nullptr, [](void*) -> void* { exit(5); }, nullptr);
  for (;;) use();
}

// Undefined to C, and it happens: both go through the handlers, or one waits.
int exit_in_two_threads() {
  busy_for_ever();
  pthread_t thread;
  atexit([] { use(); });
  pthread_create(&thread, nullptr, [](void*) -> void* { exit(5); }, nullptr);
  exit(5);
}

int main_thread_ends() {
  busy_for_ever();
  pthread_t thread;
  pthread_create(
      &thread, nullptr,
      [](void*) -> void* {
        usleep(20000);
        must_reclaim(5);
        inherited().check();
        exit(5);
      },
      nullptr);
  pthread_exit(nullptr);
}

// Thread-local objects, and keys whose destructors set them again: all rounds use the heap.
struct LocalUser {
  std::vector<std::string> texts;
  ~LocalUser() {
    use();
    if (texts.size() != 1) fail("a thread-local vector has %zu elements", texts.size());
    for (int i = 0; i < 100; ++i) texts.push_back(std::string(100, 'y'));
  }
};
thread_local LocalUser local_user;
pthread_key_t key;

void in_round(void* value) {
  const auto round = *static_cast<int*>(value);
  free(value);
  use();
  if (round == 0) return;
  auto* next = static_cast<int*>(malloc(sizeof(int)));
  *next = round - 1;
  pthread_setspecific(key, next);
}

int thread_locals() {
  busy_for_ever();
  MUST(pthread_key_create(&key, in_round) == 0);
  for (int i = 0; i < 30; ++i) {
    pthread_t thread;
    auto body = [](void*) -> void* {
      local_user.texts.push_back("text");
      auto* first = static_cast<int*>(malloc(sizeof(int)));
      *first = 3;
      pthread_setspecific(key, first);
      return nullptr;
    };
    MUST(pthread_create(&thread, nullptr, body, nullptr) == 0);
    pthread_join(thread, nullptr);
  }
  local_user.texts.push_back("text");
  inherited().check();
  return 5;
}

int aborting() {
  busy_for_ever();
  usleep(5000);
  abort();
}

int fatal_with_handler() {
  busy_for_ever();
  signal(SIGSEGV, [](int) {
    if (write(1, "handled\n", 8) != 8) _exit(9);
    _exit(5);
  });
  usleep(5000);
  raise(SIGSEGV);
  volatile int* nowhere = nullptr;
  return *nowhere;
}

int exit_in_handler() {
  busy_for_ever();
  signal(SIGTERM, [](int) { exit(5); });
  raise(SIGTERM);
  return 1;
}

int terminated() {
  busy_for_ever();
  usleep(5000);
  kill(getpid(), SIGTERM);
  for (;;) use();
}

int child_exits() {
  busy_for_ever();
  for (int i = 0; i < 10; ++i) {
    const pid_t child = fork();
    MUST(child >= 0);
    if (child == 0) {
      alarm(20);
      busy_for_ever();
      use();
      exit(3);
    }
    await(child, 3);
  }
  return 5;
}

struct Ending {
  const char* name;
  int (*run)();
};
#define ENDING(name) {#name, name}
constexpr Ending endings[] = {
    ENDING(returning),     ENDING(exiting),          ENDING(exiting_at_once), ENDING(quick),
    ENDING(at_exit),       ENDING(exit_in_a_thread), ENDING(exit_in_two_threads), ENDING(main_thread_ends),
    ENDING(thread_locals), ENDING(aborting),         ENDING(fatal_with_handler), ENDING(exit_in_handler),
    ENDING(terminated),    ENDING(child_exits)};

}  // namespace

int end_as(const char* name) {
  inherited();
  for (const Ending& ending : endings) {
    if (strcmp(ending.name, name) != 0) continue;
    if (ending.run != child_exits) fputs("buffered\n", stdout);
    return ending.run();
  }
  fail("no end %s", name);
}

}  // namespace process_test
