#include "program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void fail(const char *what) {
  fprintf(stderr, "bench: %s\n", what);
  exit(1);
}

void parse_options(int argc, char **argv, const struct option *known) {
  for (int i = 1; i < argc; i += 2) {
    const struct option *o = known;
    while (o->name && (strncmp(argv[i], "--", 2) != 0 || strcmp(argv[i] + 2, o->name) != 0)) o++;
    if (!o->name || i + 1 == argc) {
      fprintf(stderr, "usage: %s", argv[0]);
      for (o = known; o->name; o++) fprintf(stderr, " [--%s %g]", o->name, *o->value);
      fprintf(stderr, "\n");
      exit(2);
    }
    *o->value = strtod(argv[i + 1], NULL);
  }
}
