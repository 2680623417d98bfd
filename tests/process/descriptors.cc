// Descriptors and /proc, which are the program's.
//
// Law: the program finds the lowest free number, the count and the files that it would find alone; a collection
// works without a free number, and after the root directory has changed.
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "process.h"

namespace {
using namespace process_test;

// Uses up all descriptors.
void take_all() {
  const rlimit limit = {64, 64};
  MUST(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  while (dup(1) >= 0) {
  }
  MUST(errno == EMFILE);
}

CASE(none_free) {
  in_child([] {
    take_all();
    exercise();
    MUST(dup(1) < 0 && errno == EMFILE);
  });
}

CASE(none_free_threads) {
  in_child([] {
    take_all();
    Busy busy(2, 1);
    for (int i = 0; i < 20; ++i) {
      Busy more(2, 0);
      usleep(1000);
    }
    must_reclaim(5);
  });
}

// What only the kernel holds for the program is seen apart, too.
__attribute__((noinline)) std::uintptr_t hide(int epoll, int fd) {
  void* volatile block = malloc(500);
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.ptr = block;
  MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
  memset(&event, 0, sizeof event);
  const std::uintptr_t hidden = ~reinterpret_cast<std::uintptr_t>(block);
  memset(block, 0x5e, 500);
  block = nullptr;
  return hidden;
}

void epoll_keeps(bool low) {
  int fds[2];
  MUST(pipe(fds) == 0);
  const int epoll = epoll_create1(0);
  MUST(epoll >= 0 && (!low || epoll < 16));
  const std::uintptr_t hidden = hide(epoll, fds[0]);
  take_all();
  lose(100, 500);
  for (int i = 0; i < 3; ++i) MUST(collect());
  lose(1000, 500);
  const auto* block = reinterpret_cast<unsigned char*>(~hidden);
  for (int i = 0; i < 500; ++i) {
    if (block[i] != 0x5e) fail("what epoll held was reclaimed");
  }
}

CASE(none_free_epoll) {
  in_child([] { epoll_keeps(true); });
}

CASE(main_thread_has_ended_epoll) {
  in_child([] {
    pthread_t thread;
    auto body = [](void* main_thread) -> void* {
      pthread_join(*static_cast<pthread_t*>(main_thread), nullptr);
      usleep(1000);
      epoll_keeps(true);
      exercise(false);
      _exit(0);
    };
    static pthread_t self;
    self = pthread_self();
    MUST(pthread_create(&thread, nullptr, body, &self) == 0);
    pthread_exit(nullptr);
  });
}

CASE(main_thread_has_ended) {
  in_child([] {
    pthread_t thread;
    auto body = [](void*) -> void* {
      usleep(5000);
      exercise();
      {
        Busy busy;
        usleep(20000);
      }
      exercise();
      _exit(0);
    };
    MUST(pthread_create(&thread, nullptr, body, nullptr) == 0);
    pthread_exit(nullptr);
  });
}

// A thread that opens expects the lowest free number, whatever others do.
CASE(lowest_number) {
  Busy busy(1, 2);
  usleep(50000);  // the threads have been listed
  const int lowest = open("/dev/null", O_RDONLY);
  for (int i = 0; i < 100000; ++i) {
    close(lowest);
    const int fd = open("/dev/null", O_RDONLY);
    if (fd != lowest) fail("the lowest free number was %d, open gave %d", lowest, fd);
  }
}

// Threads come and go, so that they have to be listed anew.
CASE(lowest_number_new_threads) {
  const int lowest = open("/dev/null", O_RDONLY);  // while nobody else opens: the lowest there is
  Busy busy(1, 2);
  std::atomic<bool> stop{false};
  pthread_t maker;
  auto make = [](void* data) -> void* {
    while (!*static_cast<std::atomic<bool>*>(data)) {
      pthread_t thread;
      MUST(pthread_create(&thread, nullptr, [](void*) -> void* { usleep(500); return nullptr; }, nullptr) == 0);
      pthread_join(thread, nullptr);
    }
    return nullptr;
  };
  MUST(pthread_create(&maker, nullptr, make, &stop) == 0);
  int wrong = 0;
  for (int i = 0; i < 100000; ++i) {
    close(lowest);
    const int fd = open("/dev/null", O_RDONLY);
    if (fd != lowest) {
      ++wrong;
      dup2(fd, lowest);
      close(fd);
    }
  }
  stop = true;
  pthread_join(maker, nullptr);
  if (wrong > 1000) fail("%d of 100000 opens did not get the lowest number", wrong);
}

std::size_t count_descriptors() {
  std::size_t count = 0;
  DIR* directory = opendir("/proc/self/fd");
  MUST(directory != nullptr);
  while (const dirent* entry = readdir(directory)) count += entry->d_name[0] != '.' ? 1 : 0;
  closedir(directory);
  return count - 1;
}

CASE(counted) {
  const std::size_t before = count_descriptors();
  exercise();
  MUST(count_descriptors() == before);
  Busy busy(1, 2);
  usleep(50000);  // the threads have been listed
  for (int i = 0; i < 2000; ++i) {
    const std::size_t now = count_descriptors();
    if (now != before) fail("%zu descriptors were open, now it is %zu", before, now);
  }
}

CASE(closed_without_rest) {
  in_child([] {
    Busy busy(2, 1);
    for (int i = 0; i < 2000; ++i) {
      if (i % 50 == 0) Busy more(1, 0);
      close_range(3, ~0u, 0);
    }
    must_reclaim(5);
  });
}

CASE(replaced_without_rest) {
  in_child([] {
    Busy busy(2, 1);
    // A folder of other numbers than those of threads.
    const int folder = open("/proc/1/fd", O_RDONLY | O_DIRECTORY);
    const int file = open("/dev/zero", O_RDWR);
    for (int i = 0; i < 3000; ++i) {
      if (i % 50 == 0) Busy more(1, 0);
      for (int fd = 44; fd < 60; ++fd) dup2(i % 2 == 0 || folder < 0 ? file : folder, fd);
      for (int fd = 44; fd < 60; ++fd) close(fd);
    }
    must_reclaim(5);
  });
}

// A process that shares the table, and not the memory: it is not stopped.
CASE(shared_table) {
  static char stack[64 * 1024] __attribute__((aligned(16)));
  auto closing = [](void*) -> int {
    for (;;) close_range(40, ~0u, 0);
  };
  in_child([&closing] {
    const pid_t child = clone(closing, stack + sizeof stack, CLONE_FILES | SIGCHLD, nullptr);
    MUST(child >= 0);
    for (int i = 0; i < 300; ++i) collect();  // is skipped now and then
    kill(child, SIGKILL);
    int status;
    MUST(waitpid(child, &status, 0) == child);
    exercise();
  });
}

int open_lowest(void*) {
  alarm(20);
  const int lowest = dup(1);
  int wrong = 0;
  for (int i = 0; i < 20000; ++i) {
    close(lowest);
    const int fd = dup(1);
    if (fd == lowest) continue;
    ++wrong;
    dup2(fd, lowest);
    close(fd);
  }
  return wrong < 300 ? 0 : 3;
}

CASE(shared_table_lowest_number) {
  static char stack[64 * 1024] __attribute__((aligned(16)));
  const pid_t child = clone(open_lowest, stack + sizeof stack, CLONE_FILES | SIGCHLD, nullptr);
  MUST(child >= 0);
  int status = -1;
  while (waitpid(child, &status, WNOHANG) == 0) collect();
  if (status != 0) fail("the other process ended with %#x: 768 for too high numbers", static_cast<unsigned>(status));
}

CASE(inherited_by_exec) {
  Busy busy(1, 2);
  const std::size_t before = count_descriptors();
  for (int i = 0; i < 40; ++i) {
    FILE* pipe = popen("ls /proc/self/fd | wc -l", "r");
    MUST(pipe != nullptr);
    char line[16] = {};
    MUST(fgets(line, sizeof line, pipe) != nullptr);
    pclose(pipe);
    if (atoi(line) > static_cast<int>(before) + 1) fail("%zu descriptors here, %s in what was executed", before, line);
  }
}

// The root directory changes.

void change_root() {
  char folder[] = "/tmp/gcmalloc-root-XXXXXX";
  MUST(mkdtemp(folder) != nullptr);
  const int changed = chroot(folder);
  const int error = errno;
  if (changed != 0) rmdir(folder);
  if (changed != 0 && error == EPERM) skip("needs root");
  MUST(changed == 0);
  MUST(chdir("/") == 0);
  MUST(access("/proc", F_OK) != 0);
}

CASE(chroot_empty) {
  in_child([] {
    change_root();
    exercise();
    {
      Busy busy;
      usleep(20000);
    }
    exercise();
    in_child([] { exercise(); });
  });
}

CASE(chroot_and_none_free) {
  in_child([] {
    change_root();
    take_all();
    exercise();
    Busy busy(2, 0);
    must_reclaim(5);
  });
}

CASE(chroot_and_all_closed) {
  in_child([] {
    change_root();
    close_range(3, ~0u, 0);
    MUST(!collect());  // there is no /proc any more
    const int other = open("/", O_RDONLY);
    for (int fd = 900; fd < 1020; ++fd) dup2(other, fd);
    MUST(!collect());
    exercise(false);
  });
}

CASE(chroot_refused) {
  in_child([] {
    const std::size_t before = count_descriptors();
    MUST(chroot("/does/not/exist") != 0 && (errno == ENOENT || errno == EPERM));
    MUST(count_descriptors() == before);
    if (chroot("/") != 0) skip("needs root");
    MUST(count_descriptors() == before);
    exercise();
  });
}

}  // namespace
