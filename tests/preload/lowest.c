// Blocks that are lost, the first ones of the process among them.
//
// Law: prints `kept K of N`, K of N lost blocks being alive after a collection. The lowest of all is
// the one whose address the library itself knows as the arena's.
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { kClasses = 24, kCount = 4 };
#define kKey 0xA5A5A5A5A5A5A5A5u
static uint64_t hidden[kClasses][kCount];

static __attribute__((noinline)) void make(void) {
  for (int c = 0; c < kClasses; ++c) {
    for (int i = 0; i < kCount; ++i) hidden[c][i] = (uint64_t)(uintptr_t)malloc((size_t)c * 16 + 8) ^ kKey;
  }
}

static __attribute__((noinline)) void hide(void) {
  volatile char dead[32768];
  for (size_t i = 0; i < sizeof dead; ++i) dead[i] = 0;
}

int main(void) {
  int (*collect)(void);
  void *(*base)(const void *);
  make();
  *(void **)&collect = dlsym(RTLD_DEFAULT, "gcmalloc_collect");
  *(void **)&base = dlsym(RTLD_DEFAULT, "gcmalloc_base");
  if (collect == NULL || base == NULL) return 3;
  hide();
  if (collect() != 0) return 4;
  int alive = 0;
  for (int c = 0; c < kClasses; ++c) {
    for (int i = 0; i < kCount; ++i) alive += base((void *)(uintptr_t)(hidden[c][i] ^ kKey)) != NULL;
  }
  printf("kept %d of %d\n", alive, kClasses * kCount);
  return 0;
}
