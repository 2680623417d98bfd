// Large, strange and short-lived mappings: a reservation of many gigabytes, files in the page cache, guard regions,
// mappings that vanish or shrink while they are looked at.
//
// Law: what a collection costs depends on the pages that the process has written, not on the addresses it has
// taken; nothing that becomes of a mapping meanwhile does harm. Bounds are generous: ten times what it takes.
#include "cases.h"
#include "roots.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef MAP_HUGETLB
#define MAP_HUGETLB 0x40000
#endif

static const size_t kMiB = (size_t)1 << 20;
static const size_t kGiB = (size_t)1 << 30;
static const double kLongest = 0.3;  // seconds of the processor's time that a collection may take

static double cpu_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

// The shortest of three.
static double collection_time(void) {
  double best = 1e9;
  for (int i = 0; i < 3; ++i) {
    const double begin = cpu_seconds();
    collect();
    const double time = cpu_seconds() - begin;
    if (time < best) best = time;
  }
  return best;
}

static void judge_quickly(void) {
  judge();
  const double time = collection_time();
  if (time > kLongest) fail("a collection takes %.3f s", time);
}

// Runs the case again with each collection's figures going to a file.
static const char *trace_file(void) {
  char path[64];
  const char *set = getenv("GCMALLOC_TRACE_JSON");
  if (set != NULL) return set;
  const int fd = memfd_create("trace", 0);  // stays open, and leaves nothing behind
  MUST(fd >= 0);
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  setenv("GCMALLOC_TRACE_JSON", path, 1);
  char line[256] = {0};
  const int own = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
  MUST(own >= 0 && read(own, line, sizeof line - 2) > 0);
  char *arguments[4] = {line, NULL, NULL, NULL};
  for (int i = 0; i < 2; ++i) {
    char *next = arguments[i] + strlen(arguments[i]) + 1;
    if (*next == 0) break;
    arguments[i + 1] = next;
  }
  execv("/proc/self/exe", arguments);
  fail("execv: errno %d", errno);
}

// What the last collection has read beside the heap.
static double roots_mib(const char *trace) {
  char line[2048];
  double bytes = -1;
  FILE *file = fopen(trace, "re");
  MUST(file != NULL);
  while (fgets(line, sizeof line, file) != NULL) {
    const char *found = strstr(line, "\"roots_bytes\":");
    if (found != NULL) bytes = strtod(found + 14, NULL);
  }
  fclose(file);
  MUST(bytes >= 0);
  return bytes / (double)kMiB;
}

static void judge_reading_little(const char *trace) {
  judge_quickly();
  const double read = roots_mib(trace);
  if (read > 32) fail("a collection reads %.0f MiB of roots", read);
}

static int file_of(size_t size) {
  char path[4200];
  snprintf(path, sizeof path, "%s", beside("roots_file_XXXXXX"));
  const int fd = mkstemp(path);
  if (fd < 0) skip("no file beside the program");
  unlink(path);
  if (ftruncate(fd, (off_t)size) != 0) skip("no large file here");
  return fd;
}

static void fill_at(char *p) { fill_slots((void *volatile *)(void *)p, kBlocks); }

void case_foreign_reservation(void) {
  const char *trace = trace_file();
  const size_t length = 64 * kGiB;
  char *p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) skip("64 GiB of addresses are refused");
  madvise(p, length, MADV_NOHUGEPAGE);
  for (size_t i = 0; i < 10; ++i) p[i * (length / 16) + 4096 * i] = 1;
  fill_at(p + 7 * (length / 16) + 4096);
  char *none = mmap(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  MUST(none != MAP_FAILED);
  judge_reading_little(trace);
}

void case_foreign_sparse_file(void) {
  const char *trace = trace_file();
  char *p = mmap(NULL, 2 * kGiB, PROT_READ | PROT_WRITE, MAP_SHARED, file_of(2 * kGiB), 0);
  MUST(p != MAP_FAILED);
  fill_at(p + kGiB + 4096);
  judge_reading_little(trace);
}

void case_foreign_sparse_memfd(void) {
  const char *trace = trace_file();
  const int fd = memfd_create("roots", MFD_CLOEXEC);
  MUST(fd >= 0 && ftruncate(fd, (off_t)(2 * kGiB)) == 0);
  char *p = mmap(NULL, 2 * kGiB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  MUST(p != MAP_FAILED);
  fill_at(p + kGiB + 4096);
  judge_reading_little(trace);
}

// Written by others, or through another mapping of this process, which has gone again.
static void fill_cache(int fd, size_t size) {
  static char bytes[1 << 20];
  memset(bytes, 'x', sizeof bytes);
  for (size_t at = 0; at < size; at += sizeof bytes) {
    if (pwrite(fd, bytes, sizeof bytes, (off_t)at) != (ssize_t)sizeof bytes) skip("no room for a large file");
  }
}

void case_foreign_cached_file(void) {
  const char *trace = trace_file();
  const size_t size = 512 * kMiB;
  const int fd = file_of(size);
  fill_cache(fd, size);
  char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  MUST(p != MAP_FAILED);
  fill_at(p + size - 4096);
  judge_reading_little(trace);
}

void case_foreign_clean_private_file(void) {
  const char *trace = trace_file();
  const size_t size = kGiB;
  char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file_of(size), 0);
  MUST(p != MAP_FAILED);
  unsigned sum = 0;
  for (size_t at = 0; at < size; at += 4096) sum += (unsigned char)*(volatile char *)(p + at);
  MUST(sum == 0);
  fill_at(p + size / 2);
  judge_reading_little(trace);
}

