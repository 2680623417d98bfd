// Programs that misuse the heap, one misuse each: misuse CASE.
//
// Law: before the misuse a program prints one line on standard output, `expect ADDRESS BASE USABLE`: the address
// it will pass, and the start and usable size of the block concerned (0 0 where there is none). The misuse
// happens in a function named misuse_CASE, which is exported (-rdynamic), so that a stack can show it. A
// program that survives ends with `survived` and status 0. cases.py holds what must be printed.
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>

namespace {

template <class T>
T opaque(T value) {
  asm volatile("" : "+r"(value) : : "memory");
  return value;
}

// Without stdio, which would allocate between the set-up and the misuse.
void expect(const void* address, const void* base, std::size_t usable) {
  char line[128];
  const int length = snprintf(line, sizeof line, "expect %p %p %zu\n", address, base, usable);
  if (write(1, line, static_cast<std::size_t>(length)) != length) _exit(90);
}

// The block of the case; static, so that it stays reachable.
char* block;

// Where results go that nobody reads.
void* volatile sink;
volatile std::size_t size_sink;

void make(std::size_t size) {
  block = static_cast<char*>(malloc(opaque(size)));
  memset(block, 1, size);
}

void make_freed(std::size_t size) {
  make(size);
  expect(block, block, malloc_usable_size(block));
  free(opaque(block));
}

void make_and_expect(std::size_t size, std::ptrdiff_t offset) {
  make(size);
  expect(block + offset, block, malloc_usable_size(block));
}

void* free_it(void* p) {
  free(p);
  return nullptr;
}

void in_thread(void* p) {
  pthread_t thread;
  if (pthread_create(&thread, nullptr, free_it, p) != 0) _exit(91);
  pthread_join(thread, nullptr);
}

}  // namespace

#define GCM_CASE(name)                                    \
  extern "C" __attribute__((noinline)) void misuse_##name()

GCM_CASE(double_free_small) {
  make_freed(48);
  free(opaque(block));
}

GCM_CASE(double_free_tiny) {
  make_freed(1);
  free(opaque(block));
}

GCM_CASE(double_free_middle) {
  make_freed(20000);
  free(opaque(block));
}

GCM_CASE(double_free_large) {
  make_freed(3000000);
  free(opaque(block));
}

GCM_CASE(double_free_after_others) {
  static void* others[64];
  for (void*& other : others) other = malloc(opaque<std::size_t>(48));
  make_freed(48);
  for (int i = 0; i < 64; i += 2) free(others[i]);
  free(opaque(block));
}

// Its neighbours were freed, too; whoever keeps counts per page must not be misled.
GCM_CASE(double_free_after_all) {
  static void* others[64];
  for (void*& other : others) other = malloc(opaque<std::size_t>(48));
  make_freed(48);
  for (void* other : others) free(other);
  free(opaque(block));
}

GCM_CASE(double_free_by_thread) {
  make_freed(48);
  in_thread(opaque(block));
}

GCM_CASE(double_free_after_thread) {
  make(48);
  expect(block, block, malloc_usable_size(block));
  in_thread(block);
  free(opaque(block));
}

GCM_CASE(double_free_in_threads) {
  make(48);
  expect(block, block, malloc_usable_size(block));
  in_thread(block);
  in_thread(block);
}

GCM_CASE(double_delete) {
  block = static_cast<char*>(::operator new(opaque<std::size_t>(48)));
  expect(block, block, malloc_usable_size(block));
  ::operator delete(opaque(block));
  ::operator delete(opaque(block));
}

GCM_CASE(double_delete_sized) {
  block = static_cast<char*>(::operator new(opaque<std::size_t>(48)));
  expect(block, block, malloc_usable_size(block));
  ::operator delete(opaque(block), std::size_t{48});
  ::operator delete(opaque(block), std::size_t{48});
}

GCM_CASE(double_free_aligned) {
  block = static_cast<char*>(memalign(4096, opaque<std::size_t>(100)));
  expect(block, block, malloc_usable_size(block));
  free(opaque(block));
  free(opaque(block));
}

GCM_CASE(free_after_realloc_moved) {
  make(48);
  expect(block, block, malloc_usable_size(block));
  sink = realloc(opaque(block), opaque<std::size_t>(100000));
  if (sink == block) _exit(92);
  free(opaque(block));
}

GCM_CASE(interior_small) {
  make_and_expect(64, 16);
  free(opaque(block + 16));
}

GCM_CASE(interior_unaligned) {
  make_and_expect(64, 1);
  free(opaque(block + 1));
}

GCM_CASE(interior_middle) {
  make_and_expect(20000, 8192);
  free(opaque(block + 8192));
}

GCM_CASE(interior_large) {
  make_and_expect(3000000, 1000000);
  free(opaque(block + 1000000));
}

GCM_CASE(interior_large_page) {
  make_and_expect(3000000, 65536);
  free(opaque(block + 65536));
}

GCM_CASE(interior_aligned) {
  block = static_cast<char*>(memalign(1024, opaque<std::size_t>(3000)));
  expect(block + 1024, block, malloc_usable_size(block));
  free(opaque(block + 1024));
}

GCM_CASE(interior_delete) {
  block = static_cast<char*>(::operator new[](opaque<std::size_t>(64)));
  expect(block + 8, block, malloc_usable_size(block));
  ::operator delete[](opaque(static_cast<void*>(block + 8)));
}

