// Files that are open for one reading or writing: raw calls, no buffer on the heap.
#pragma once

#include "platform/base.h"

namespace gcm {

// Closes in its destructor. Not ok() when the file could not be opened (no /proc, no descriptor).
class File {
 public:
  static File OpenForReading(const char* path);
  static File OpenDirectory(const char* path);
  static File OpenForAppending(const char* path);
  static File Create(const char* path);  // truncates
  ~File();
  File(File&& other) noexcept : fd_(other.fd_) { other.fd_ = kMoved; }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  bool ok() const { return fd_ >= 0; }
  // True when it could not be opened because no descriptor is free.
  bool LackedDescriptor() const;
  int fd() const { return fd_; }
  // Bytes read, 0 at the end, or -errno.
  long Read(void* buffer, size_t size);
  long ReadAt(void* buffer, size_t size, uint64_t offset);

 private:
  static constexpr int kMoved = -9;  // -EBADF
  explicit File(int fd) : fd_(fd) {}
  int fd_;  // or -errno
};

// Lines of a file, one at a time, through a buffer of the caller. Of a line longer than the buffer
// the rest is dropped.
class LineReader {
 public:
  LineReader(File* file, char* buffer, size_t size) : file_(file), buffer_(buffer), size_(size) {}
  // The next line without its newline, zero-terminated; nullptr at the end or on error.
  char* Next(size_t* length);
  // True when a read failed: what was given is not the whole file.
  bool failed() const { return failed_; }

 private:
  File* file_;
  char* buffer_;
  size_t size_;
  size_t begin_ = 0;
  size_t end_ = 0;
  bool at_end_ = false;
  bool failed_ = false;
  bool cut_ = false;  // what follows is the rest of a line that was too long
};

// Reads a whole small file into `buffer` as a zero-terminated string; -errno or its length. Also
// when no descriptor is free, as far as that can be.
long ReadSmallFile(const char* path, char* buffer, size_t size);

// Writes `size` bytes to a file, behind what it holds or in its place. False: it cannot be opened.
enum class WriteMode { kAppend, kReplace };
bool WriteSmallFile(const char* path, WriteMode mode, const char* data, size_t size);

// Parse at *cursor and move it past what was understood. False: nothing there.
bool ParseHex(const char** cursor, uint64_t* value);
bool ParseDecimal(const char** cursor, uint64_t* value);

}  // namespace gcm
