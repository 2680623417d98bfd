// What budgets are counted on. `pair SIZE TIMES` allocates and frees a block so often, from 100 blocks in turn with
// `pair SIZE TIMES 100`; `pair wait` says that it is there and waits for the end of its input.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "wait") == 0) {
    char byte;
    if (write(1, "+", 1) != 1) return 1;
    return read(0, &byte, 1) == 0 ? 0 : 1;
  }
  if (argc < 3) return 2;
  const size_t size = (size_t)atol(argv[1]);
  const long times = atol(argv[2]);
  for (long i = 0; i < times; ++i) {
    void *volatile block = malloc(size);
    free(block);
  }
  return 0;
}
