#include "platform/interrupted_call.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "platform/clock.h"
#include "platform/continuation.h"
#include "platform/file.h"
#include "platform/message.h"
#include "platform/restartable.h"
#include "platform/signal.h"
#include "platform/syscall.h"
#include "platform/test_skip.h"

namespace gcm::interrupted_call {

Hint Read(int tid) {
  Message path;
  path.Text("/proc/self/task/").Decimal(static_cast<uint64_t>(tid)).Text("/syscall", 9);
  char text[256];
  Hint hint;
  if (ReadSmallFile(path.data(), text, sizeof(text)) <= 0) return hint;
  const char* p = text;
  uint64_t number, pc = 0;
  if (!ParseDecimal(&p, &number)) return hint;  // "running", or "-1" outside of a call
  p = strrchr(text, ' ');
  if (p == nullptr || *(p += 3) == '\0' || !ParseHex(&p, &pc)) return hint;
  return {static_cast<int>(number), pc};
}

#if defined(__x86_64__) && !GCM_TSAN
namespace {

std::atomic<void (*)(void (*)(void*), void*)> g_around{nullptr};

// Of the calling thread: handlers of the program that ran; stops that came; where a call is about
// to be entered anew.
GCM_TLS uint32_t t_handlers = 0;
GCM_TLS uint32_t t_stops = 0;
GCM_TLS uintptr_t t_again_pc = 0;
GCM_TLS uintptr_t t_again_sp = 0;
// Where the program's last handler that interrupted a call returns to.
GCM_TLS uintptr_t t_eintr_pc = 0;
GCM_TLS uintptr_t t_eintr_sp = 0;

constexpr size_t kSyscallSize = 2;

bool BehindSyscall(uintptr_t pc) {
  const auto* code = PointerTo<const unsigned char>(pc - kSyscallSize);
  return pc > 4096 && code[0] == 0x0f && code[1] == 0x05;
}

// The number of the call behind which the context stands, -1 if it cannot be told, or if it is the
// program's own handler that has interrupted it.
long NumberBefore(uintptr_t pc, uintptr_t sp, Hint hint) {
  if (hint.number >= 0 && hint.pc == pc) return hint.number;
  if (pc == t_eintr_pc && sp == t_eintr_sp) return -1;
  // mov $number, %eax; syscall
  if (pc % 4096 < 7) return -1;
  const auto* code = PointerTo<const unsigned char>(pc - 7);
  if (code[0] != 0xb8 || code[5] != 0x0f || code[6] != 0x05) return -1;
  uint32_t number;
  memcpy(&number, code + 1, sizeof(number));
  return number < 1024 ? static_cast<long>(number) : -1;
}

uint64_t MaskOf(const ucontext_t* context) {
  uint64_t mask;
  memcpy(&mask, &context->uc_sigmask, sizeof(mask));
  return mask;
}

void SetMask(uint64_t mask) {
  Syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, nullptr, sizeof(mask));
}

bool ProgramSignalPending(const ucontext_t* context) {
  uint64_t pending = 0;
  Syscall(SYS_rt_sigpending, &pending, sizeof(pending));
  return (pending & ~MaskOf(context) & ~stop_signal::Bit()) != 0;
}

// A call inside of the handler, interruptible by the program's handlers.
struct Wait {
  const Call* call;
  const ucontext_t* context;
  uint32_t handlers;
  long result;
};

void CallInHandler(void* data) {
  auto* wait = static_cast<Wait*>(data);
  SetMask(MaskOf(wait->context));
  wait->result = wait->call->number == SYS_restart_syscall
                     ? GcmRestartSyscall()
                     : GcmCountedSyscall(wait->call->number, wait->call->arguments, &t_handlers,
                                         wait->handlers);
  SetMask(~uint64_t{0});
}

// False: it was interrupted by another stop, and is to be called with the time that is left.
bool InHandler(Wait* wait) {
  const uint32_t stops = LoadRelaxed(&t_stops);
  auto* around = g_around.load(std::memory_order_relaxed);
  if (around != nullptr) {
    around(CallInHandler, wait);
  } else {
    CallInHandler(wait);
  }
  return wait->result != -EINTR || LoadRelaxed(&t_handlers) != wait->handlers ||
         LoadRelaxed(&t_stops) == stops;
}

struct Deadline {
  uint64_t at;
  explicit Deadline(uint64_t nanoseconds) {
    uint64_t now = clock::Now();
    at = nanoseconds > UINT64_MAX - now ? UINT64_MAX : now + nanoseconds;
  }
  uint64_t Left() const { return at - Min(at, clock::Now()); }
  int Milliseconds() const {
    return static_cast<int>(Min<uint64_t>((Left() + 999'999) / 1'000'000, INT32_MAX));
  }
};

uint64_t Nanoseconds(uint64_t seconds, uint64_t rest) {
  return seconds > UINT64_MAX / (2 * clock::kSecond) ? UINT64_MAX : seconds * clock::kSecond + rest;
}

long WaitWithTimeout(Call call, How how, const ucontext_t* context) {
  uint64_t time;
  RingArgument ring{};
  if (how == How::kMilliseconds) {
    time = static_cast<uint64_t>(call.arguments[3]) * 1'000'000;
  } else {
    auto at = static_cast<uintptr_t>(call.arguments[call.timeout]);
    if (how == How::kEnterRing) {
      ring = *PointerTo<RingArgument>(static_cast<uintptr_t>(call.arguments[4]));
      at = ring.timeout;
    }
    auto* left = PointerTo<const timespec>(at);
    time = Nanoseconds(static_cast<uint64_t>(left->tv_sec), static_cast<uint64_t>(left->tv_nsec));
  }
  const Deadline deadline(time);
  timespec left;
  Wait wait{&call, context, LoadRelaxed(&t_handlers), 0};
  do {
    uint64_t nanoseconds = deadline.Left();
    left = {static_cast<time_t>(nanoseconds / clock::kSecond),
            static_cast<long>(nanoseconds % clock::kSecond)};
    if (how == How::kMilliseconds) {
      call.arguments[3] = deadline.Milliseconds();
    } else if (how == How::kEnterRing) {
      ring.timeout = AddressOf(&left);
      call.arguments[4] = SyscallArg(&ring);
    } else {
      call.arguments[call.timeout] = SyscallArg(&left);
    }
  } while (!InHandler(&wait));
  return wait.result;
}

// Waits until the socket is ready, which is when the call is to be entered anew (true), or for the
// rest of its timeout: then *result is the call's.
bool WaitForSocket(const Call& call, const ucontext_t* context, long* result) {
  const bool reads = call.number == SYS_read || call.number == SYS_readv ||
                     call.number == SYS_recvfrom || call.number == SYS_recvmsg ||
                     call.number == SYS_recvmmsg || call.number == SYS_accept ||
                     call.number == SYS_accept4;
  timeval time{};
  socklen_t size = sizeof(time);
  if (Syscall(SYS_getsockopt, call.arguments[0], SOL_SOCKET, reads ? SO_RCVTIMEO : SO_SNDTIMEO,
              &time, &size) != 0 ||
      (time.tv_sec == 0 && time.tv_usec == 0)) {
    return true;
  }
  const Deadline deadline(
      Nanoseconds(static_cast<uint64_t>(time.tv_sec), static_cast<uint64_t>(time.tv_usec) * 1000));
  pollfd descriptor{static_cast<int>(call.arguments[0]),
                    static_cast<short>(reads ? POLLIN : POLLOUT), 0};
  Call poll{SYS_poll, {SyscallArg(&descriptor), 1, 0, 0, 0, 0}, 0};
  Wait wait{&poll, context, LoadRelaxed(&t_handlers), 0};
  do {
    poll.arguments[2] = deadline.Milliseconds();
  } while (!InHandler(&wait));
  *result = wait.result;
  if (wait.result == 0) *result = call.number == SYS_connect ? -EINPROGRESS : -EAGAIN;
  return wait.result > 0;
}

// A transfer that the signal has cut short goes on, `done` bytes (or submissions) are through.
long Transfer(Call call, long done, const ucontext_t* context) {
  const bool ring = call.number == 426 && (call.arguments[3] & kRingGetEvents) != 0;
  const bool all = call.number == SYS_write || call.number == SYS_sendto ||
                   (call.number == SYS_recvfrom && (call.arguments[3] & MSG_WAITALL) != 0);
  if (!ring && !all) return done;
  Wait wait{&call, context, LoadRelaxed(&t_handlers), 0};
  if (ring) {
    call.arguments[1] = 0;
    while (!InHandler(&wait)) continue;
    return done;
  }
  if ((Syscall(SYS_fcntl, call.arguments[0], F_GETFL) & O_NONBLOCK) != 0) return done;
  while (done < call.arguments[2]) {
    Call rest = call;
    rest.arguments[1] += done;
    rest.arguments[2] -= done;
    wait.call = &rest;
    if (!InHandler(&wait)) continue;
    if (wait.result <= 0) break;
    done += wait.result;
  }
  return done;
}

Call CallOf(const greg_t* g, long number) {
  return {number, {g[REG_RDI], g[REG_RSI], g[REG_RDX], g[REG_R10], g[REG_R8], g[REG_R9]}, 0};
}

// The call that is interrupted is one that goes on in a handler of ours. True: so it was.
bool ContinueOurs(const ucontext_t* context) {
  const greg_t* g = context->uc_mcontext.gregs;
  const auto pc = static_cast<uintptr_t>(g[REG_RIP]);
  if (pc == AddressOf(GcmCountedEnd)) return true;  // InHandler goes on
  if (pc != AddressOf(GcmRestartEnd)) return false;
  uintptr_t registers[] = {static_cast<uintptr_t>(g[REG_RSP]), static_cast<uintptr_t>(g[REG_RBX]),
                           static_cast<uintptr_t>(g[REG_RBP]), static_cast<uintptr_t>(g[REG_R12]),
                           static_cast<uintptr_t>(g[REG_R13]), static_cast<uintptr_t>(g[REG_R14]),
                           static_cast<uintptr_t>(g[REG_R15])};
  // rt_sigreturn would make the kernel forget the rest.
  SetMask(MaskOf(context));
  GcmRestartFrom(registers);
}

}  // namespace

void Continue(ucontext_t* context, Hint hint) {
  greg_t* g = context->uc_mcontext.gregs;
  StoreRelaxed(&t_stops, LoadRelaxed(&t_stops) + 1);
  if (Skips(Skip::restart)) return;
  const auto pc = static_cast<uintptr_t>(g[REG_RIP]);
  const long result = g[REG_RAX];
  if (result != -EINTR && (result <= 0 || hint.number < 0)) return;
  if (!BehindSyscall(pc)) return;
  if (result > 0) {
    if (hint.pc != pc) return;
    g[REG_RAX] = Transfer(CallOf(g, hint.number), result, context);
    return;
  }
  if (ContinueOurs(context)) return;
  const auto sp = static_cast<uintptr_t>(g[REG_RSP]);
  Call call = CallOf(g, NumberBefore(pc, sp, hint));
  How how = Classify(&call);
  switch (how) {
    case How::kNot:
      return;
    case How::kAgain:
      break;
    case How::kRemembered: {
      call.number = SYS_restart_syscall;
      Wait wait{&call, context, LoadRelaxed(&t_handlers), 0};
      InHandler(&wait);
      g[REG_RAX] = wait.result;
      return;
    }
    case How::kSocket: {
      long answer = 0;
      if (WaitForSocket(call, context, &answer)) break;
      g[REG_RAX] = answer;
      return;
    }
    case How::kMilliseconds:
    case How::kTimespec:
    case How::kEnterRing:
      g[REG_RAX] = WaitWithTimeout(call, how, context);
      return;
  }
  if (ProgramSignalPending(context)) return;
  g[REG_RAX] = call.number;
  g[REG_RIP] -= kSyscallSize;
  t_again_pc = static_cast<uintptr_t>(g[REG_RIP]);
  t_again_sp = sp;
}

void BeforeHandler(ucontext_t* context) {
  StoreRelaxed(&t_handlers, LoadRelaxed(&t_handlers) + 1);
  greg_t* g = context->uc_mcontext.gregs;
  const auto pc = static_cast<uintptr_t>(g[REG_RIP]), sp = static_cast<uintptr_t>(g[REG_RSP]);
  if (pc == t_again_pc && sp == t_again_sp) {
    t_again_pc = 0;
    g[REG_RAX] = -EINTR;
    g[REG_RIP] += kSyscallSize;
  }
  if (g[REG_RAX] == -EINTR) {
    t_eintr_pc = static_cast<uintptr_t>(g[REG_RIP]);
    t_eintr_sp = sp;
  } else if (pc >= AddressOf(GcmCountedBegin) && pc < AddressOf(GcmCountedEnd)) {
    g[REG_RIP] = SyscallArg(GcmCountedAborted);
  }
}

void SetAround(void (*run)(void (*fn)(void* data), void* data)) {
  g_around.store(run, std::memory_order_relaxed);
}

#else

void Continue(ucontext_t*, Hint) {}
void BeforeHandler(ucontext_t*) {}
void SetAround(void (*)(void (*)(void*), void*)) {}

#endif

}  // namespace gcm::interrupted_call
