/* glibc-simple: one size at a time in one thread, as many blocks as fit a thread's cache and many more,
 * freed in the order they came (after the description of glibc's bench-malloc-simple). */
#include "pattern.h"

enum { MOST = 1600 };

int main(int argc, char **argv) {
  static const size_t sizes[] = {16, 32, 64, 128, 256, 512, 1024, 2048, 4096};
  static const unsigned counts[] = {25, 100, 400, MOST};
  const uint64_t operations = scaled(argc, argv, 200000);
  uint64_t done = 0;
  void *blocks[MOST];
  for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; s++) {
    for (unsigned c = 0; c < sizeof counts / sizeof *counts; c++) {
      for (uint64_t i = 0; i < operations; i += counts[c]) {
        for (unsigned k = 0; k < counts[c]; k++) blocks[k] = take(sizes[s]);
        for (unsigned k = 0; k < counts[c]; k++) give(blocks[k], sizes[s]);
        done += counts[c];
      }
    }
  }
  return finish("glibc-simple", done);
}
