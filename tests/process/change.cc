// What a process changes about itself: its program, its user, its namespaces, its limits, its session.
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "process.h"

namespace {
using namespace process_test;

constexpr uid_t kNobody = 65534;

void need_root() {
  if (geteuid() != 0) skip("needs root");
}

CASE(exec_from_a_thread) {
  for (int i = 0; i < 10; ++i) {
    in_child([] {
      auto* busy = new Busy;
      (void)busy;
      pthread_t thread;
      auto body = [](void*) -> void* {
        usleep(3000);
        execl(own_path, own_path, "--use-heap", nullptr);
        return nullptr;
      };
      MUST(pthread_create(&thread, nullptr, body, nullptr) == 0);
      for (;;) pause();
    });
  }
}

// glibc tells all threads by the very signal that stops them for a collection.
CASE(setuid_busy) {
  need_root();
  in_child([] {
    Busy busy(3, 1);
    for (int i = 0; i < 300; ++i) {
      MUST(setresgid(static_cast<gid_t>(-1), i % 2 == 0 ? kNobody : 0, static_cast<gid_t>(-1)) == 0);
      MUST(setresuid(static_cast<uid_t>(-1), i % 2 == 0 ? kNobody : 0, static_cast<uid_t>(-1)) == 0);
    }
    exercise(false);
  });
}

CASE(setuid_for_good) {
  need_root();
  in_child([] {
    {
      Busy busy(2, 1);
      MUST(setgroups(0, nullptr) == 0 && setgid(kNobody) == 0 && setuid(kNobody) == 0);
      usleep(20000);
    }
    exercise();
    Busy busy(2, 1);
    in_child([] { exercise(); });
  });
}

CASE(unshare_files) {
  in_child([] {
    Busy busy;
    for (int i = 0; i < 20; ++i) {
      MUST(unshare(CLONE_FILES) == 0);
      usleep(1000);
    }
    in_child([] { exercise(); });
  });
}

CASE(unshare_user) {
  in_child([] {
    if (unshare(CLONE_NEWUSER) != 0) skip("no namespaces of users");
    exercise();
    Busy busy;
    in_child([] { exercise(); });
  });
}

void in_new_pid_namespace(void (*body)()) {
  in_child([body] {
    if (unshare(CLONE_NEWPID | (geteuid() != 0 ? CLONE_NEWUSER : 0)) != 0) skip("no namespaces of processes");
    exercise();  // threads cannot be made here any more
    in_child([body] {
      MUST(getpid() == 1);
      body();
    });
    exercise();
  });
}

CASE(pid_namespace) { in_new_pid_namespace([] { exercise(); }); }

CASE(pid_namespace_threads) {
  in_new_pid_namespace([] {
    Busy busy(2, 0);
    usleep(1000);
    must_reclaim(5);
    in_child([] {
      Busy more(2, 1);
      usleep(20000);
      exercise(false);
    });
  });
}

CASE(pid_namespace_own_proc) {
  need_root();
  in_new_pid_namespace([] {
    if (unshare(CLONE_NEWNS) != 0) skip("no namespaces of mounts");
    Busy busy(2, 0);
    must_reclaim(5);
    MUST(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
    MUST(mount("proc", "/proc", "proc", 0, nullptr) == 0);
    must_reclaim(5);
  });
}

CASE(daemon) {
  Busy busy;
  int fds[2];
  MUST(pipe(fds) == 0);
  in_child([&fds] {
    const int out = fcntl(fds[1], F_DUPFD, 20);
    MUST(daemon(1, 0) == 0);
    alarm(20);
    dup2(out, 1);
    exercise();
    if (write(out, "x", 1) != 1) _exit(1);
  });
  close(fds[1]);
  char byte[100] = {};
  const ssize_t n = read(fds[0], byte, sizeof byte - 1);
  if (n != 1 || byte[0] != 'x') fail("the daemon says: %s", byte);
}

// A process that has changed its user may not read /proc/self/pagemap: what was never touched stays so.
CASE(setuid_untouched_memory) {
  need_root();
  in_child([] {
    constexpr std::size_t kSize = std::size_t{2} << 30;
    void* untouched = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    MUST(untouched != MAP_FAILED);
    void* volatile* far = static_cast<void**>(untouched) + (kSize / 2 + 4096 * 3 + 8) / sizeof(void*);
    MUST(setgid(kNobody) == 0 && setuid(kNobody) == 0);
    *far = malloc(100);
    memset(*far, 0x5e, 100);
    timespec begin, end;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    must_reclaim();
    lose(5000, 100);
    must_reclaim();
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    for (int i = 0; i < 100; ++i) MUST(static_cast<unsigned char*>(*far)[i] == 0x5e);
    const double seconds = static_cast<double>(end.tv_sec - begin.tv_sec) + static_cast<double>(end.tv_nsec - begin.tv_nsec) / 1e9;
    if (seconds > 0.3) fail("the cycles took %.2f s of processor time", seconds);
  });
}

// Limits.

CASE(no_more_processes) {
  need_root();
  in_child([] {
    MUST(setgid(kNobody) == 0 && setuid(kNobody) == 0);
    Busy busy(2, 0);
    const rlimit none = {0, 0};
    MUST(setrlimit(RLIMIT_NPROC, &none) == 0);
    MUST(fork() < 0 && errno == EAGAIN);
    must_reclaim(5);
  });
}

// Under the limit from its start: 800 MB pass through the heap.
CASE(little_address_space_within) {
  Busy busy(2, 1);
  for (int i = 0; i < 40; ++i) lose(20, 1 << 20);
  exercise(false);
}

CASE(little_address_space) {
  in_child([] {
    const rlimit small = {400 << 20, 400 << 20};
    MUST(setrlimit(RLIMIT_AS, &small) == 0);
    execl(own_path, own_path, "little_address_space_within", nullptr);
    fail("exec failed");
  });
}

// Seccomp: a filter that answers some system calls with an error.

void refuse(std::initializer_list<int> calls, int error) {
  sock_filter code[64];
  unsigned n = 0;
  code[n++] = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr));
  for (int call : calls) {
    code[n++] = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(call), 0, 1);
    code[n++] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error));
  }
  code[n++] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  sock_fprog program = {static_cast<unsigned short>(n), code};
  MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0) skip("no seccomp");
}

