// idle SECONDS: allocates a little ten times a second, and loses it.
//
// Law: far less than any growth that would start a cycle.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void *volatile last;

int main(int argc, char **argv) {
  const double length = argc > 1 ? atof(argv[1]) : 1;
  for (int i = 0; i < (int)(length * 10); ++i) {
    last = malloc(1000);
    if (last == NULL) return 3;
    memset(last, 1, 1000);
    const struct timespec time = {0, 100000000};
    if (nanosleep(&time, NULL) != 0) return 4;
  }
  puts("done");
  return 0;
}
