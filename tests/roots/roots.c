// Law: see roots.h. Nothing here keeps an address in the clear beyond the function that computes it.
#include "roots.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

bool dropping;
uint64_t hidden[kMaxBlocks];
size_t sizes[kMaxBlocks];
int blocks;

static const size_t kSizes[] = {32, 48, 256, 1024, 3000, 8192, 65536, 262144};

static void (*collect_function)(void);
static void *(*base_function)(const void *);

__attribute__((constructor)) static void find_functions(void) {
  *(void **)&collect_function = dlsym(RTLD_DEFAULT, "gcmalloc_collect");
  *(void **)&base_function = dlsym(RTLD_DEFAULT, "gcmalloc_base");
}

static bool any_allocator(void) { return collect_function == NULL || base_function == NULL; }

void collect(void) {
  if (!any_allocator()) collect_function();
}

void *block_base(const void *p) { return any_allocator() ? (void *)(uintptr_t)p : base_function(p); }

void fail(const char *format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  dprintf(1, "%s\n", text);
  _exit(1);
}

void skip(const char *why) {
  dprintf(1, "%s\n", why);
  _exit(77);
}

static uint64_t pattern(int number, size_t word) {
  return 0xF00D000000000000u | ((uint64_t)number << 24) | (word & 0xFFFFFF);
}

void *new_block_sized(size_t size) {
  if (blocks >= kMaxBlocks) fail("too many blocks");
  uint64_t *p = malloc(size);
  if (p == NULL) fail("no memory");
  for (size_t word = 0; word < size / 8; ++word) p[word] = pattern(blocks, word);
  hidden[blocks] = (uint64_t)(uintptr_t)p ^ kKey;
  sizes[blocks] = size;
  ++blocks;
  return p;
}

void *new_block(void) { return new_block_sized(kSizes[(size_t)blocks % (sizeof kSizes / sizeof kSizes[0])]); }

uint64_t new_hidden_block(void) {
  new_block();
  return hidden[blocks - 1];
}

void fill_slots_with(void *volatile *slots, int n, void *(*change)(void *, int)) {
  for (int i = 0; i < n; ++i) {
    void *p = new_block();
    if (change != NULL) p = change(p, blocks - 1);
    slots[i] = dropping ? NULL : p;
  }
  hide();
}

void fill_slots(void *volatile *slots, int n) { fill_slots_with(slots, n, NULL); }

// Registers that a call does not preserve may still hold what the last one computed.
static void clear_registers(void) {
#if defined(__x86_64__)
  __asm__ volatile(
      "xor %%eax, %%eax\nxor %%ecx, %%ecx\nxor %%edx, %%edx\nxor %%esi, %%esi\nxor %%edi, %%edi\n"
      "xor %%r8d, %%r8d\nxor %%r9d, %%r9d\nxor %%r10d, %%r10d\nxor %%r11d, %%r11d\n"
      "pxor %%xmm0, %%xmm0\npxor %%xmm1, %%xmm1\npxor %%xmm2, %%xmm2\npxor %%xmm3, %%xmm3\n"
      "pxor %%xmm4, %%xmm4\npxor %%xmm5, %%xmm5\npxor %%xmm6, %%xmm6\npxor %%xmm7, %%xmm7\n"
      "pxor %%xmm8, %%xmm8\npxor %%xmm9, %%xmm9\npxor %%xmm10, %%xmm10\npxor %%xmm11, %%xmm11\n"
      "pxor %%xmm12, %%xmm12\npxor %%xmm13, %%xmm13\npxor %%xmm14, %%xmm14\npxor %%xmm15, %%xmm15\n" ::
          : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4",
            "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "cc");
  if (__builtin_cpu_supports("avx")) __asm__ volatile("vzeroall" ::: "memory");
#endif
}

void hide(void) {
  volatile char dead[48 * 1024];
  for (size_t i = 0; i < sizeof dead; ++i) dead[i] = 0;
  clear_registers();
}

static void churn_size(size_t size, int n) {
  void **head = NULL;
  for (int i = 0; i < n; ++i) {
    void **p = malloc(size);
    if (p == NULL) fail("no memory");
    memset(p, 0xEE, size);
    *p = head;
    head = p;
  }
  while (head != NULL) {
    void **next = *head;
    free(head);
    head = next;
  }
}

void churn(void) {
  for (size_t i = 0; i < sizeof kSizes / sizeof kSizes[0]; ++i) {
    churn_size(kSizes[i], kSizes[i] < 1000 ? 400 : kSizes[i] < 10000 ? 60 : 12);
  }
  hide();
}

void collect_and_churn(void) {
  for (int i = 0; i < 3; ++i) {
    collect();
    churn();
  }
}

bool intact(int number) {
  const uint64_t *p = (const uint64_t *)(uintptr_t)(hidden[number] ^ kKey);
  if (block_base(p) != p) return false;
  for (size_t word = 0; word < sizes[number] / 8; ++word) {
    if (p[word] != pattern(number, word)) return false;
  }
  return true;
}

void judge_now(void) {
  if (blocks == 0) fail("the case made no blocks");
  int kept = 0;
  for (int i = 0; i < blocks; ++i) {
    if (dropping) {
      const void *p = (const void *)(uintptr_t)(hidden[i] ^ kKey);
      kept += block_base(p) == p ? 1 : 0;
    } else {
      kept += intact(i) ? 1 : 0;
    }
  }
  hide();
  if (!dropping && kept != blocks) fail("%d of %d reachable blocks were reclaimed", blocks - kept, blocks);
  if (dropping && kept * 2 > blocks) fail("control: %d of %d dropped blocks were kept", kept, blocks);
}

void judge(void) {
  if (dropping) {
    if (any_allocator()) skip("no collector here");
    hide();
    collect();
    collect();
  } else {
    collect_and_churn();
  }
  judge_now();
}

pid_t own_tid(void) { return (pid_t)syscall(SYS_gettid); }

double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void spin_until(atomic_int *flag) {
  const double until = seconds() + 20;
  for (unsigned long n = 0; atomic_load(flag) == 0; ++n) {
    if (n % 64 == 0) sched_yield();
    if (n % 65536 == 0 && seconds() > until) fail("a thread did not answer");
  }
}

// The state letter of a thread, or 0 when there is no such thread.
static char thread_state(pid_t tid) {
  char path[64];
  char text[256];
  snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)tid);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  if (n <= 0) return 0;
  text[n] = 0;
  const char *end = strrchr(text, ')');
  return end != NULL && end[1] == ' ' ? end[2] : 0;
}