GCM_CASE(stack_address) {
  alignas(16) char local[64] = {};
  expect(local, nullptr, 0);
  free(opaque(static_cast<char*>(local)));
}

GCM_CASE(static_address) {
  alignas(16) static char fixed[64];
  expect(fixed, nullptr, 0);
  free(opaque(static_cast<char*>(fixed)));
}

GCM_CASE(text_address) {
  void* text = reinterpret_cast<void*>(&misuse_static_address);
  expect(text, nullptr, 0);
  free(opaque(text));
}

GCM_CASE(foreign_mapping) {
  void* p = mmap(nullptr, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) _exit(93);
  p = static_cast<char*>(p) + 32;
  expect(p, nullptr, 0);
  free(opaque(p));
}

GCM_CASE(wild_pointer) {
  void* p = reinterpret_cast<void*>(0x1234567890);
  expect(p, nullptr, 0);
  free(opaque(p));
}

GCM_CASE(low_pointer) {
  void* p = reinterpret_cast<void*>(0x10);
  expect(p, nullptr, 0);
  free(opaque(p));
}

GCM_CASE(high_pointer) {
  void* p = reinterpret_cast<void*>(0xffffffffffffff00);
  expect(p, nullptr, 0);
  free(opaque(p));
}

GCM_CASE(not_canonical_pointer) {
  void* p = reinterpret_cast<void*>(0xdeadbeefdeadbee0);
  expect(p, nullptr, 0);
  free(opaque(p));
}

GCM_CASE(realloc_freed) {
  make_freed(48);
  sink = realloc(opaque(block), opaque<std::size_t>(100));
}

GCM_CASE(realloc_freed_large) {
  make_freed(3000000);
  sink = realloc(opaque(block), opaque<std::size_t>(100));
}

GCM_CASE(realloc_freed_to_zero) {
  make_freed(48);
  sink = realloc(opaque(block), opaque<std::size_t>(0));
}

GCM_CASE(realloc_interior) {
  make_and_expect(64, 16);
  sink = realloc(opaque(block + 16), opaque<std::size_t>(100));
}

GCM_CASE(realloc_static) {
  alignas(16) static char fixed[64];
  expect(fixed, nullptr, 0);
  sink = realloc(opaque(static_cast<char*>(fixed)), opaque<std::size_t>(100));
}

GCM_CASE(reallocarray_freed) {
  make_freed(48);
  sink = reallocarray(opaque(block), 10, opaque<std::size_t>(10));
}

GCM_CASE(usable_size_freed) {
  make_freed(48);
  size_sink = malloc_usable_size(opaque(block));
}

GCM_CASE(usable_size_interior) {
  make_and_expect(64, 16);
  size_sink = malloc_usable_size(opaque(block + 16));
}

GCM_CASE(usable_size_static) {
  alignas(16) static char fixed[64];
  expect(fixed, nullptr, 0);
  size_sink = malloc_usable_size(opaque(static_cast<char*>(fixed)));
}

// No misuse: frees of NULL and of good blocks only.
GCM_CASE(none) {
  make_and_expect(64, 0);
  free(opaque(static_cast<void*>(nullptr)));
  free(block);
}

namespace {

struct Case {
  const char* name;
  void (*run)();
};

#define GCM_ENTRY(name) {#name, misuse_##name}
const Case kCases[] = {
    GCM_ENTRY(double_free_small),   GCM_ENTRY(double_free_tiny),       GCM_ENTRY(double_free_middle),
    GCM_ENTRY(double_free_large),   GCM_ENTRY(double_free_after_others), GCM_ENTRY(double_free_after_all),
    GCM_ENTRY(double_free_by_thread), GCM_ENTRY(double_free_after_thread), GCM_ENTRY(double_free_in_threads),
    GCM_ENTRY(double_delete),       GCM_ENTRY(double_delete_sized),    GCM_ENTRY(double_free_aligned),
    GCM_ENTRY(free_after_realloc_moved), GCM_ENTRY(interior_small),    GCM_ENTRY(interior_unaligned),
    GCM_ENTRY(interior_middle),     GCM_ENTRY(interior_large),         GCM_ENTRY(interior_large_page),
    GCM_ENTRY(interior_aligned),    GCM_ENTRY(interior_delete),        GCM_ENTRY(stack_address),
    GCM_ENTRY(static_address),      GCM_ENTRY(text_address),           GCM_ENTRY(foreign_mapping),
    GCM_ENTRY(wild_pointer),        GCM_ENTRY(low_pointer),            GCM_ENTRY(high_pointer),
    GCM_ENTRY(not_canonical_pointer), GCM_ENTRY(realloc_freed),        GCM_ENTRY(realloc_freed_large),
    GCM_ENTRY(realloc_freed_to_zero), GCM_ENTRY(realloc_interior),     GCM_ENTRY(realloc_static),
    GCM_ENTRY(reallocarray_freed),  GCM_ENTRY(usable_size_freed),      GCM_ENTRY(usable_size_interior),
    GCM_ENTRY(usable_size_static),  GCM_ENTRY(none)};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 95;
  for (const Case& one : kCases) {
    if (strcmp(one.name, argv[1]) != 0) continue;
    one.run();
    constexpr char kEnd[] = "survived\n";
    return write(1, kEnd, sizeof kEnd - 1) > 0 ? 0 : 96;
  }
  return 94;
}
