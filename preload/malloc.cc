// malloc and its family, as glibc defines them (SPEC section 3). This layer sets errno and checks
// arguments; what is done is the heap's.
#include <cerrno>
#include <cstring>

#include "core/base/options.h"
#include "core/heap/heap.h"
#include "platform/memory.h"
#include "preload/family.h"

namespace gcm {
namespace {

constexpr size_t kMaxRequest = PTRDIFF_MAX;

GCM_COLD void* OutOfMemory() {
  errno = ENOMEM;
  return nullptr;
}

void* Aligned(size_t alignment, size_t size) {
  if (size > kMaxRequest) return OutOfMemory();
  void* p = heap().AllocateAligned(size, alignment);
  return GCM_LIKELY(p != nullptr) ? p : OutOfMemory();
}

// Keeps errno without saving it: no system call of ours passes through libc.
GCM_INLINE void Release(void* p, const char* function) { Heap::Free(p, function); }

}  // namespace

GCM_NOINLINE void* Malloc(size_t size) {
  void* p = heap().Allocate(size);
  return GCM_LIKELY(p != nullptr) ? p : OutOfMemory();
}

GCM_NOINLINE void* MallocRow(size_t row) {
  void* p = heap().AllocateRow(row);
  return GCM_LIKELY(p != nullptr) ? p : OutOfMemory();
}

void* AlignedOrNull(size_t alignment, size_t size) { return Aligned(alignment, size); }

}  // namespace gcm

using gcm::OutOfMemory;

extern "C" {

GCM_EXPORT void* malloc(size_t size) {
  if (GCM_UNLIKELY(size > gcm::kMaxQuickRequest)) return gcm::Malloc(size);
  const size_t row = gcm::QuickRow(size);
  void* p = gcm::Heap::AllocateQuickly(row);
  return GCM_LIKELY(p != nullptr) ? p : gcm::MallocRow(row);
}

GCM_EXPORT void free(void* p) { gcm::Release(p, "free"); }
GCM_EXPORT void cfree(void* p) { gcm::Release(p, "cfree"); }

GCM_EXPORT void* calloc(size_t count, size_t size) {
  size_t bytes;
  if (GCM_UNLIKELY(__builtin_mul_overflow(count, size, &bytes))) return OutOfMemory();
  void* p = gcm::heap().AllocateZeroed(bytes);
  return GCM_LIKELY(p != nullptr) ? p : OutOfMemory();
}

GCM_EXPORT void* realloc(void* p, size_t size) {
  if (p == nullptr) return malloc(size);
  if (size == 0) {
    gcm::Release(p, "realloc");
    return nullptr;
  }
  void* fresh = gcm::heap().Reallocate(p, size, "realloc");
  return GCM_LIKELY(fresh != nullptr) ? fresh : OutOfMemory();
}

GCM_EXPORT void* reallocarray(void* p, size_t count, size_t size) {
  size_t bytes;
  if (GCM_UNLIKELY(__builtin_mul_overflow(count, size, &bytes))) return OutOfMemory();
  return realloc(p, bytes);
}

// Any alignment is rounded up to a power of two.
GCM_EXPORT void* memalign(size_t alignment, size_t size) {
  if (alignment > SIZE_MAX / 2 + 1) {
    errno = EINVAL;
    return nullptr;
  }
  size_t power = gcm::kMinAlignment;
  while (power < alignment) power *= 2;
  return gcm::Aligned(power, size);
}

GCM_EXPORT void* aligned_alloc(size_t alignment, size_t size) {
  if (!gcm::IsPowerOfTwo(alignment)) {
    errno = EINVAL;
    return nullptr;
  }
  return gcm::Aligned(alignment, size);
}

GCM_EXPORT int posix_memalign(void** out, size_t alignment, size_t size) {
  if (!gcm::IsPowerOfTwo(alignment) || alignment % sizeof(void*) != 0) return EINVAL;
  int saved = errno;
  void* p = gcm::Aligned(alignment, size);
  errno = saved;
  if (p == nullptr) return ENOMEM;
  *out = p;
  return 0;
}

GCM_EXPORT void* valloc(size_t size) { return gcm::Aligned(gcm::memory::PageSize(), size); }

GCM_EXPORT void* pvalloc(size_t size) {
  size_t page = gcm::memory::PageSize();
  if (size > gcm::kMaxRequest - page) return OutOfMemory();
  return gcm::Aligned(page, gcm::RoundUp(size, page));
}

GCM_EXPORT size_t malloc_usable_size(void* p) {
  return p == nullptr ? 0 : gcm::heap().UsableSize(p, "malloc_usable_size");
}

// C23. The sizes are hints, and not needed.
GCM_EXPORT void free_sized(void* p, size_t) { gcm::Release(p, "free_sized"); }
GCM_EXPORT void free_aligned_sized(void* p, size_t, size_t) {
  gcm::Release(p, "free_aligned_sized");
}

// Programs, and parts of glibc, that call these names directly get the same heap.
#define GCM_ALIAS(name) __attribute__((alias(#name), copy(name), visibility("default")))
void* __libc_malloc(size_t) GCM_ALIAS(malloc);
void __libc_free(void*) GCM_ALIAS(free);
void __libc_cfree(void*) GCM_ALIAS(cfree);
void* __libc_calloc(size_t, size_t) GCM_ALIAS(calloc);
void* __libc_realloc(void*, size_t) GCM_ALIAS(realloc);
void* __libc_reallocarray(void*, size_t, size_t) GCM_ALIAS(reallocarray);
void* __libc_memalign(size_t, size_t) GCM_ALIAS(memalign);
void* __libc_valloc(size_t) GCM_ALIAS(valloc);
void* __libc_pvalloc(size_t) GCM_ALIAS(pvalloc);
int __posix_memalign(void**, size_t, size_t) GCM_ALIAS(posix_memalign);

}  // extern "C"
