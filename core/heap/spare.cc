// Spare spans: empty ones that stay in their cache. Most programs allocate again soon what they
// have freed, and all threads share the page heap.
//
// Law: they are the first to go where memory is lacking, and a sweep gives them back.
#include "core/heap/heap.h"

namespace gcm {
namespace {

// Pages of them in a cache: so many at least, and at most, and else its share of this part of the
// heap.
constexpr size_t kLeastSpare = 8;
constexpr size_t kMostSpare = 64;
constexpr size_t kSparePart = 32;

}  // namespace

// An empty span, on no list. True: it stays, for when its class has no other.
bool ThreadCache::KeepSpare(Span* span) {
  // Where marks stay, what is born here would count as old.
  if (heap().pages().keeps_nothing() || heap().marks_stay()) return false;
  const size_t share = heap().pages().in_use_pages() / kSparePart / heap().registry().count();
  const size_t most = Max(kLeastSpare, Min(kMostSpare, share));
  if (spare_pages_ + span->pages > most) return false;
  spare_pages_ += span->pages;
  span->list = SpanList::kSpare;
  lists_[span->size_class].spare.PushFront(span);
  return true;
}

void ThreadCache::GiveSpare() {
  for (ClassLists& lists : lists_) {
    while (Span* span = lists.spare.head()) {
      Unlist(span);
      heap().pages().Free(span);
    }
  }
}

}  // namespace gcm
