// leak MEGABYTES BLOCK [free]: allocates so many megabytes in blocks of BLOCK bytes and loses them, or frees them
// in time; keeps the last 1000 in a table, whose contents it checks. Prints peak memory and threads.
//
// Law: what is live is at most 1000 blocks, and it is never damaged.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kLive = 1000 };
static uint64_t *volatile live[kLive];

// A number of /proc/self/status; getrusage's peak includes what the process was before exec.
static long status_of(const char *name) {
  long value = -1;
  char line[256];
  const size_t length = strlen(name);
  FILE *file = fopen("/proc/self/status", "re");
  while (file != NULL && fgets(line, sizeof line, file) != NULL) {
    if (strncmp(line, name, length) == 0) value = strtol(line + length, NULL, 10);
  }
  if (file != NULL) fclose(file);
  return value;
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  const size_t total = strtoul(argv[1], NULL, 10) << 20;
  const size_t size = strtoul(argv[2], NULL, 10);
  const int freeing = argc > 3 && strcmp(argv[3], "free") == 0;
  for (size_t n = 0; n < total / size; ++n) {
    uint64_t *p = malloc(size);
    if (p == NULL) return 3;
    memset(p, 0x81, size);
    p[0] = 0xF00D000000000000u + n;
    uint64_t *old = live[n % kLive];
    if (old != NULL) {
      if (old[0] != 0xF00D000000000000u + n - kLive || old[size / 8 - 1] == 0xDBDBDBDBDBDBDBDBu) return 4;
      if (freeing) free(old);
    }
    live[n % kLive] = p;
  }
  printf("peak_kib %ld threads %ld\n", status_of("VmHWM:"), status_of("Threads:"));
  return 0;
}
