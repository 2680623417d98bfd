// Start of the functional tests: refuses to run unless malloc is gcmalloc's, and says so.
//
// Law: the check is made before any test. With GCM_TEST_ANY=1 the tests run on any allocator, which shows
// that they ask nothing beyond what a malloc must give; those that do are skipped then.
#include <stdio.h>

#include "support.h"

namespace {

bool is_gcmalloc() {
  void* version = dlsym(RTLD_DEFAULT, "gcmalloc_version");
  void* allocate = dlsym(RTLD_DEFAULT, "malloc");
  if (version == nullptr || allocate == nullptr) return false;
  Dl_info version_from;
  Dl_info malloc_from;
  if (dladdr(version, &version_from) == 0 || dladdr(allocate, &malloc_from) == 0) return false;
  return version_from.dli_fbase == malloc_from.dli_fbase;
}

}  // namespace

bool gcm::test::ours() {
  static const bool result = is_gcmalloc();
  return result;
}

int main(int argc, char** argv) {
  if (!gcm::test::ours() && getenv("GCM_TEST_ANY") == nullptr) {
    fprintf(stderr,
            "FAIL: malloc is not gcmalloc's here (gcmalloc_version is missing, or is from another object than "
            "malloc): preload libgcmalloc.so, or link libgcmalloc.a with -rdynamic\n");
    return 1;
  }
  if (argc == 3 && strcmp(argv[1], "--routine") == 0) return gcm::test::run_routine(argv[2]);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
