#include "core/heap/run_index.h"

namespace gcm {

Span* RunIndex::Find(size_t pages) const {
  unsigned bin = BinOf(pages);
  if (bin >= kExact) {
    // Lengths within a list differ by up to a quarter: the best of its first few that fit.
    Span* best = nullptr;
    int looked = 0;
    for (Span* run = bins_[bin].head(); run != nullptr; run = run->next) {
      if (run->pages >= pages && (best == nullptr || run->pages < best->pages)) best = run;
      if (best != nullptr && ++looked == 16) break;
    }
    if (best != nullptr) return best;
    ++bin;
  }
  bin = NextFilled(bin);
  return bin < kBins ? bins_[bin].head() : nullptr;
}

}  // namespace gcm
