// resident MEGABYTES BLOCK MILLISECONDS: allocates, touches and frees; waits; prints resident memory in KiB when
// full, when freed, and after the wait.
//
// Law: the frees are followed by one more malloc and free, since an allocator may act then.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static long resident(void) {
  long total = 0;
  long pages = 0;
  FILE *file = fopen("/proc/self/statm", "re");
  if (file == NULL || fscanf(file, "%ld %ld", &total, &pages) != 2) return -1;
  fclose(file);
  return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  const size_t total = strtoul(argv[1], NULL, 10) << 20;
  const size_t size = strtoul(argv[2], NULL, 10);
  const long wait = strtol(argv[3], NULL, 10);
  const size_t count = total / size;
  void **blocks = malloc(count * sizeof(void *));
  if (blocks == NULL) return 3;
  for (size_t i = 0; i < count; ++i) {
    blocks[i] = malloc(size);
    if (blocks[i] == NULL) return 3;
    memset(blocks[i], 1, size);
  }
  const long full = resident();
  for (size_t i = 0; i < count; ++i) free(blocks[i]);
  free(blocks);
  void *volatile p = malloc(size);
  free(p);
  const long freed = resident();
  const struct timespec time = {wait / 1000, wait % 1000 * 1000000};
  nanosleep(&time, NULL);
  p = malloc(size);
  free(p);
  printf("full %ld freed %ld later %ld\n", full, freed, resident());
  return 0;
}
