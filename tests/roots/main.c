// roots_tests CASE [--drop]: runs one case. roots_tests --list: names them all.
//
// Law: status 0 passed, 1 failed (the reason on standard output), 77 cannot be run here.
#include "cases.h"
#include "roots.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct entry {
  const char *name;
  void (*run)(void);
};

#define ENTRY(name) {#name, case_##name},
#define ENTRY_SPIN(reg) {"spin_" #reg, case_spin_##reg},
#define ENTRY_SPIN_IF(reg, feature) {"spin_" #reg, case_spin_##reg},
#define ENTRY_FUTEX(reg) {"futex_" #reg, case_futex_##reg},
#define ENTRY_CALL(reg) {"call_" #reg, case_call_##reg},
static const struct entry entries[] = {
    GCM_CASES(ENTRY) GCM_REGISTER_CASES(ENTRY_SPIN, ENTRY_FUTEX, ENTRY_CALL, ENTRY_SPIN_IF)};

int main(int argc, char **argv) {
  const size_t count = sizeof entries / sizeof entries[0];
  if (argc == 2 && strcmp(argv[1], "--list") == 0) {
    for (size_t i = 0; i < count; ++i) puts(entries[i].name);
    return 0;
  }
  dropping = argc == 3 && strcmp(argv[2], "--drop") == 0;
  if (argc != 2 && !dropping) return 2;
  if (dlsym(RTLD_DEFAULT, "gcmalloc_collect") == NULL && getenv("GCM_TEST_ANY") == NULL) {
    fail("malloc is not gcmalloc's here: gcmalloc_collect is missing");
  }
  alarm(30);
  for (size_t i = 0; i < count; ++i) {
    if (strcmp(entries[i].name, argv[1]) != 0) continue;
    entries[i].run();
    return 0;
  }
  fail("no case %s", argv[1]);
}
