// A line of text in a fixed buffer, written by one system call. Allocates nothing, keeps errno,
// safe in signal handlers. What does not fit is cut, and the line still ends in a newline.
#pragma once

#include "platform/base.h"

namespace gcm {

class Message {
 public:
  Message& Text(const char* text);
  Message& Text(const char* text, size_t length);
  Message& Decimal(uint64_t value);
  Message& Hex(uint64_t value);
  // value / 10^digits, with that many digits behind the point.
  Message& Fixed(uint64_t value, int digits);
  Message& Char(char c);

  // Ends the line and writes it whole. Returns false if the descriptor does not take it.
  bool Write(int fd);

  const char* data() const { return buffer_; }
  size_t size() const { return size_; }
  void Clear() { size_ = 0; }

 private:
  static constexpr size_t kCapacity = 2048;
  char buffer_[kCapacity];
  size_t size_ = 0;
};

// All of `size` bytes, through short writes and interruptions. False on error.
bool WriteAll(int fd, const char* data, size_t size);

// One line "gcmalloc: TEXT" on standard error.
void Complain(const char* text);

// One line "gcmalloc: TEXT" on standard error, then abort(): for broken invariants.
[[noreturn]] void Fatal(const char* text);

// Ends the process by SIGABRT, as abort() does, without running anything of ours.
[[noreturn]] void Abort();

}  // namespace gcm
