// A host that keeps addresses as eight times their value, as Chez Scheme does (core/HOSTS.md).
//
// Law: prints `kept K of N, reclaimed some`, K of N blocks being alive that only such numbers refer to,
// while blocks that nothing refers to were reclaimed (`none` if they were not).
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { kCount = 64 };
#define kKey 0xA5A5A5A5A5A5A5A5u
static uint64_t kept[kCount];
static uint64_t hidden[kCount];

// By this name the host is known.
void Sscheme_init(void (*abnormal_exit)(void));
void Sscheme_init(void (*abnormal_exit)(void)) { (void)abnormal_exit; }

static __attribute__((noinline)) void make(void) {
  for (int i = 0; i < kCount; ++i) {
    kept[i] = (uint64_t)(uintptr_t)malloc(100) << 3;
    hidden[i] = (uint64_t)(uintptr_t)malloc(100) ^ kKey;
  }
}

static __attribute__((noinline)) void hide(void) {
  volatile char dead[32768];
  for (size_t i = 0; i < sizeof dead; ++i) dead[i] = 0;
}

int main(void) {
  void (*collect)(void);
  void *(*base)(const void *);
  *(void **)&collect = dlsym(RTLD_DEFAULT, "gcmalloc_collect");
  *(void **)&base = dlsym(RTLD_DEFAULT, "gcmalloc_base");
  if (collect == NULL || base == NULL) return 3;
  make();
  hide();
  collect();
  int alive = 0, gone = 0;
  for (int i = 0; i < kCount; ++i) {
    alive += base((void *)(uintptr_t)(kept[i] >> 3)) != NULL;
    gone += base((void *)(uintptr_t)(hidden[i] ^ kKey)) == NULL;
  }
  printf("kept %d of %d, reclaimed %s\n", alive, kCount, gone > 0 ? "some" : "none");
  return 0;
}
