#include "core/heap/span.h"

#include <cstring>

#include "core/base/metadata.h"
#include "core/heap/thread_cache.h"
#include "platform/mutex.h"

namespace gcm {
namespace {

// Descriptors by the capacity of their bitmaps.
constexpr unsigned kCapacity[] = {kFewWords, kMostWords};
constexpr unsigned kPools = sizeof(kCapacity) / sizeof(kCapacity[0]);
// Threads write their descriptors all the time, and processors fetch what lies near: so those of
// different threads come from different lanes, in batches, as long as there are not too many.
constexpr unsigned kLanes = 16;
constexpr size_t kBatch = 4096;  // bytes of descriptors
// Batches that a lane may have to spare before others take from it.
constexpr size_t kManyBatches = 4;
struct Pool {
  Mutex lock;
  Span* free[kLanes][kPools] = {};
  uint32_t count[kLanes][kPools] = {};
};
Pool g_pool;

unsigned PoolFor(unsigned words) { return words <= kFewWords ? 0 : 1; }

unsigned OwnLane() { return t_cache->number() % kLanes; }

size_t SizeOf(unsigned pool) {
  const size_t behind = pool == 0 ? 0 : 2 * sizeof(uint64_t) * kCapacity[pool];
  return RoundUp(sizeof(Span) + behind, 64);
}

// Under the pool's lock, all of them.

void Put(Span* span, unsigned lane, unsigned pool) {
  span->lane = static_cast<uint8_t>(lane);
  span->next = g_pool.free[lane][pool];
  g_pool.free[lane][pool] = span;
  ++g_pool.count[lane][pool];
}

// The lane has one.
Span* Take(unsigned lane, unsigned pool) {
  Span* span = g_pool.free[lane][pool];
  g_pool.free[lane][pool] = span->next;
  --g_pool.count[lane][pool];
  return span;
}

// A batch of new descriptors. False: there is no memory.
bool Fill(unsigned lane, unsigned pool) {
  const size_t size = SizeOf(pool);
  const auto memory = AddressOf(metadata::Allocate(kBatch));
  if (memory == 0) return false;
  for (size_t at = kBatch / size * size; at != 0; at -= size) {
    Span* span = PointerTo<Span>(memory + at - size);
    span->capacity = static_cast<uint8_t>(kCapacity[pool]);
    Put(span, lane, pool);
  }
  return true;
}

// A batch of a lane that has many. False: none has.
bool TakeFromOthers(unsigned lane, unsigned pool) {
  const size_t batch = kBatch / SizeOf(pool);
  for (unsigned other = 0; other < kLanes; ++other) {
    if (g_pool.count[other][pool] < kManyBatches * batch) continue;
    for (size_t i = 0; i < batch; ++i) Put(Take(other, pool), lane, pool);
    return true;
  }
  return false;
}

}  // namespace

bool InOwnLane(const Span* span) { return span->lane == OwnLane(); }

Span* NewSpan(unsigned words) {
  const unsigned pool = PoolFor(words);
  const unsigned lane = OwnLane();
  Span* span;
  {
    LockGuard guard(g_pool.lock);
    if (g_pool.free[lane][pool] == nullptr && !TakeFromOthers(lane, pool) && !Fill(lane, pool))
      return nullptr;
    span = Take(lane, pool);
  }
  span->next = span->previous = nullptr;
  span->slot_size = 0;
  StoreRelaxed(&span->slots, uint16_t{0});
  span->credit = 0;
  StoreRelaxed(&span->size_class, kLargeClass);
  span->list = SpanList::kNone;
  span->zero = span->garbage = span->resident = false;
  span->owner.store(kOwnerNone, std::memory_order_relaxed);
  span->LeaveBin();
  // remote_queued and next_remote are left as they are: a thread that freed into the span's former
  // life may be about to queue it, or the span is queued; the queue's drain resets them.
  for (unsigned w = 0; w < words; ++w) {
    StoreRelaxed(&span->live_bits()[w], uint64_t{0});
    StoreRelaxed(&span->free_bits()[w], uint64_t{0});
    span->remote_bits()[w].store(0, std::memory_order_relaxed);
  }
  return span;
}

void DeleteSpan(Span* span) {
  span->state.store(SpanState::kUnused, std::memory_order_relaxed);
  LockGuard guard(g_pool.lock);
  Put(span, span->lane, PoolFor(span->capacity));
}

void ResetSpanPoolLock(bool own_only) { g_pool.lock.Reset(own_only); }

void Span::LeaveBin() {
  // pairs with: the fences in TakeBin and Unqueue
  if (bin.load(std::memory_order_seq_cst) != &g_no_bin.bin)
    bin.store(&g_no_bin.bin, std::memory_order_relaxed);
}

unsigned Span::CountFree() const {
  unsigned count = 0;
  for (unsigned w = 0; w < words(); ++w) {
    count += static_cast<unsigned>(__builtin_popcountll(LoadRelaxed(&free_bits()[w])));
  }
  return count;
}

void SpanQueue::PushFront(Span* span) {
  span->previous = nullptr;
  span->next = head_;
  if (head_ != nullptr) head_->previous = span;
  StoreRelaxed(&head_, span);
}

void SpanQueue::Remove(Span* span) {
  StoreRelaxed(span->previous != nullptr ? &span->previous->next : &head_, span->next);
  if (span->next != nullptr) span->next->previous = span->previous;
  span->next = span->previous = nullptr;
}

Span* SpanQueue::PopFront() {
  Span* span = head_;
  if (span != nullptr) Remove(span);
  return span;
}

}  // namespace gcm
