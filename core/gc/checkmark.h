// The marker's verifier (GCMALLOC_CHECKMARK): with the world stopped and everything marked, all is
// marked again from nothing, one block at a time and with nothing shared but the look-up of words
// in memory. A block that is found and has no mark bit was missed: the process ends with the path
// to it. The oracle for every barrier (Go's mcheckmark.go).
#pragma once

#include "core/heap/heap.h"

namespace gcm {

class Checkmark {
 public:
  // Forgets what it knew. False: there is no memory for it.
  bool Begin();
  // A word that was found in the block that Next gave last, or in a root. Ends the process when its
  // block is not marked.
  void Found(uintptr_t word);
  // The next block to look through; false when there is none.
  bool Next(Range* block);
  // Gives its memory back. How many blocks there were.
  size_t End();
  bool overflowed() const { return overflowed_; }

 private:
  struct Entry {
    uintptr_t block;   // its start; 0: free
    uintptr_t parent;  // 0: a root
  };
  Entry* Find(uintptr_t block);
  bool Grow();
  [[noreturn]] void Missed(Range block);

  Entry* entries_ = nullptr;
  size_t capacity_ = 0;  // a power of two
  size_t count_ = 0;
  uintptr_t* order_ = nullptr;  // the blocks as they were found
  size_t next_ = 0;
  uintptr_t current_ = 0;
  bool overflowed_ = false;
};

}  // namespace gcm
