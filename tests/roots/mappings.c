// Memory that the program mapped itself.
//
// Law: every readable private or shared mapping holds roots, however it was made and whatever became of it;
// parts that cannot be read (guard pages, truncated files) are passed over without harm.
#include "cases.h"
#include "roots.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kLength = 1024 * 1024 };

// The address is kept XOR-ed, too: the mapping must be found by itself.
static uint64_t place;

static void *volatile *slots_at(uint64_t hidden_place) { return (void *volatile *)(uintptr_t)(hidden_place ^ kKey); }

static void check_slots(void) {
  for (int i = 0; i < kBlocks && !dropping; ++i) {
    MUST(slots_at(place)[i] == (void *)(uintptr_t)(hidden[i] ^ kKey));
  }
}

static void hold_in(void *mapping, size_t offset) {
  if (mapping == MAP_FAILED) fail("no mapping: errno %d", errno);
  place = ((uint64_t)(uintptr_t)mapping + offset) ^ kKey;
  fill_slots(slots_at(place), kBlocks);
}

static void judge_mapping(void) {
  judge();
  check_slots();
}

// With room around it that cannot be read, so that the mapping does not become a part of its neighbours'.
static void *map_as(int protection, int flags, int fd) {
  char *room = mmap(NULL, 3 * kLength, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  MUST(room != MAP_FAILED);
  return mmap(room + kLength, kLength, protection, flags | MAP_FIXED, fd, 0);
}
static void *map(int flags, int fd) { return map_as(PROT_READ | PROT_WRITE, flags, fd); }

static int sized_memfd(void) {
  const int fd = memfd_create("roots", MFD_CLOEXEC);
  MUST(fd >= 0 && ftruncate(fd, kLength) == 0);
  return fd;
}

void case_mapping_private(void) {
  hold_in(map(MAP_PRIVATE | MAP_ANONYMOUS, -1), 5000 * 8);
  judge_mapping();
}

void case_mapping_shared(void) {
  hold_in(map(MAP_SHARED | MAP_ANONYMOUS, -1), 5000 * 8);
  judge_mapping();
}

void case_mapping_memfd(void) {
  hold_in(map(MAP_SHARED, sized_memfd()), kLength / 2);
  judge_mapping();
}

void case_mapping_private_file(void) {
  FILE *file = tmpfile();
  MUST(file != NULL && ftruncate(fileno(file), kLength) == 0);
  hold_in(map(MAP_PRIVATE, fileno(file)), kLength / 2);
  judge_mapping();
}

static int sized_file(size_t size) {
  char path[4200];
  snprintf(path, sizeof path, "%s", beside("roots_file_XXXXXX"));
  const int fd = mkstemp(path);
  if (fd < 0) skip("no file beside the program");
  unlink(path);
  MUST(ftruncate(fd, (off_t)size) == 0);
  return fd;
}

void case_mapping_shared_file(void) {
  hold_in(map(MAP_SHARED, sized_file(kLength)), kLength / 2);
  judge_mapping();
}

// A child has none of its parent's pages of a shared file in its own page tables.
void case_mapping_shared_file_after_fork(void) {
  hold_in(map(MAP_SHARED, sized_file(kLength)), kLength / 2);
  const pid_t child = fork();
  MUST(child >= 0);
  if (child == 0) {
    judge();
    _exit(0);
  }
  int status = -1;
  MUST(waitpid(child, &status, 0) == child && status == 0);
  judge_mapping();
}

// Code that was made at run time has addresses in its instructions, at any byte.
void case_code_operand(void) {
  unsigned char *code = map_as(PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  if (code == MAP_FAILED) skip("no memory may be both written and executed here");
  place = (uint64_t)(uintptr_t)code ^ kKey;
  for (int i = 0; i < kBlocks; ++i) {
    code[11 * i] = 0x48;  // mov $address, %rax
    code[11 * i + 1] = 0xB8;
    const uint64_t value = dropping ? (new_hidden_block(), 0) : new_hidden_block() ^ kKey;
    memcpy(code + 11 * i + 2, &value, sizeof value);
    code[11 * i + 10] = 0x90;
  }
  MUST(mprotect(code, kLength, PROT_READ | PROT_EXEC) == 0);
  hide();
  judge();
}

// Written, then protected against further writes.
void case_mapping_read_only(void) {
  void *p = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
  hold_in(p, 4096);
  MUST(mprotect(p, kLength, PROT_READ) == 0);
  judge_mapping();
}

void case_mapping_grown(void) {
  void *p = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
  collect();
  p = mremap(p, kLength, 16 * kLength, MREMAP_MAYMOVE);
  hold_in(p, 15 * kLength);
  judge_mapping();
}

// The pointers move with the pages, without a write of the program.
void case_mapping_moved(void) {
  void *p = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
  hold_in(p, 4096);
  collect();
  void *target = mmap(NULL, 2 * kLength, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST(target != MAP_FAILED);
  void *q = mremap(p, kLength, 2 * kLength, MREMAP_MAYMOVE | MREMAP_FIXED, target);
  MUST(q == target);
  place = ((uint64_t)(uintptr_t)q + 4096) ^ kKey;
  judge_mapping();
}

void case_mapping_raw(void) {
#if defined(SYS_mmap)
  const long p = syscall(SYS_mmap, NULL, (size_t)kLength, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  hold_in((void *)p, 4096);
  judge_mapping();
#else
  skip("no mmap system call of that form");
#endif
}

// Unmapped in the middle; the pointers are in the upper part.
void case_mapping_split(void) {
  char *p = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
  hold_in(p, kLength - 65536);
  MUST(munmap(p + 65536, kLength - 4 * 65536) == 0);
  judge_mapping();
}

void case_mapping_after_collection(void) {
  collect_and_churn();
  hold_in(map(MAP_PRIVATE | MAP_ANONYMOUS, -1), 0);
  judge_mapping();
}

void case_mapping_sysv(void) {
  const int id = shmget(IPC_PRIVATE, kLength, 0600);
  if (id < 0) skip("no System V shared memory here");
  void *p = shmat(id, NULL, 0);
  shmctl(id, IPC_RMID, NULL);
  hold_in(p, 4096);
  judge_mapping();
}

// Put over a mapping that was there before.
void case_mapping_fixed(void) {
  void *p = mmap(NULL, kLength, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST(p != MAP_FAILED);
  collect();
  p = mmap(p, kLength, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  hold_in(p, 8);
  judge_mapping();
}

void case_program_break(void) {
  void *p = sbrk(65536);
  if (p == (void *)-1) skip("sbrk is refused here");
  const uint64_t at = ((uint64_t)(uintptr_t)p + 4096 + 15) / 16 * 16;
  hold_in((void *)(uintptr_t)at, 0);
  judge_mapping();
}

static size_t resident(void) {
  size_t total = 0;
  size_t pages = 0;
  FILE *file = fopen("/proc/self/statm", "re");
  MUST(file != NULL && fscanf(file, "%zu %zu", &total, &pages) == 2);
  fclose(file);
  return pages * (size_t)sysconf(_SC_PAGESIZE);
}

// A gigabyte of which two pages were ever touched: it must not become resident because it is looked at.
void case_mapping_sparse(void) {
  const size_t length = (size_t)1 << 30;
  char *p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  hold_in(p, length - 8192);
  const size_t before = resident();
  judge_mapping();
  if (resident() > before + ((size_t)100 << 20)) fail("looking at an empty mapping made it resident");
}

// Reading beyond the end of the file would raise SIGBUS.
void case_mapping_truncated_file(void) {
  const int fd = sized_memfd();
  void *p = map(MAP_SHARED, fd);
  hold_in(p, 0);
  MUST(ftruncate(fd, 4096) == 0);
  judge_mapping();
}

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

// A guard region inside a mapping shows in no map; reading it would raise SIGSEGV.
void case_mapping_with_guard_region(void) {
  char *p = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
  hold_in(p, kLength - 65536);
  if (madvise(p, 65536, MADV_GUARD_INSTALL) != 0) skip("this kernel has no guard regions");
  MUST(madvise(p + 4 * 65536, 65536, MADV_GUARD_INSTALL) == 0);
  judge_mapping();
}
