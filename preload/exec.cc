// The exec family. What stops a thread is a signal, and a signal that waits for the thread when its
// program is replaced meets the new program, which has no handler for it: it would be ended. So no
// collection begins or goes on while a thread of several calls execve.
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstddef>

#include "core/gc/collector.h"
#include "platform/own_thread.h"
#include "platform/process.h"
#include "preload/wrapped.h"

namespace gcm {
namespace {

// A vfork child has no turn: its parent waits, and nobody signals a child of another process.
class NoCollection {
 public:
  NoCollection()
      : held_(!process::SharesParentMemory() &&
              (process::ThreadCount() != 1 || OwnThread::Count() != 0)) {
    if (held_) collector().HoldOff();
  }
  ~NoCollection() {
    if (held_) collector().LetGo();
  }
  NoCollection(const NoCollection&) = delete;
  NoCollection& operator=(const NoCollection&) = delete;

 private:
  const bool held_;
};

// How many strings a variable argument list holds, `first` and the null pointer included.
size_t CountStrings(va_list* list) {
  size_t count = 2;
  while (va_arg(*list, char*) != nullptr) ++count;
  return count;
}

void CopyStrings(const char* first, va_list* list, size_t count, char** strings) {
  strings[0] = const_cast<char*>(first);
  for (size_t i = 1; i < count; ++i) strings[i] = va_arg(*list, char*);
}

}  // namespace
}  // namespace gcm

using gcm::NoCollection;

// The list of the arguments goes to the stack, as in libc: exec is for signal handlers, too.
#define GCM_STRINGS(first, strings)                                              \
  va_list list;                                                                  \
  va_start(list, first);                                                         \
  const size_t count = gcm::CountStrings(&list);                                 \
  va_end(list);                                                                  \
  auto** strings = static_cast<char**>(__builtin_alloca(count * sizeof(char*))); \
  va_start(list, first);                                                         \
  gcm::CopyStrings(first, &list, count, strings)

extern "C" {

GCM_EXPORT int execve(const char* path, char* const strings[], char* const environment[]) noexcept {
  NoCollection guard;
  return GCM_NEXT(execve)(path, strings, environment);
}

GCM_EXPORT int execveat(int directory, const char* path, char* const strings[],
                        char* const environment[], int flags) noexcept {
  NoCollection guard;
  return GCM_NEXT(execveat)(directory, path, strings, environment, flags);
}

GCM_EXPORT int fexecve(int fd, char* const strings[], char* const environment[]) noexcept {
  NoCollection guard;
  return GCM_NEXT(fexecve)(fd, strings, environment);
}

GCM_EXPORT int execv(const char* path, char* const strings[]) noexcept {
  return execve(path, strings, environ);
}

GCM_EXPORT int execvpe(const char* file, char* const strings[],
                       char* const environment[]) noexcept {
  NoCollection guard;
  return GCM_NEXT(execvpe)(file, strings, environment);
}

GCM_EXPORT int execvp(const char* file, char* const strings[]) noexcept {
  return execvpe(file, strings, environ);
}

GCM_EXPORT int execl(const char* path, const char* first, ...) noexcept {
  GCM_STRINGS(first, strings);
  va_end(list);
  return execve(path, strings, environ);
}

GCM_EXPORT int execlp(const char* file, const char* first, ...) noexcept {
  GCM_STRINGS(first, strings);
  va_end(list);
  return execvpe(file, strings, environ);
}

GCM_EXPORT int execle(const char* path, const char* first, ...) noexcept {
  GCM_STRINGS(first, strings);
  char* const* environment = va_arg(list, char* const*);
  va_end(list);
  return execve(path, strings, environment);
}

}  // extern "C"
