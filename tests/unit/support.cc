// Freed memory of the C library is overwritten: addresses of blocks that a test has left there
// would keep the blocks of another alive.
#include <malloc.h>

namespace {
[[maybe_unused]] const int g_filled = mallopt(M_PERTURB, 0x5a);
}  // namespace

extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() {
  return "max_free_fill_size=2000000000:free_fill_byte=90";
}
