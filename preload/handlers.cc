// The program's signal handlers run behind a trampoline, which waits while the world is stopped: a
// thread that waits published is not signalled by us, but the program's signals reach it.
//
// Law: what the program reads back is what it set. A handler that was replaced stays known, for
// signals that are on their way. A vfork child has handlers of its own, but not this table: what
// it sets is left alone.
#include <signal.h>

#include <atomic>
#include <cerrno>

#include "core/gc/blocking.h"
#include "platform/fault_chain.h"
#include "platform/interrupted_call.h"
#include "platform/mutex.h"
#include "platform/process.h"
#include "platform/signal.h"
#include "preload/family.h"
#include "preload/wrapped.h"

namespace gcm {
namespace {

using Handler = void (*)(int, siginfo_t*, void*);

constexpr int kSignals = 65;
std::atomic<Handler> g_handlers[kSignals];
std::atomic<uint64_t> g_restarts{0};  // a bit for each signal: SA_RESTART
Mutex g_lock;
std::atomic<uint64_t> g_interrupting{0};  // as siginterrupt(3) said

void Trampoline(int signal, siginfo_t* info, void* context) {
  const bool restarts = (g_restarts.load(std::memory_order_relaxed) >> (signal - 1) & 1) != 0;
  interrupted_call::BeforeHandler(static_cast<ucontext_t*>(context), restarts);
  // pairs with: the release in Set
  Handler handler = g_handlers[signal].load(std::memory_order_acquire);
  if (GCM_LIKELY(!t_cache->blocked().entered())) {
    handler(signal, info, context);  // nothing of ours stays on the stack
    return;
  }
  blocking::HandlerScope scope;
  handler(signal, info, context);
}

// Neither SIG_DFL nor SIG_IGN.
bool IsFunction(Handler handler) { return AddressOf(reinterpret_cast<void*>(handler)) > 1; }

int Set(int signal, const struct sigaction* set, struct sigaction* old) {
  auto* next = GCM_NEXT(sigaction);
  if (signal <= 0 || signal >= kSignals) return next(signal, set, old);
  if (process::SharesParentMemory()) {
    int result = next(signal, set, old);
    if (result == 0 && old != nullptr) fault_chain::ShowProgramAction(old);
    if (result == 0 && old != nullptr && old->sa_sigaction == Trampoline) {
      old->sa_sigaction = g_handlers[signal].load(std::memory_order_relaxed);
    }
    return result;
  }
  SignalsBlocked blocked;
  LockGuard guard(g_lock);
  const Handler before = g_handlers[signal].load(std::memory_order_relaxed);
  struct sigaction changed;
  const struct sigaction* given = set;
  // Who has read the kernel's own answer may give it back.
  if (set != nullptr && IsFunction(set->sa_sigaction) && set->sa_sigaction != Trampoline) {
    changed = *set;
    changed.sa_sigaction = Trampoline;
    given = &changed;
    // Known before the first signal. pairs with: the acquire in Trampoline
    g_handlers[signal].store(set->sa_sigaction, std::memory_order_release);
    const uint64_t bit = uint64_t{1} << (signal - 1);
    if ((set->sa_flags & SA_RESTART) != 0) {
      g_restarts.fetch_or(bit, std::memory_order_relaxed);
    } else {
      g_restarts.fetch_and(~bit, std::memory_order_relaxed);
    }
  }
  struct sigaction kernel;
  int result = signal == SIGSEGV ? fault_chain::SetProgramAction(given, &kernel, next)
                                 : next(signal, given, &kernel);
  if (result != 0) {
    g_handlers[signal].store(before, std::memory_order_relaxed);
    return result;
  }
  if (old != nullptr) {
    *old = kernel;
    if (kernel.sa_sigaction == Trampoline) old->sa_sigaction = before;
  }
  return 0;
}

sighandler_t SetSimple(int signal, sighandler_t handler, int flags, bool block_itself) {
  struct sigaction action {
  }, old;
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  if (handler == SIG_ERR || signal < 1 || signal >= kSignals ||
      (block_itself && sigaddset(&action.sa_mask, signal) != 0)) {
    errno = EINVAL;
    return SIG_ERR;
  }
  return Set(signal, &action, &old) == 0 ? old.sa_handler : SIG_ERR;
}

bool Interrupts(int signal) {
  return signal > 0 && signal < kSignals &&
         (g_interrupting.load(std::memory_order_relaxed) >> (signal - 1) & 1) != 0;
}

}  // namespace

void StartHandlers() { blocking::SetTrampoline(AddressOf(reinterpret_cast<void*>(Trampoline))); }
void HandlersAfterFork() { g_lock.Reset(); }

}  // namespace gcm

extern "C" {

GCM_EXPORT int sigaction(int signal, const struct sigaction* set, struct sigaction* old) {
  return gcm::Set(signal, set, old);
}
GCM_EXPORT int __sigaction(int signal, const struct sigaction* set, struct sigaction* old) {
  return gcm::Set(signal, set, old);
}

// BSD's.
GCM_EXPORT sighandler_t signal(int signal, sighandler_t handler) {
  return gcm::SetSimple(signal, handler, gcm::Interrupts(signal) ? 0 : SA_RESTART, true);
}
GCM_EXPORT sighandler_t bsd_signal(int number, sighandler_t handler) {
  return signal(number, handler);
}
GCM_EXPORT sighandler_t ssignal(int number, sighandler_t handler) {
  return signal(number, handler);
}
// System V's.
GCM_EXPORT sighandler_t sysv_signal(int signal, sighandler_t handler) {
  return gcm::SetSimple(signal, handler, static_cast<int>(SA_RESETHAND) | SA_NODEFER, false);
}
GCM_EXPORT sighandler_t __sysv_signal(int signal, sighandler_t handler) {
  return sysv_signal(signal, handler);
}

GCM_EXPORT sighandler_t sigset(int signal, sighandler_t disposition) {
  sigset_t set, before;
  if (sigemptyset(&set) != 0 || sigaddset(&set, signal) != 0) return SIG_ERR;
  sighandler_t old;
  if (disposition == SIG_HOLD) {
    struct sigaction now;
    if (sigprocmask(SIG_BLOCK, &set, &before) != 0) return SIG_ERR;
    if (gcm::Set(signal, nullptr, &now) != 0) return SIG_ERR;
    old = now.sa_handler;
  } else {
    old = gcm::SetSimple(signal, disposition, 0, false);
    if (old == SIG_ERR || sigprocmask(SIG_UNBLOCK, &set, &before) != 0) return SIG_ERR;
  }
  return sigismember(&before, signal) == 1 ? SIG_HOLD : old;
}

GCM_EXPORT int sigignore(int signal) {
  return gcm::SetSimple(signal, SIG_IGN, 0, false) == SIG_ERR ? -1 : 0;
}

GCM_EXPORT int siginterrupt(int signal, int interrupts) {
  struct sigaction action;
  if (gcm::Set(signal, nullptr, &action) != 0) return -1;
  const uint64_t bit = uint64_t{1} << (signal - 1);
  if (interrupts != 0) {
    gcm::g_interrupting.fetch_or(bit, std::memory_order_relaxed);
    action.sa_flags &= ~SA_RESTART;
  } else {
    gcm::g_interrupting.fetch_and(~bit, std::memory_order_relaxed);
    action.sa_flags |= SA_RESTART;
  }
  return gcm::Set(signal, &action, nullptr);
}

}  // extern "C"
