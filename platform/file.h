// Descriptors that live for one reading: raw calls, close-on-exec, no buffer on the heap.
#pragma once

#include "platform/base.h"

namespace gcm {

// Closes in its destructor. Not ok() when the file could not be opened (no /proc, no descriptor).
class File {
 public:
  static File OpenForReading(const char* path);
  static File OpenForAppending(const char* path);
  static File Create(const char* path);  // truncates
  ~File();
  File(File&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  bool ok() const { return fd_ >= 0; }
  int fd() const { return fd_; }
  // Bytes read, 0 at the end, or -errno.
  long Read(void* buffer, size_t size);
  long ReadAt(void* buffer, size_t size, uint64_t offset);

 private:
  explicit File(int fd) : fd_(fd) {}
  int fd_;
};

// Lines of a file, one at a time, through a buffer of the caller. Of a line longer than the buffer
// the rest is dropped.
class LineReader {
 public:
  LineReader(File* file, char* buffer, size_t size) : file_(file), buffer_(buffer), size_(size) {}
  // The next line without its newline, zero-terminated; nullptr at the end or on error.
  char* Next(size_t* length);

 private:
  File* file_;
  char* buffer_;
  size_t size_;
  size_t begin_ = 0;
  size_t end_ = 0;
  bool at_end_ = false;
  bool cut_ = false;  // what follows is the rest of a line that was too long
};

// Reads a whole small file into `buffer` as a zero-terminated string; -errno or its length.
long ReadSmallFile(const char* path, char* buffer, size_t size);

// Parse at *cursor and move it past what was understood. False: nothing there.
bool ParseHex(const char** cursor, uint64_t* value);
bool ParseDecimal(const char** cursor, uint64_t* value);

}  // namespace gcm
