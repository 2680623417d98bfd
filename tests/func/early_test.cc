// Calls before main's constructors and after main's exit handlers.
//
// Law: the heap is open before the first constructor and stays open after the last destructor.
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#include "support.h"

namespace {

using namespace gcm::test;

void* from_preinit = nullptr;
void* from_constructor = nullptr;
void* for_the_end = nullptr;

void preinit(int, char**, char**) {
  from_preinit = malloc(opaque<std::size_t>(200));
  memset(from_preinit, 0x21, 200);
}

__attribute__((constructor(101))) void constructor() {
  from_constructor = calloc(1, opaque<std::size_t>(200));
  for_the_end = malloc(opaque<std::size_t>(100));
  memset(from_constructor, 0x22, 200);
}

__attribute__((destructor(101))) void destructor() {
  // Runs after every handler of atexit and every static destructor of the program.
  free(for_the_end);
  void* p = malloc(opaque<std::size_t>(100));
  void* q = calloc(1, opaque(2 * kMiB));
  if (p == nullptr || q == nullptr || !all_bytes(q, 2 * kMiB, 0)) _exit(77);
  p = realloc(p, opaque<std::size_t>(100000));
  free(p);
  free(q);
}

// NOLINTNEXTLINE: the linker collects these pointers and the loader calls them before any constructor.
__attribute__((section(".preinit_array"), used)) void (*preinit_entry)(int, char**, char**) = preinit;

TEST(Early, BlocksFromBeforeMainAreWhole) {
  ASSERT_NE(from_preinit, nullptr);
  ASSERT_NE(from_constructor, nullptr);
  EXPECT_TRUE(all_bytes(from_preinit, 200, 0x21));
  EXPECT_TRUE(all_bytes(from_constructor, 200, 0x22));
  from_preinit = realloc(from_preinit, opaque<std::size_t>(5000));
  EXPECT_TRUE(all_bytes(from_preinit, 200, 0x21));
  free(from_preinit);
  from_preinit = nullptr;
  free(from_constructor);
  from_constructor = nullptr;
}

GCM_ROUTINE(exits_with_allocating_handlers) {
  atexit([] {
    void* p = malloc(opaque<std::size_t>(300));
    memset(p, 1, 300);
    free(p);
  });
  exit(5);
}

TEST(Late, ExitHandlersAndDestructorsMayAllocate) {
  EXPECT_EQ(in_new_process("exits_with_allocating_handlers", 0), 5);
}

}  // namespace