CASE(seccomp_no_threads) {
  in_child([] {
    Busy busy(2, 0);
    refuse({SYS_clone, SYS_clone3, SYS_fork, SYS_vfork}, EPERM);
    must_reclaim(5);
  });
}

CASE(seccomp_no_reading_of_memory) {
  in_child([] {
    Busy busy(2, 0);
    refuse({SYS_process_vm_readv, SYS_userfaultfd, SYS_mincore}, ENOSYS);
    must_reclaim(5);
  });
}

CASE(seccomp_no_files) {
  in_child([] {
    Busy busy(2, 1);
    refuse({SYS_open, SYS_openat}, EPERM);
    exercise(false);
    MUST(!collect());  // without /proc nothing may be reclaimed
  });
}

CASE(seccomp_no_signals_to_threads) {
  in_child([] {
    Busy busy(2, 1);
    refuse({SYS_tgkill, SYS_tkill, SYS_rt_tgsigqueueinfo, SYS_kill}, EPERM);
    exercise(false);
    MUST(!collect());
  });
}

CASE(seccomp_nothing_new) {
  in_child([] {
    Busy busy(2, 0);
    refuse({SYS_tgkill, SYS_rt_tgsigqueueinfo, SYS_openat, SYS_process_vm_readv, SYS_mincore, SYS_clone, SYS_clone3, SYS_stat,
            SYS_newfstatat, SYS_readlinkat, SYS_ioctl, SYS_fcntl, SYS_prctl, SYS_sched_yield, SYS_prlimit64}, ENOSYS);
    exercise(false);
    MUST(!collect());
  });
}

}  // namespace
