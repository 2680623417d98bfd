// A program that is linked without the dynamic linker has the collector, and libc's calls as they are.
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int gcmalloc_collect(void);
void *gcmalloc_base(const void *p);

static int failed;
static void check(const char *name, int holds) {
  printf("%s %s\n", holds ? "ok" : "FAIL", name);
  failed |= !holds;
}

static volatile sig_atomic_t handled;
static void on_signal(int number) { handled = number; }

enum { kBlocks = 10000 };
static uintptr_t hidden[kBlocks];
static void __attribute__((noinline)) lose(void) {
  for (int i = 0; i < kBlocks; ++i) hidden[i] = ~(uintptr_t)malloc(100);
}
static void *thread(void *data) {
  lose();
  return data;
}

int main(void) {
  int ends[2];
  char byte = 0;
  check("static_calls", pipe(ends) == 0 && write(ends[1], "x", 1) == 1 && read(ends[0], &byte, 1) == 1 && byte == 'x');
  check("static_waits", poll(NULL, 0, 10) == 0 && usleep(1000) == 0);
  signal(SIGUSR1, on_signal);
  raise(SIGUSR1);
  check("static_signals", handled == SIGUSR1);
  pthread_t t;
  check("static_threads", pthread_create(&t, NULL, thread, NULL) == 0 && pthread_join(t, NULL) == 0);
  void *kept = malloc(100);
  int left = 0;
  check("static_collects", gcmalloc_collect() == 0);
  for (int i = 0; i < kBlocks; ++i) left += gcmalloc_base((void *)~hidden[i]) != NULL;
  check("static_reclaims", left < kBlocks / 100);
  check("static_keeps", gcmalloc_base(kept) == kept);
  return failed;
}
