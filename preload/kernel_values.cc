// Calls that hand a value to the kernel which nobody can read back: it is remembered here.
#include "core/gc/kernel_values.h"

#include <mqueue.h>
#include <pthread.h>
#include <signal.h>

#include <cerrno>

#include "core/heap/heap.h"
#include "platform/process.h"
#include "preload/wrapped.h"

namespace gcm {
namespace {

// The thread's alternate stack, in storage that is a root itself. The kernel is not asked for that
// of a thread that waits with its state published.
GCM_TLS void* t_alternate_stack = nullptr;

// libc keeps a copy of the attributes of a notification's thread in a block that only the kernel
// knows, in a cookie that libc has built on the stack that has died just now: `dead` is a copy of
// that. Notes the blocks there that have the size.
void NoteAttributes(const uintptr_t* dead, size_t count, kernel_values::Notification* n) {
  size_t found = 0;
  for (size_t i = 0; i < count && found < kernel_values::Notification::kMore; ++i) {
    Range block;
    if (!heap().FindBlock(dead[i], &block) || block.lo != dead[i]) continue;
    if (block.size() < sizeof(pthread_attr_t) || block.size() > 2 * sizeof(pthread_attr_t))
      continue;
    n->more[found++] = block.lo;
  }
}

}  // namespace
}  // namespace gcm

extern "C" {

// Noted before, since the handler may run, and leave by a jump, before the call returns; and again
// afterwards: a collection before the kernel had the value has found nothing pending. errno is
// kept.
GCM_EXPORT int sigqueue(pid_t pid, int signal, const union sigval value) noexcept {
  const uintptr_t word = gcm::AddressOf(value.sival_ptr);
  if (!gcm::kernel_values::NoteQueued(signal, word)) {
    errno = EAGAIN;
    return -1;
  }
  const int result = GCM_NEXT(sigqueue)(pid, signal, value);
  gcm::kernel_values::NoteQueued(signal, word);
  return result;
}

GCM_EXPORT int pthread_sigqueue(pthread_t thread, int signal, const union sigval value) noexcept {
  const uintptr_t word = gcm::AddressOf(value.sival_ptr);
  if (!gcm::kernel_values::NoteQueued(signal, word, gcm::kernel_values::Target::kThread))
    return EAGAIN;
  const int result = GCM_NEXT(pthread_sigqueue)(thread, signal, value);
  gcm::kernel_values::NoteQueued(signal, word, gcm::kernel_values::Target::kThread);
  return result;
}

GCM_EXPORT GCM_NO_SANITIZE int mq_notify(mqd_t queue, const struct sigevent* event) noexcept {
  constexpr size_t kDead = 128;
  uintptr_t dead[kDead];
  const volatile uintptr_t* below = static_cast<uintptr_t*>(__builtin_alloca(16));
  const int result = GCM_NEXT(mq_notify)(queue, event);
  // Before anything else is called: words of the frames that have just ended.
  for (size_t i = 0; i < kDead; ++i) dead[i] = *--below;
  if (result != 0) return result;
  if (event == nullptr) {
    gcm::kernel_values::DropNotification(queue);
    return result;
  }
  gcm::kernel_values::Notification n;
  n.signal = event->sigev_notify == SIGEV_SIGNAL ? event->sigev_signo : 0;
  if (event->sigev_notify != SIGEV_NONE) n.value = gcm::AddressOf(event->sigev_value.sival_ptr);
  if (event->sigev_notify == SIGEV_THREAD && event->sigev_notify_attributes != nullptr)
    gcm::NoteAttributes(dead, kDead, &n);
  if (gcm::kernel_values::NoteNotification(queue, n)) return result;
  GCM_NEXT(mq_notify)(queue, nullptr);
  errno = ENOMEM;
  return -1;
}

GCM_EXPORT int sigaltstack(const stack_t* stack, stack_t* old) noexcept {
  const int result = GCM_NEXT(sigaltstack)(stack, old);
  // A vfork child has its parent's storage, and a stack of its own.
  if (result != 0 || stack == nullptr || gcm::process::SharesParentMemory()) return result;
  // Not optimised away: the collector reads it.
  gcm::StoreRelaxed(&gcm::t_alternate_stack,
                    (stack->ss_flags & SS_DISABLE) != 0 ? nullptr : stack->ss_sp);
  return result;
}

}  // extern "C"
