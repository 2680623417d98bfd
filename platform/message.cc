#include "platform/message.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "platform/syscall.h"

namespace gcm {

Message& Message::Text(const char* text, size_t length) {
  size_t room = kCapacity - 1 - size_;  // the newline has its place always
  length = Min(length, room);
  memcpy(buffer_ + size_, text, length);
  size_ += length;
  return *this;
}

Message& Message::Text(const char* text) { return Text(text, strlen(text)); }

Message& Message::Char(char c) { return Text(&c, 1); }

Message& Message::Decimal(uint64_t value) {
  char digits[20];
  size_t i = sizeof(digits);
  do {
    digits[--i] = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value != 0);
  return Text(digits + i, sizeof(digits) - i);
}

Message& Message::Hex(uint64_t value) {
  char digits[18];
  size_t i = sizeof(digits);
  do {
    digits[--i] = "0123456789abcdef"[value & 15];
    value >>= 4;
  } while (value != 0);
  digits[--i] = 'x';
  digits[--i] = '0';
  return Text(digits + i, sizeof(digits) - i);
}

Message& Message::Fixed(uint64_t value, int digits) {
  uint64_t unit = 1;
  for (int i = 0; i < digits; ++i) unit *= 10;
  Decimal(value / unit);
  if (digits == 0) return *this;
  Char('.');
  for (uint64_t rest = value % unit; unit > 1; rest %= unit) {
    unit /= 10;
    Char(static_cast<char>('0' + rest / unit));
  }
  return *this;
}

bool Message::Write(int fd) {
  buffer_[size_] = '\n';
  return WriteAll(fd, buffer_, size_ + 1);
}

bool WriteAll(int fd, const char* data, size_t size) {
  while (size > 0) {
    long n = Syscall(SYS_write, fd, data, size);
    if (n == -EINTR) continue;
    if (n <= 0) return false;
    data += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

void Complain(const char* text) {
  Message line;
  line.Text("gcmalloc: ").Text(text).Write(2);
}

void Abort() { abort(); }

void Fatal(const char* text) {
  Complain(text);
  Abort();
}

}  // namespace gcm
