// A span: a run of heap pages that holds slots of one size class, one large block, or nothing.
//
// Invariant of a span of slots, for each slot i < slots:
//   bit i of live_bits   set: the slot is a block, in the program's hands
//   bit i of free_bits   set: the slot may be handed out
//   neither              its owner has freed it and keeps it at hand (thread_cache.h), or it is on
//                        its way to the program or back
//   bit i of remote_bits set: it is a block that a thread other than the owner has freed
// Behind the slots all bits are clear. Only the owner writes live_bits and free_bits, without
// locks; everybody else sets remote_bits atomically. With the world stopped the collector may write
// all three: outside of sections, where it may be stopped, the owner changes a word in one step.
// Descriptors are type-stable: one that was given back is handed out only as a descriptor again, of
// the same capacity.
// Who frees a block of another thread may come late and look at a descriptor in its next life. So
// a life as a span of slots begins with its owner, then its class; it ends with state, owner,
// class; and CentralLists::Settle reads in the opposite order.
#pragma once

#include <atomic>

#include "core/heap/size_class.h"
#include "platform/base.h"

namespace gcm {

class ThreadCache;
struct Bin;

enum class SpanState : uint8_t {
  kUnused,  // the descriptor is in its pool
  kFree,    // a run of free pages
  kInUse,   // slots, or one large block
};

// Where a span of slots is listed.
enum class SpanList : uint8_t { kNone, kCurrent, kPartial, kFull, kSpare };

// What a cycle has done to learn of writes to the pages of a span in use.
enum class SpanArming : uint8_t {
  kNone,   // nothing that is known
  kEarly,  // all that there were then were armed before anything in them was followed
  kLate,   // all were armed behind that
  kSome,   // some were
};

struct alignas(64) Span {
  // First cache line: all that free() needs.
  // The owner's for this class while frees by the owner need no closer look; else g_no_bin, and so
  // from the moment that another thread has freed here, until the owner has looked at what.
  std::atomic<Bin*> bin;
  uint32_t start_low;                  // of a span of slots: the lower half of `start`
  int16_t credit;                      // local frees left before the owner must act
  std::atomic<uint8_t> remote_queued;  // not 0: in the owner's queue, or about to be
  uint8_t size_class;                  // kLargeClass for a large block
  union {
    uint64_t first_bits[3 * kFewWords];  // the bitmaps; of more slots the first one only
    uint64_t freed_at;                   // of a free run: coarse time of the last free
  };
  // Second line.
  uintptr_t start;  // address of the first page
  size_t pages;
  std::atomic<uintptr_t> owner;  // ThreadCache, or one of the kOwner* values
  uint32_t slot_size;            // bytes; 0 for a large block
  uint16_t slots;
  std::atomic<SpanState> state;
  uint8_t capacity;  // words that each bitmap of this descriptor has room for
  uint8_t lane;      // of the pool
  SpanList list;
  bool zero : 1;      // the pages are known to read as zero
  bool garbage : 1;   // a sweep has left there what looks like pointers
  bool resident : 1;  // of a free run: pages may be resident
  std::atomic<SpanArming> arming;
  std::atomic<uint32_t> swept;  // the sweep that this span has seen, or was born in or after
  Span* next;
  Span* previous;
  Span* next_remote;  // in the owner's queue of spans with remote frees

  // Bytes from live to free bits.
  static constexpr uint32_t FreeDistance(unsigned capacity) {
    return capacity == kFewWords ? sizeof(uint64_t) * kFewWords
                                 : sizeof(Span) - offsetof(Span, first_bits);
  }
  uint64_t* live_bits() { return first_bits; }
  const uint64_t* live_bits() const { return first_bits; }
  uint64_t* free_bits() {
    return reinterpret_cast<uint64_t*>(AddressOf(first_bits) + FreeDistance(capacity));
  }
  const uint64_t* free_bits() const { return const_cast<Span*>(this)->free_bits(); }
  std::atomic<uint64_t>* remote_bits() {
    return reinterpret_cast<std::atomic<uint64_t>*>(free_bits() + capacity);
  }
  const std::atomic<uint64_t>* remote_bits() const {
    return const_cast<Span*>(this)->remote_bits();
  }
  // Slots of word `w` that are blocks, and that nobody has freed.
  uint64_t Blocks(unsigned w) const {
    return LoadRelaxed(&live_bits()[w]) & ~remote_bits()[w].load(std::memory_order_relaxed);
  }
  bool IsBlock(unsigned index) const { return (Blocks(index / 64) >> index % 64 & 1) != 0; }
  // Blocks of word `w` become free slots. By the owner in a CriticalSection, under the central lock
  // of a span without one, or with the world stopped.
  void MakeFree(unsigned w, uint64_t bits) {
    StoreRelaxed(&live_bits()[w], LoadRelaxed(&live_bits()[w]) & ~bits);
    StoreRelaxed(&free_bits()[w], LoadRelaxed(&free_bits()[w]) | bits);
  }

  unsigned words() const { return (LoadRelaxed(&slots) + 63u) / 64; }  // in use of each bitmap
  uintptr_t end() const { return start + pages * kPageSize; }
  bool large() const { return LoadRelaxed(&size_class) == kLargeClass; }
  // Bytes of a block: one more than are usable.
  size_t BlockSize() const { return large() ? pages * kPageSize : slot_size; }
  bool InUse() const { return state.load(std::memory_order_relaxed) == SpanState::kInUse; }
  unsigned IndexOf(uintptr_t offset) const {
    const unsigned c = LoadRelaxed(&size_class);
    return c < kClasses ? static_cast<unsigned>((offset * kSizeClasses.classes[c].reciprocal) >> 32)
                        : 0;
  }
  // Bits of word `w` that stand for slots.
  uint64_t ValidBits(unsigned w) const {
    unsigned rest = slots - w * 64u;
    return rest >= 64 ? ~uint64_t{0} : (uint64_t{1} << rest) - 1;
  }
  unsigned CountFree() const;
  // Frees by the owner are looked at more closely from here on. Any thread, at any moment: of a
  // next life the owner finds out, and goes on.
  void LeaveBin();
};
static_assert(sizeof(Span) == 128 && kMostWords <= 3 * kFewWords);

// Values of Span::owner that are no thread cache. A thread without a cache compares unequal to all.
inline constexpr uintptr_t kOwnerNone = 1;     // in a central list, large, or a free run
inline constexpr uintptr_t kOwnerLeaving = 2;  // empty: who set this, and no other, gives it back
inline constexpr uintptr_t kOwnerCareful = 1;  // bit 0 beside a cache's address: no fast free

// Pool of descriptors. Thread-safe.
Span* NewSpan(unsigned words);  // nullptr when metadata memory is exhausted
void DeleteSpan(Span* span);
// Whether it lies beside those that the calling thread gets.
bool InOwnLane(const Span* span);
void ResetSpanPoolLock(bool own_only = false);

// Intrusive doubly linked list.
class SpanQueue {
 public:
  bool empty() const { return head_ == nullptr; }
  // Without the lock: what was or will be so at some moment.
  bool LooksEmpty() const { return LoadRelaxed(&head_) == nullptr; }
  Span* head() const { return head_; }
  void PushFront(Span* span);
  void Remove(Span* span);
  Span* PopFront();

 private:
  Span* head_ = nullptr;
};

}  // namespace gcm
