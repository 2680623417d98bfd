// The kernel has no room for a signal that stops a thread.
//
// Law: prints `done` soon, whatever the collector is told to do meanwhile.
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static atomic_int stop;

static void *spin(void *unused) {
  while (!atomic_load(&stop)) continue;
  return unused;
}

int main(void) {
  const struct rlimit none = {0, 0};
  if (setrlimit(RLIMIT_SIGPENDING, &none) != 0) return 3;
  pthread_t thread;
  if (pthread_create(&thread, NULL, spin, NULL) != 0) return 3;
  void *volatile p;
  for (int i = 0; i < 20000; ++i) p = malloc(40);
  (void)p;
  atomic_store(&stop, 1);
  if (pthread_join(thread, NULL) != 0) return 3;
  puts("done");
  return 0;
}