void case_foreign_guard_region(void) {
  char *p = mmap(NULL, kGiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  MUST(p != MAP_FAILED);
  if (madvise(p, kGiB / 4, MADV_GUARD_INSTALL) != 0) skip("this kernel has no guard regions");
  fill_at(p + kGiB / 4);
  judge_quickly();
}

void case_foreign_huge_pages(void) {
  char *p = mmap(NULL, 4 * kMiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
  if (p == MAP_FAILED) skip("no huge pages are set aside here");
  fill_at(p + 3 * kMiB);
  judge();
}

void case_foreign_huge_pages_shared(void) {
  char *p = mmap(NULL, 4 * kMiB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
  if (p == MAP_FAILED) skip("no huge pages are set aside here");
  fill_at(p + 3 * kMiB);
  judge();
}

// A device that fills its memory by itself.
void case_foreign_device(void) {
  static void *volatile kept[kBlocks];
  struct perf_event_attr event;
  memset(&event, 0, sizeof event);
  event.type = PERF_TYPE_SOFTWARE;
  event.size = sizeof event;
  event.config = PERF_COUNT_SW_CPU_CLOCK;
  event.sample_period = 100000;
  event.sample_type = PERF_SAMPLE_IP;
  event.exclude_kernel = 1;
  const int fd = (int)syscall(SYS_perf_event_open, &event, 0, -1, -1, 0);
  if (fd < 0) skip("no performance counters here");
  if (mmap(NULL, 9 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED) skip("no buffer for them");
  fill_slots(kept, kBlocks);
  judge();
}

// Another process that shares our memory, and that no signal of ours stops.
static atomic_int ending;
static char other_stack[256 * 1024] __attribute__((aligned(64)));

static int map_and_unmap(void *unused) {
  (void)unused;
  while (atomic_load(&ending) == 0) {
    for (int kind = 0; kind < 3; ++kind) {
      const int flags = (kind == 0 ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS | MAP_NORESERVE;
      char *p = (char *)syscall(SYS_mmap, NULL, 64 * kMiB, PROT_READ | PROT_WRITE, flags, -1, 0L);
      for (size_t at = 0; at < 64 * kMiB; at += 256 * 1024) *(volatile char *)(p + at) = 1;
      if (kind == 2) syscall(SYS_mremap, p, 64 * kMiB, 4 * kMiB, 0);
      syscall(SYS_munmap, p, 64 * kMiB);
    }
  }
  return 0;
}

static void *volatile in_static[kBlocks];

static void collect_during(pid_t child) {
  const double until = seconds() + 1.0;
  int cycles = 0;
  for (; seconds() < until; ++cycles) collect();
  atomic_store(&ending, 1);
  int status = -1;
  MUST(waitpid(child, &status, __WALL) == child);
  MUST(cycles > 3);
  judge();
}

void case_foreign_vanishing(void) {
  fill_slots(in_static, kBlocks);
  const pid_t child = clone(map_and_unmap, other_stack + sizeof other_stack, CLONE_VM | SIGCHLD, NULL);
  MUST(child > 0);
  collect_during(child);
}

// A child that shares only the file: the pages come and go under the mapping.
void case_foreign_truncated_again_and_again(void) {
  const size_t size = 16 * kMiB;
  fill_slots(in_static, kBlocks);
  for (int kind = 0; kind < 2; ++kind) {
    const int fd = kind == 0 ? file_of(size) : memfd_create("roots", MFD_CLOEXEC);
    MUST(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    MUST(p != MAP_FAILED);
    memset(p, 1, size);
    const pid_t child = fork();
    MUST(child >= 0);
    if (child == 0) {
      alarm(20);
      for (;;) {
        if (ftruncate(fd, 0) != 0 || ftruncate(fd, (off_t)size) != 0) _exit(1);
        for (size_t at = 0; at < size; at += 65536) *(volatile char *)(p + at) = 1;
      }
    }
    const double until = seconds() + 0.6;
    while (seconds() < until) collect();
    kill(child, SIGKILL);
    MUST(waitpid(child, NULL, 0) == child);
  }
  judge();
}

// Where the call that copies memory is forbidden, what cannot be read must do no harm either.
void case_foreign_copying_forbidden(void) {
  const int fd = memfd_create("roots", MFD_CLOEXEC);
  MUST(fd >= 0 && ftruncate(fd, (off_t)kMiB) == 0);
  char *p = mmap(NULL, kMiB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  MUST(p != MAP_FAILED);
  memset(p, 1, kMiB);
  fill_at(p);
  char *q = mmap(NULL, kMiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST(q != MAP_FAILED);
  memset(q, 1, kMiB);
  madvise(q + 65536, 65536, MADV_GUARD_INSTALL);
  MUST(ftruncate(fd, 4096) == 0);
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_writev, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {.len = sizeof filter / sizeof filter[0], .filter = filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    skip("no filters of system calls here");
  }
  judge();
}
