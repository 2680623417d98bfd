#include "core/base/metadata.h"

#include <atomic>

#include "core/base/own_ranges.h"
#include "platform/memory.h"
#include "platform/mutex.h"

namespace gcm::metadata {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kFirstBlock = 256 * kKiB;

struct Bump {
  Mutex lock;
  uintptr_t at = 0;
  uintptr_t end = 0;
  size_t next_block = kFirstBlock;
};
Bump g_bump;
std::atomic<size_t> g_mapped{0};

}  // namespace

void CountMapped(size_t size) { g_mapped.fetch_add(size, std::memory_order_relaxed); }
size_t MappedBytes() { return g_mapped.load(std::memory_order_relaxed); }

uintptr_t MapOwn(size_t size, const char* name) {
  uintptr_t address = memory::Map(size, name);
  if (address == 0) return 0;
  if (!OwnRanges::Add({address, address + size})) {
    memory::Release(address, size);
    return 0;
  }
  CountMapped(size);
  return address;
}

uintptr_t ReserveOwn(size_t size, uintptr_t hint, const char* name) {
  uintptr_t address = memory::Reserve(size, hint, name);
  if (address == 0) return 0;
  if (!OwnRanges::Add({address, address + size})) {
    memory::Release(address, size);
    return 0;
  }
  return address;
}

void ReleaseOwn(uintptr_t address, size_t size) {
  OwnRanges::Remove({address, address + size});
  memory::Release(address, size);
}

void* Allocate(size_t size) {
  size = RoundUp(size, kAlignment);
  LockGuard guard(g_bump.lock);
  if (g_bump.end - g_bump.at < size) {
    size_t block = RoundUp(Max(size, g_bump.next_block), memory::PageSize());
    uintptr_t fresh = MapOwn(block, "gcmalloc: metadata");
    if (fresh == 0) {
      block = RoundUp(size, memory::PageSize());
      fresh = MapOwn(block, "gcmalloc: metadata");
      if (fresh == 0) return nullptr;
    }
    g_bump.at = fresh;
    g_bump.end = fresh + block;
    g_bump.next_block = Min(g_bump.next_block * 2, 4 * kMiB);
  }
  void* result = PointerTo(g_bump.at);
  g_bump.at += size;
  return result;
}

void ResetLock(bool own_only) { g_bump.lock.Reset(own_only); }

}  // namespace gcm::metadata
