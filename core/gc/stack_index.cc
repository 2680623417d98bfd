#include "core/gc/stack_index.h"

#include <algorithm>

#include "core/base/metadata.h"

namespace gcm {

bool StackIndex::Build(const World& world, uintptr_t own_sp, uintptr_t own_tls) {
  const size_t count = world.thread_count() + 1;
  if (count > capacity_) {
    const size_t capacity = RoundUp(count + count / 2, 64);
    auto* pairs = static_cast<Pair*>(metadata::Allocate(2 * capacity * sizeof(Pair)));
    if (pairs == nullptr) return false;
    by_sp_ = pairs;
    by_tls_ = pairs + capacity;
    capacity_ = capacity;
  }
  count_ = 0;
  auto add = [&](uintptr_t sp, uintptr_t tls) {
    by_sp_[count_] = {sp, tls};
    by_tls_[count_++] = {tls, sp};
  };
  add(own_sp, own_tls);
  for (size_t i = 0; i < world.thread_count(); ++i) {
    const StoppedThread thread = world.thread(i);
    add(thread.sp, thread.tls);
  }
  auto before = [](const Pair& a, const Pair& b) { return a.key < b.key; };
  std::sort(by_sp_, by_sp_ + count_, before);
  std::sort(by_tls_, by_tls_ + count_, before);
  return true;
}

const StackIndex::Pair* StackIndex::LowerBound(const Pair* pairs, uintptr_t key) const {
  return std::lower_bound(pairs, pairs + count_, key,
                          [](const Pair& pair, uintptr_t k) { return pair.key < k; });
}

uintptr_t StackIndex::LiveStart(const Mapping& mapping, bool guarded) const {
  const Range range = mapping.range;
  uintptr_t sp = 0;
  const Pair* end = by_sp_ + count_;
  for (const Pair* p = LowerBound(by_sp_, range.lo); p != end && p->key < range.hi; ++p) {
    if (mapping.stack || range.Contains(p->value)) sp = p->key;
  }
  if (sp == 0) return range.lo;
  if (!mapping.stack) {
    const Pair* block = LowerBound(by_tls_, range.lo);
    const bool one = block != by_tls_ + count_ && range.Contains(block->key) &&
                     (block + 1 == by_tls_ + count_ || !range.Contains(block[1].key));
    if (!one || !guarded) return range.lo;
  }
  return RoundDown(sp, sizeof(uintptr_t));
}

uintptr_t StackIndex::ThreadPointerIn(Range range) const {
  const Pair* block = LowerBound(by_tls_, range.lo);
  return block != by_tls_ + count_ && range.Contains(block->key) ? block->key : 0;
}

}  // namespace gcm
