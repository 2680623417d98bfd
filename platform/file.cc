#include "platform/file.h"

#include <fcntl.h>

#include <cerrno>
#include <cstring>

#include "platform/apart.h"
#include "platform/descriptor.h"
#include "platform/message.h"
#include "platform/proc.h"
#include "platform/syscall.h"

namespace gcm {
namespace {

constexpr char kProc[] = "/proc/";

int Open(const char* path, int flags) {
  return strncmp(path, kProc, sizeof(kProc) - 1) == 0 ? proc::Open(path, flags)
                                                      : descriptor::Open(AT_FDCWD, path, flags);
}

}  // namespace

File File::OpenForReading(const char* path) { return File(Open(path, O_RDONLY)); }
File File::OpenDirectory(const char* path) { return File(Open(path, O_RDONLY | O_DIRECTORY)); }
File File::OpenForAppending(const char* path) {
  return File(Open(path, O_WRONLY | O_CREAT | O_APPEND));
}
File File::Create(const char* path) { return File(Open(path, O_WRONLY | O_CREAT | O_TRUNC)); }

bool File::LackedDescriptor() const { return fd_ == -EMFILE; }

File::~File() {
  if (fd_ >= 0) Syscall(SYS_close, fd_);
}

long File::Read(void* buffer, size_t size) {
  long n;
  do {
    n = Syscall(SYS_read, fd_, buffer, size);
  } while (n == -EINTR);
  return n;
}

long File::ReadAt(void* buffer, size_t size, uint64_t offset) {
  long n;
  do {
    n = Syscall(SYS_pread64, fd_, buffer, size, offset);
  } while (n == -EINTR);
  return n;
}

char* LineReader::Next(size_t* length) {
  for (;;) {
    char* newline = static_cast<char*>(memchr(buffer_ + begin_, '\n', end_ - begin_));
    if (cut_) {
      begin_ = newline != nullptr ? static_cast<size_t>(newline + 1 - buffer_) : end_;
      cut_ = newline == nullptr;
      if (newline != nullptr) continue;
    }
    if (newline == nullptr && end_ - begin_ >= size_ - 1) {
      newline = buffer_ + end_ - 1;
      cut_ = true;
    }
    if (newline == nullptr && at_end_) {
      if (begin_ == end_) return nullptr;
      newline = buffer_ + end_;
      end_++;  // the terminator that is written below
    }
    if (newline != nullptr) {
      char* line = buffer_ + begin_;
      *newline = '\0';
      *length = static_cast<size_t>(newline - line);
      begin_ = static_cast<size_t>(newline - buffer_) + 1;
      return line;
    }
    memmove(buffer_, buffer_ + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    long n = file_->Read(buffer_ + end_, size_ - 1 - end_);
    if (n <= 0) {
      at_end_ = true;
      failed_ = n < 0;
    } else {
      end_ += static_cast<size_t>(n);
    }
  }
}

namespace {

// Does the job here, and if no descriptor is free for it, apart.
template <typename Job>
void WithDescriptor(Job* job) {
  job->Do();
  if (!job->lacked) return;
  job->lacked = false;
  apart::Run([](void* data) { static_cast<Job*>(data)->Do(); }, job);
}

struct ReadJob {
  const char* path;
  char* buffer;
  size_t size;
  long result = -ENOENT;
  bool lacked = false;

  void Do() {
    File file = File::OpenForReading(path);
    lacked = file.LackedDescriptor();
    if (!file.ok()) return;
    size_t length = 0;
    while (length < size - 1) {
      long n = file.Read(buffer + length, size - 1 - length);
      if (n < 0) {
        result = n;
        return;
      }
      if (n == 0) break;
      length += static_cast<size_t>(n);
    }
    buffer[length] = '\0';
    result = static_cast<long>(length);
  }
};

struct WriteJob {
  const char* path;
  WriteMode mode;
  const char* data;
  size_t size;
  bool done = false;
  bool lacked = false;

  void Do() {
    File file = mode == WriteMode::kAppend ? File::OpenForAppending(path) : File::Create(path);
    lacked = file.LackedDescriptor();
    if (file.ok()) done = WriteAll(file.fd(), data, size);
  }
};

}  // namespace

long ReadSmallFile(const char* path, char* buffer, size_t size) {
  ReadJob job{path, buffer, size};
  WithDescriptor(&job);
  return job.result;
}

bool WriteSmallFile(const char* path, WriteMode mode, const char* data, size_t size) {
  WriteJob job{path, mode, data, size};
  WithDescriptor(&job);
  return job.done;
}

bool ParseHex(const char** cursor, uint64_t* value) {
  const char* p = *cursor;
  uint64_t v = 0;
  for (;; ++p) {
    unsigned digit;
    if (*p >= '0' && *p <= '9') {
      digit = static_cast<unsigned>(*p - '0');
    } else if (*p >= 'a' && *p <= 'f') {
      digit = static_cast<unsigned>(*p - 'a' + 10);
    } else if (*p >= 'A' && *p <= 'F') {
      digit = static_cast<unsigned>(*p - 'A' + 10);
    } else {
      break;
    }
    if (v >> 60 != 0) return false;
    v = v << 4 | digit;
  }
  if (p == *cursor) return false;
  *cursor = p;
  *value = v;
  return true;
}

bool ParseDecimal(const char** cursor, uint64_t* value) {
  const char* p = *cursor;
  uint64_t v = 0;
  for (; *p >= '0' && *p <= '9'; ++p) {
    uint64_t digit = static_cast<uint64_t>(*p - '0');
    if (v > (UINT64_MAX - digit) / 10) return false;
    v = v * 10 + digit;
  }
  if (p == *cursor) return false;
  *cursor = p;
  *value = v;
  return true;
}

}  // namespace gcm
