// Looks at memory after it was freed, and after it was reclaimed, and says what it holds.
//
// Law: prints `freed SIZE VALUE` or `reclaimed SIZE VALUE`, VALUE being the byte that fills the block, or
// `mixed`. Every other block stays live, so that the pages stay.
#include <dlfcn.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kCount = 64 };
#define kKey 0xA5A5A5A5A5A5A5A5u
static void *volatile live[kCount];
static uint64_t hidden[kCount];

static void say(const char *what, size_t size, const volatile unsigned char *p, size_t usable) {
  for (size_t i = 1; i < usable; ++i) {
    if (p[i] != p[0]) {
      printf("%s %zu mixed\n", what, size);
      return;
    }
  }
  printf("%s %zu %02x\n", what, size, p[0]);
}

static __attribute__((noinline)) void make(size_t size) {
  for (int i = 0; i < kCount; ++i) {
    void *p = malloc(size);
    if (p == NULL) exit(3);
    memset(p, 0x11, malloc_usable_size(p));
    hidden[i] = (uint64_t)(uintptr_t)p ^ kKey;
    live[i] = p;
  }
}

static __attribute__((noinline)) void hide(void) {
  volatile char dead[32768];
  for (size_t i = 0; i < sizeof dead; ++i) dead[i] = 0;
}

int main(void) {
  static char buffer[8192];
  setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
  void (*collect)(void);
  void *(*base)(const void *);
  *(void **)&collect = dlsym(RTLD_DEFAULT, "gcmalloc_collect");
  *(void **)&base = dlsym(RTLD_DEFAULT, "gcmalloc_base");
  const size_t sizes[] = {16, 48, 200, 1000, 3000};
  for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; ++s) {
    make(sizes[s]);
    const size_t usable = malloc_usable_size(live[33]);
    free(live[33]);
    say("freed", sizes[s], (unsigned char *)(uintptr_t)(hidden[33] ^ kKey), usable);
    for (int i = 1; i < kCount; i += 2) live[i] = NULL;
    hide();
    if (collect == NULL || base == NULL) continue;
    collect();
    int found = 0;
    for (int i = 1; i < kCount && !found; i += 2) {
      unsigned char *p = (unsigned char *)(uintptr_t)(hidden[i] ^ kKey);
      if (i == 33 || base(p) != NULL) continue;
      found = 1;
      say("reclaimed", sizes[s], p, usable);
    }
    if (!found) printf("reclaimed %zu none\n", sizes[s]);
  }
  return 0;
}
