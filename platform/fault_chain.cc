#include "platform/fault_chain.h"

#include <ucontext.h>

#include <atomic>
#include <cstring>

#include "platform/kernel_action.h"
#include "platform/mutex.h"
#include "platform/process.h"
#include "platform/signal.h"

namespace gcm::fault_chain {
namespace {

// Whoever holds the lock has signals blocked, or is the handler.
Mutex g_lock;
std::atomic<bool (*)(uintptr_t)> g_ours{nullptr};
bool g_installed = false;
KernelAction g_program{};

bool IsFunction(const KernelAction& action) {
  return AddressOf(reinterpret_cast<void*>(action.handler)) > 1;
}

bool IsWrite([[maybe_unused]] const ucontext_t* context) {
#if defined(__x86_64__)
  return (context->uc_mcontext.gregs[REG_ERR] & 2) != 0;
#else
  return true;
#endif
}

// What the program's disposition says, taken as the kernel takes it.
KernelAction TakeProgramAction() {
  LockGuard guard(g_lock);
  KernelAction action = g_program;
  if (IsFunction(action) && (action.flags & SA_RESETHAND) != 0) g_program.handler = nullptr;
  return action;
}

void Handler(int signal, siginfo_t* info, void* data) {
  auto* context = static_cast<ucontext_t*>(data);
  if (info->si_code == SEGV_ACCERR && IsWrite(context)) {
    // pairs with: the release in Install
    auto* ours = g_ours.load(std::memory_order_acquire);
    if (ours != nullptr && ours(AddressOf(info->si_addr))) return;
  }
  const KernelAction action = TakeProgramAction();
  if (!IsFunction(action)) {
    // Of faults the kernel ignores none.
    const bool sent = info->si_code <= 0;
    if (sent && AddressOf(reinterpret_cast<void*>(action.handler)) == 1) return;
    KernelAction none{};
    SetKernelAction(signal, &none, nullptr);
    // Ends the process when this handler returns; a fault does so by happening again.
    if (sent) {
      Syscall(SYS_rt_tgsigqueueinfo, process::Pid(), process::ThreadId(), signal, info);
    }
    return;
  }
  uint64_t mask;
  memcpy(&mask, &context->uc_sigmask, sizeof(mask));
  mask |= action.mask;
  if ((action.flags & SA_NODEFER) == 0) mask |= SignalBit(signal);
  Syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, nullptr, sizeof(mask));
  action.handler(signal, info, data);  // nothing of ours stays on the stack
}

// With the program's flags as far as they matter before its handler is entered.
KernelAction OurAction() {
  KernelAction action{};
  action.handler = Handler;
  action.flags = SA_SIGINFO;
  action.flags |= IsFunction(g_program) ? g_program.flags & (SA_ONSTACK | SA_RESTART) : SA_ONSTACK;
  action.mask = ~uint64_t{0};
  AddRestorer(&action);
  return action;
}

void ToLibc(const KernelAction& from, struct sigaction* to) {
  memset(to, 0, sizeof(*to));
  to->sa_sigaction = from.handler;
  to->sa_flags = static_cast<int>(from.flags);
  to->sa_restorer = from.restorer;
  memcpy(&to->sa_mask, &from.mask, sizeof(from.mask));
}

KernelAction FromLibc(const struct sigaction& from) {
  KernelAction action{};
  action.handler = from.sa_sigaction;
  action.flags = static_cast<unsigned>(from.sa_flags);
  memcpy(&action.mask, &from.sa_mask, sizeof(action.mask));
  // As the kernel stores them.
  action.mask &= ~(SignalBit(SIGKILL) | SignalBit(SIGSTOP));
  AddRestorer(&action);
  return action;
}

}  // namespace

bool Install(bool (*ours)(uintptr_t address)) {
  g_ours.store(ours, std::memory_order_release);  // pairs with: the acquire in Handler
  LeaveUnblocked(SignalBit(SIGSEGV));
  SignalsBlocked blocked;
  LockGuard guard(g_lock);
  KernelAction before{};
  if (SetKernelAction(SIGSEGV, nullptr, &before) != 0) return false;
  if (before.handler != Handler) g_program = before;
  const KernelAction action = OurAction();
  g_installed = SetKernelAction(SIGSEGV, &action, nullptr) == 0;
  return g_installed;
}

void Remove() {
  {
    SignalsBlocked blocked;
    LockGuard guard(g_lock);
    if (g_installed) {
      KernelAction now{};
      SetKernelAction(SIGSEGV, nullptr, &now);
      if (now.handler == Handler) SetKernelAction(SIGSEGV, &g_program, nullptr);
    }
    g_installed = false;
  }
  // A fault that is on its way still finds its owner: g_ours stays.
  LeaveUnblocked(0);
}

bool IsInstalled() {
  KernelAction now{};
  return SetKernelAction(SIGSEGV, nullptr, &now) == 0 && now.handler == Handler;
}

void AfterForkInChild() { g_lock.Reset(); }

int SetProgramAction(const struct sigaction* set, struct sigaction* old, SetFunction next) {
  LockGuard guard(g_lock);
  if (!g_installed) return next(SIGSEGV, set, old);
  const KernelAction before = g_program;
  // Who has read the kernel's own answer may give it back.
  if (set != nullptr && set->sa_sigaction != Handler) {
    g_program = FromLibc(*set);
    const KernelAction action = OurAction();
    SetKernelAction(SIGSEGV, &action, nullptr);
  }
  if (old != nullptr) ToLibc(before, old);
  return 0;
}

void ShowProgramAction(struct sigaction* action) {
  if (action->sa_sigaction == Handler) ToLibc(g_program, action);
}

}  // namespace gcm::fault_chain
