// Free runs of pages by their length: exact lists for short ones, four lists a doubling for long
// ones, and a bitmap that says which lists are not empty. Finding takes a constant number of
// steps, but for the walk through one list of nearly equal lengths.
#pragma once

#include "core/heap/span.h"

namespace gcm {

class RunIndex {
 public:
  void Add(Span* run) {
    unsigned bin = BinOf(run->pages);
    bins_[bin].PushFront(run);
    filled_[bin / 64] |= uint64_t{1} << bin % 64;
    pages_ += run->pages;
  }
  void Remove(Span* run) {
    unsigned bin = BinOf(run->pages);
    bins_[bin].Remove(run);
    if (bins_[bin].empty()) filled_[bin / 64] &= ~(uint64_t{1} << bin % 64);
    pages_ -= run->pages;
  }
  // A run of at least `pages` pages, nearly the shortest; nullptr when there is none.
  Span* Find(size_t pages) const;

  size_t pages() const { return pages_; }
  template <typename Fn>
  void ForEach(Fn fn) const {
    for (const SpanQueue& bin : bins_) {
      for (Span *run = bin.head(), *next; run != nullptr; run = next) {
        next = run->next;
        fn(run);
      }
    }
  }

  // The longest ones first, until `fn` returns false.
  template <typename Fn>
  void ForLongest(Fn fn) const {
    for (unsigned bin = kBins; bin-- > 0;) {
      for (Span* run = bins_[bin].head(); run != nullptr; run = run->next) {
        if (!fn(run)) return;
      }
    }
  }

 private:
  static constexpr unsigned kExact = 64;
  static constexpr unsigned kBins = kExact + 4 * 30;

  static unsigned BinOf(size_t pages) {
    if (pages < kExact) return static_cast<unsigned>(pages);
    unsigned log = 63 - static_cast<unsigned>(__builtin_clzll(pages));
    unsigned quarter = static_cast<unsigned>(pages >> (log - 2)) & 3;
    return Min(kExact + (log - 6) * 4 + quarter, kBins - 1);
  }
  unsigned NextFilled(unsigned bin) const {
    for (unsigned w = bin / 64; w < (kBins + 63) / 64; ++w) {
      uint64_t bits = filled_[w];
      if (w == bin / 64) bits &= ~uint64_t{0} << bin % 64;
      if (bits != 0) return w * 64 + static_cast<unsigned>(__builtin_ctzll(bits));
    }
    return kBins;
  }

  SpanQueue bins_[kBins];
  uint64_t filled_[(kBins + 63) / 64] = {};
  size_t pages_ = 0;
};

}  // namespace gcm