static void await_state(pid_t tid, bool sleeping) {
  const double until = seconds() + 20;
  for (;;) {
    const char state = thread_state(tid);
    if (state == 0 || (sleeping && (state == 'S' || state == 'D'))) return;
    if (seconds() > until) fail("thread %d did not get there (state %c)", (int)tid, state);
    sched_yield();
  }
}

void await_sleep(pid_t tid) { await_state(tid, true); }
void await_gone(pid_t tid) { await_state(tid, false); }

struct launch {
  struct waiter *waiter;
  void (*body)(struct waiter *);
};

static struct launch launches[64];
static int launched;

static void *run_waiter(void *argument) {
  struct launch *launch = argument;
  launch->waiter->tid = own_tid();
  launch->body(launch->waiter);
  hide();
  return NULL;
}

void start(struct waiter *w, void (*body)(struct waiter *), void (*wait)(struct waiter *)) {
  w->wait = wait;
  struct launch *launch = &launches[launched++];
  launch->waiter = w;
  launch->body = body;
  if (pthread_create(&w->thread, NULL, run_waiter, launch) != 0) fail("pthread_create");
  spin_until(&w->ready);
}

void *finish(struct waiter *w) {
  void *result = NULL;
  atomic_store(&w->go, 1);
  if (pthread_join(w->thread, &result) != 0) fail("pthread_join");
  return result;
}

void wait_spinning(struct waiter *w) {
  atomic_store(&w->ready, 1);
  while (atomic_load(&w->go) == 0) {
  }
}

// Away from the thread-local storage at the end of a thread's stack, which is a place of its own.
static GCM_NOINLINE void hold_here(struct waiter *w);

void hold_on_stack(struct waiter *w) {
  volatile char distance[32 * 1024];
  distance[0] = 1;
  hold_here(w);
  if (distance[0] != 1) fail("the stack of a thread was changed");
}

static void hold_here(struct waiter *w) {
  void *volatile local[kBlocks];
  const int first = blocks;
  fill_slots(local, kBlocks);
  w->wait(w);
  for (int i = 0; i < kBlocks; ++i) {
    const uint64_t expected = dropping ? 0 : hidden[first + i] ^ kKey;
    if ((uint64_t)(uintptr_t)local[i] != expected) fail("the stack of a thread was changed");
  }
}

const char *beside(const char *name) {
  static char path[PATH_MAX + 64];
  const ssize_t n = readlink("/proc/self/exe", path, PATH_MAX);
  if (n <= 0) fail("readlink");
  path[n] = 0;
  char *slash = strrchr(path, '/');
  snprintf(slash + 1, sizeof path - (size_t)(slash + 1 - path), "%s", name);
  return path;
}
