#include "platform/signal.h"

#include <signal.h>
#include <ucontext.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "platform/clock.h"
#include "platform/file.h"
#include "platform/kernel_action.h"
#include "platform/message.h"
#include "platform/process.h"
#include "platform/registers.h"
#include "platform/syscall.h"

namespace gcm {

#if defined(__x86_64__)
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
#endif

namespace stop_signal {
namespace {

#if GCM_TSAN
// ThreadSanitizer's runtime must not be interrupted by handlers it does not know of: it puts them
// off until it is safe to run them, for signals that are installed through it.
constexpr int kSignal = 60;
#else
constexpr int kSignal = 33;  // glibc's SIGSETXID; not a number that a program can use
#endif

constexpr uint64_t kQueuePatience = clock::kSecond / 20;

std::atomic<void (*)(const SignalFrame&)> g_receiver{nullptr};
KernelAction g_previous{};
char g_cookie;

#if GCM_TSAN
// A signal that came before signals were blocked may be put off until they are.
thread_local int t_blocked = 0;
thread_local bool t_late = false;

// The context is of the moment when the signal came; by now the thread is further on.
void Receive(ucontext_t*) {
  t_late = t_blocked != 0;
  if (t_late) return;
  auto call = [](void*, uintptr_t sp) {
    // pairs with: the release in Install
    auto* receiver = g_receiver.load(std::memory_order_acquire);
    if (receiver != nullptr) receiver({sp, {}});
  };
  GcmWithSpilledRegisters(call, nullptr, 0);
}

// The runtime has a thread of its own, which blocks every signal for good; others do for moments.
bool IsRuntimesThread(int tid) {
  static std::atomic<int> known{0};
  if (tid == known.load(std::memory_order_relaxed)) return true;
  for (int i = 0; i < 100; ++i) {
    if (!IsBlockedIn(tid)) return false;
    timespec pause{0, 2'000'000};
    Syscall(SYS_nanosleep, &pause, nullptr);
  }
  known.store(tid, std::memory_order_relaxed);
  return true;
}
#else
bool IsRuntimesThread(int) { return false; }

#if defined(__x86_64__)
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

void Receive(ucontext_t* context) {
  // pairs with: the release in Install
  auto* receiver = g_receiver.load(std::memory_order_acquire);
  if (receiver != nullptr) receiver(Interrupted(context));
}
#endif

bool IsOurs(const siginfo_t* info) {
  return info->si_code == SI_QUEUE && info->si_value.sival_ptr == &g_cookie;
}

// The hint travels in fields of the signal's information that nobody else reads.
void PutHint(siginfo_t* info, interrupted_call::Hint hint) {
  info->si_errno = hint.number + 1;
  info->si_pid = static_cast<pid_t>(hint.pc & 0xffffffff);
  info->si_uid = static_cast<uid_t>(hint.pc >> 32);
}
interrupted_call::Hint HintOf(const siginfo_t* info) {
  return {info->si_errno - 1,
          uintptr_t{static_cast<uint32_t>(info->si_pid)} | uintptr_t{info->si_uid} << 32};
}

void Handler(int signal, siginfo_t* info, void* context) {
  if (IsOurs(info)) {
    int saved_errno = errno;
    const uint64_t since = clock::Now();
    auto* interrupted = static_cast<ucontext_t*>(context);
    Receive(interrupted);
    interrupted_call::Continue(interrupted, HintOf(info), since);
    errno = saved_errno;
  } else if (AddressOf(reinterpret_cast<void*>(g_previous.handler)) > 1) {
    g_previous.handler(signal, info, context);
  }
}

long Action(const KernelAction* set, KernelAction* old) {
#if GCM_TSAN
  struct sigaction action {
  }, before{};
  if (set != nullptr) {
    action.sa_sigaction = set->handler;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;  // what waits for a lock of ours is to look up
    sigfillset(&action.sa_mask);
  }
  long result = sigaction(kSignal, set != nullptr ? &action : nullptr, &before);
  if (old != nullptr) old->handler = before.sa_sigaction;
  return result;
#else
  return SetKernelAction(kSignal, set, old);
#endif
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
  AddRestorer(&action);
  action.mask = ~uint64_t{0};
  KernelAction old{};
  if (Action(&action, &old) != 0) return false;
  if (old.handler != Handler) g_previous = old;
  return true;
}

uint64_t Bit() { return SignalBit(kSignal); }

bool IsBlockedIn(int tid) {
  Message path;
  path.Text("/proc/self/task/").Decimal(static_cast<uint64_t>(tid)).Text("/status", 8);
  char status[4096];
  if (ReadSmallFile(path.data(), status, sizeof(status)) < 0) return false;
  const char* blocked = strstr(status, "SigBlk:\t");
  uint64_t mask = 0;
  return blocked != nullptr && ParseHex(&(blocked += 8), &mask) && (mask & Bit()) != 0;
}

bool OnlyHandler(uintptr_t handler) {
  constexpr uint64_t kNotAsked = SignalBit(SIGKILL) | SignalBit(SIGSTOP) | SignalBit(SIGSEGV) |
                                 SignalBit(SIGBUS) | SignalBit(SIGFPE) | SignalBit(SIGILL) |
                                 SignalBit(SIGTRAP) | SignalBit(SIGSYS) | SignalBit(32) |
                                 SignalBit(33);
  for (int signal = 1; signal <= 64; ++signal) {
    if ((kNotAsked & SignalBit(signal)) != 0) continue;
    KernelAction action{};
    if (SetKernelAction(signal, nullptr, &action) != 0) return false;
    const uintptr_t now = AddressOf(reinterpret_cast<void*>(action.handler));
    if (now > 1 && now != handler) return false;
  }
  return true;
}

Sent Send(int tid, interrupted_call::Hint hint) {
  if (IsRuntimesThread(tid)) return Sent::kGone;
  siginfo_t info{};
  info.si_signo = kSignal;
  info.si_code = SI_QUEUE;
  PutHint(&info, hint);
  info.si_value.sival_ptr = &g_cookie;
  const uint64_t deadline = clock::Now() + kQueuePatience;
  for (;;) {
    long result = Syscall(SYS_rt_tgsigqueueinfo, process::Pid(), tid, kSignal, &info);
    if (result == 0) return Sent::kYes;
    if (result == -ESRCH) return Sent::kGone;
    if (result != -EAGAIN) return Sent::kRefused;
    // RLIMIT_SIGPENDING, which all processes of the user share.
    if (clock::Now() > deadline) return Sent::kFull;
    Syscall(SYS_sched_yield);
  }
}

}  // namespace stop_signal

namespace {
std::atomic<uint64_t> g_never_blocked{0};
}  // namespace

void LeaveUnblocked(uint64_t signals) { g_never_blocked.store(signals, std::memory_order_relaxed); }

uint64_t BlockSignals() {
  uint64_t all = ~g_never_blocked.load(std::memory_order_relaxed), before = 0;
  Syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, &before, sizeof(all));
#if GCM_TSAN
  ++stop_signal::t_blocked;
#endif
  return before;
}

void RestoreSignals(uint64_t mask) {
#if GCM_TSAN
  if (--stop_signal::t_blocked == 0 && stop_signal::t_late) stop_signal::Receive(nullptr);
#endif
  Syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, nullptr, sizeof(mask));
}

}  // namespace gcm
