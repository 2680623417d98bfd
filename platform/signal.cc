#include "platform/signal.h"

#include <signal.h>
#include <ucontext.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "platform/process.h"
#include "platform/syscall.h"

namespace gcm::stop_signal {
namespace {

constexpr int kSignal = 33;  // glibc's SIGSETXID; not a number that a program can use

// The kernel's structure, which differs from libc's.
struct KernelAction {
  void (*handler)(int, siginfo_t*, void*);
  unsigned long flags;
  void (*restorer)();
  uint64_t mask;
};
constexpr unsigned long kRestorerFlag = 0x04000000;

std::atomic<void (*)(const SignalFrame&)> g_receiver{nullptr};
KernelAction g_previous{};
char g_cookie;

#if defined(__x86_64__)
extern "C" void GcmSignalReturn();
asm(R"(
  .pushsection .text
  .globl GcmSignalReturn
  .hidden GcmSignalReturn
  .type GcmSignalReturn, @function
  nop
GcmSignalReturn:
  movq $15, %rax
  syscall
  .size GcmSignalReturn, .-GcmSignalReturn
  .popsection
)");

SignalFrame Interrupted(ucontext_t* context) {
  SignalFrame frame{};
  frame.sp = static_cast<uintptr_t>(context->uc_mcontext.gregs[REG_RSP]);
  // The extended state lies above the context on the same frame, its size in its own header.
  uintptr_t lo = AddressOf(context), hi = lo + sizeof(ucontext_t);
  if (context->uc_mcontext.fpregs != nullptr) {
    uintptr_t fp = AddressOf(context->uc_mcontext.fpregs);
    uint32_t magic, size = 512;
    memcpy(&magic, PointerTo(fp + 464), 4);
    if (magic == 0x46505853) memcpy(&size, PointerTo(fp + 468), 4);
    hi = Max(hi, fp + size);
  }
  frame.saved = {RoundDown(lo, 8), RoundDown(hi, 8)};
  return frame;
}
#else
SignalFrame Interrupted(ucontext_t* context) {
  SignalFrame frame{};
  frame.sp = context->uc_mcontext.sp;
  uintptr_t lo = AddressOf(context);
  frame.saved = {lo, lo + sizeof(ucontext_t)};
  return frame;
}
#endif

bool IsOurs(const siginfo_t* info) {
  return info->si_code == SI_QUEUE && info->si_value.sival_ptr == &g_cookie;
}

void Handler(int signal, siginfo_t* info, void* context) {
  if (IsOurs(info)) {
    int saved_errno = errno;
    // pairs with: the release in Install
    auto* receiver = g_receiver.load(std::memory_order_acquire);
    if (receiver != nullptr) receiver(Interrupted(static_cast<ucontext_t*>(context)));
    errno = saved_errno;
  } else if (AddressOf(reinterpret_cast<void*>(g_previous.handler)) > 1) {
    g_previous.handler(signal, info, context);
  }
}

long Action(const KernelAction* set, KernelAction* old) {
  return Syscall(SYS_rt_sigaction, kSignal, set, old, sizeof(uint64_t));
}

}  // namespace

bool IsInstalled() {
  KernelAction now{};
  return Action(nullptr, &now) == 0 && now.handler == Handler;
}

bool Install(void (*fn)(const SignalFrame&)) {
  g_receiver.store(fn, std::memory_order_release);  // pairs with: the acquire in Handler
  KernelAction action{};
  action.handler = Handler;
  action.flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
#if defined(__x86_64__)
  action.flags |= kRestorerFlag;
  action.restorer = GcmSignalReturn;
#endif
  action.mask = ~uint64_t{0};
  KernelAction old{};
  if (Action(&action, &old) != 0) return false;
  if (old.handler != Handler) g_previous = old;
  return true;
}

bool Send(int tid) {
  siginfo_t info{};
  info.si_signo = kSignal;
  info.si_code = SI_QUEUE;
  info.si_pid = process::Pid();
  info.si_uid = static_cast<uid_t>(Syscall(SYS_getuid));
  info.si_value.sival_ptr = &g_cookie;
  long result;
  do {
    result = Syscall(SYS_rt_tgsigqueueinfo, process::Pid(), tid, kSignal, &info);
    if (result == -EAGAIN) Syscall(SYS_sched_yield);  // the queue is full: RLIMIT_SIGPENDING
  } while (result == -EAGAIN);
  return result == 0;
}

}  // namespace gcm::stop_signal
