#include "core/heap/arena.h"

#include <cstring>

#include "core/base/metadata.h"
#include "core/base/own_ranges.h"
#include "platform/memory.h"
#include "platform/process.h"

namespace gcm {
namespace {

// Growing in small steps keeps what is committed close to what is used; each step costs four
// system calls at most.
constexpr size_t kGrowStep = kMiB;
// From here on a heap grows by huge pages, if it may: the part of one that is not used yet is small
// beside it.
constexpr size_t kHugeFrom = 8 * kMiB;
constexpr size_t kSmallestReservation = kMiB;
constexpr size_t kExtentCapacity = 1024;
// How far the flat table of spans reaches: as many times the first reservation, which limits on
// the address space make smaller. It takes addresses for a 512th.
constexpr size_t kFlatPart = 64;
constexpr size_t kFlatMost = 64 * kGiB;

// The first reservation: what the address space allows, and at most 1/16 of a limit on it, since
// a reservation counts against RLIMIT_AS in full.
size_t ReservationUnder(size_t wanted) {
  size_t limit = process::AddressSpaceLimit();
  if (limit != SIZE_MAX) wanted = Min(wanted, RoundDown(limit / 16, kMiB));
  return Max(wanted, kSmallestReservation);
}

}  // namespace

bool Arena::Init(const ArenaConfig& config) {
  config_ = config;
  if (!tables_.Init()) return false;
  if (extents_ == nullptr) {
    extents_ = static_cast<Extent*>(metadata::Allocate(kExtentCapacity * sizeof(Extent)));
    if (extents_ == nullptr) return false;
    extent_capacity_ = kExtentCapacity;
  }
  for (size_t size = ReservationUnder(config.first_reservation); size >= kSmallestReservation;
       size /= 2) {
    if (extent_count() == 0 && !AddExtent(size, config.hint)) continue;
    // What is refused of addresses beyond the reservation can be done without.
    for (size_t reach = Max(size, Min(kFlatMost, kFlatPart * size)); reach >= size; reach /= 4) {
      if (tables_.InitFlat(extents_[0].start, reach)) return true;
    }
  }
  return false;
}

void Arena::SetHugePages(HugePages huge_pages, size_t until) {
  huge_until_ = until;
  if (huge_pages == huge_pages_) return;
  huge_pages_ = huge_pages;
  for (size_t i = 0; i < extent_count(); ++i)
    AdviseHugePages(extents_[i].start, extents_[i].end - extents_[i].start);
}

void Arena::AdviseHugePages(uintptr_t start, size_t size) const {
  // With growth each is asked for by itself; neighbours of different kind would be a mapping each.
  if (huge_pages_ != HugePages::kSystem)
    memory::AllowHugePages(start, size, huge_pages_ == HugePages::kOn);
}

bool Arena::GrowsByHugePages(size_t size) const {
  return huge_pages_ == HugePages::kGrowth && size <= kGrowStep && grown_bytes() >= kHugeFrom &&
         grown_bytes() < huge_until_;
}

bool Arena::AddExtent(size_t size, uintptr_t hint) {
  size_t n = extent_count_.load(std::memory_order_relaxed);
  if (n == extent_capacity_) {
    // Twice the room; observers of the old list go on reading it, so it is not reused.
    auto* wider = static_cast<Extent*>(metadata::Allocate(2 * extent_capacity_ * sizeof(Extent)));
    if (wider == nullptr) return false;
    memcpy(wider, extents_, n * sizeof(Extent));
    extents_ = wider;
    extent_capacity_ *= 2;
  }
  size = RoundUp(size, Max(memory::PageSize(), kPageSize));
  uintptr_t start = metadata::ReserveOwn(size, hint, "gcmalloc: heap");
  if (start == 0) return false;
  if (start + size > SideTables::kAddressEnd) {
    metadata::ReleaseOwn(start, size);
    return false;
  }
  AdviseHugePages(start, size);
  if (n > 0 && extents_[n - 1].end == start) {  // the reservation could be extended in place
    extents_[n - 1].end = start + size;
    return true;
  }
  extents_[n] = {start, start, start + size};
  // pairs with: extent_count()
  extent_count_.store(n + 1, std::memory_order_release);
  return true;
}

Range Arena::Grow(size_t size, bool* ready) {
  size_t n = extent_count_.load(std::memory_order_relaxed);
  if (n == 0) return {};
  Range taken = TakeFrom(&extents_[n - 1], size, ready);
  if (taken.size() != 0) return taken;
  // An earlier extent may have room that was too small for another request.
  for (size_t i = 0; i + 1 < n; ++i) {
    if (extents_[i].end - extents_[i].ready >= size) {
      taken = TakeFrom(&extents_[i], size, ready);
      if (taken.size() != 0) return taken;
    }
  }
  const uintptr_t before = extents_[n - 1].end;
  // The reservation is spent: more just behind it, or wherever the system gives it. Reservations
  // grow with the heap, so their number grows with its logarithm.
  size_t step = Min(kGiB, Max(kMiB, ReservationUnder(grown_bytes() / 4)));
  if (config_.first_reservation < step) step = config_.first_reservation;
  for (size_t wanted = Max(size, step);; wanted = Max(size, wanted / 2)) {
    if (AddExtent(wanted, extents_[n - 1].end)) break;
    if (wanted == size) return {};
  }
  Extent& last = extents_[extent_count_.load(std::memory_order_relaxed) - 1];
  taken = TakeFrom(&last, size, ready);
  if (taken.size() == 0) GiveBack(n, before);
  return taken;
}

// Undoes AddExtent when nothing of it could be made ready: addresses are limited, too.
void Arena::GiveBack(size_t count, uintptr_t end) {
  const size_t now = extent_count_.load(std::memory_order_relaxed);
  Extent& last = extents_[now - 1];
  if (now > count) {
    if (last.ready != last.start) return;
    metadata::ReleaseOwn(last.start, last.end - last.start);
    // pairs with: extent_count()
    extent_count_.store(count, std::memory_order_release);
  } else if (last.end > end && last.ready <= end) {
    metadata::ReleaseOwn(end, last.end - end);
    last.end = end;
  }
}

Range Arena::TakeFrom(Extent* extent, size_t size, bool* ready) {
  size_t room = extent->end - extent->ready;
  if (room < size) return {};
  const size_t unit = Max(memory::PageSize(), kPageSize);
  const bool by_huge_pages = ready != nullptr && GrowsByHugePages(size);
  size_t generous = RoundUp(size, kGrowStep);
  if (by_huge_pages || huge_pages_ == HugePages::kOn)
    generous = RoundUp(extent->ready + size, memory::kHugePage) - extent->ready;
  for (size_t take : {Min(room, generous), Min(room, RoundUp(size, unit))}) {
    uintptr_t lo = extent->ready, hi = lo + take;
#ifdef GCM_TEST_PUBLISH_EARLY
    Publish(lo, hi);
    Step();
#endif
    if (!memory::Prepare(lo, take)) continue;
    Step();
    if (!tables_.MapBits(lo, hi)) continue;
    Step();
    if (!tables_.MapCards(lo, hi)) continue;
    Step();
    if (!tables_.MapSpans(lo, hi)) continue;
    Step();
    if (by_huge_pages && lo % memory::kHugePage == 0 && take == memory::kHugePage) {
      memory::PopulateHuge(lo);
      *ready = true;
    }
    extent->ready = hi;
    grown_.fetch_add(take, std::memory_order_relaxed);
    Publish(lo, hi);
    return {lo, hi};
  }
  return {};
}

void Arena::Publish(uintptr_t lo, uintptr_t used) {
  // pairs with: the acquires in Contains, lo and used
  if (lo < lo_.load(std::memory_order_relaxed)) lo_.store(lo, std::memory_order_release);
  if (used > used_.load(std::memory_order_relaxed)) used_.store(used, std::memory_order_release);
}

}  // namespace gcm
