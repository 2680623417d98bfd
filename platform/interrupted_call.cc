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
#include "platform/memory_map.h"
#include "platform/message.h"
#include "platform/process.h"
#include "platform/restartable.h"
#include "platform/signal.h"
#include "platform/syscall.h"
#include "platform/syscall_number.h"
#include "platform/test_skip.h"

namespace gcm::interrupted_call {

namespace {

// Some call was interrupted whose number could not be told without a hint.
std::atomic<bool> g_wanted{false};
constexpr unsigned kLooks = 3;

}  // namespace

Hint Read(int tid) {
  if (!g_wanted.load(std::memory_order_relaxed)) return {};
  Message path;
  path.Text("/proc/self/task/")
      .Decimal(static_cast<uint64_t>(process::NumberInProc(tid)))
      .Text("/syscall", 9);
  char text[256];
  Hint hint;
  const char* p;
  uint64_t number, pc = 0;
  // Who enters a call, or leaves one, is shown as running: it gets a chance to be through.
  for (unsigned tries = kLooks;; Syscall(SYS_sched_yield)) {
    if (ReadSmallFile(path.data(), text, sizeof(text)) <= 0) return hint;
    p = text;
    if (ParseDecimal(&p, &number)) break;
    if (--tries == 0 || text[0] != 'r') return hint;  // "running", or "-1" outside of a call
  }
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
struct Place {
  uintptr_t pc, sp;
  bool operator==(const Place&) const = default;
};
GCM_TLS Place t_again{};
GCM_TLS bool t_again_always = false;  // by whatever handler
// Where the program's last handler that interrupted a call returns to, and when it began: a stop
// that comes just as it returns finds the same place.
GCM_TLS Place t_eintr{};
GCM_TLS uint64_t t_eintr_at = 0;
constexpr uint64_t kReturning = clock::kSecond / 5000;
// The last call that was continued: a loop comes back to it, and may not be seen waiting then.
GCM_TLS Place t_last{};
GCM_TLS Call t_last_call{};
GCM_TLS uint64_t t_last_deadline = 0;

constexpr size_t kSyscallSize = 2;

bool IsSyscallAt(uintptr_t pc) {
  const auto* code = PointerTo<const unsigned char>(pc);
  return pc > 4096 && code[0] == 0x0f && code[1] == 0x05;
}

Place PlaceOf(const greg_t* g) {
  return {static_cast<uintptr_t>(g[REG_RIP]), static_cast<uintptr_t>(g[REG_RSP])};
}

Call CallOf(const greg_t* g, long number) {
  return {number, {g[REG_RDI], g[REG_RSI], g[REG_RDX], g[REG_R10], g[REG_R8], g[REG_R9]}, 0};
}

// The number of the call behind which the context stands, -1 if it cannot be told, or if it is the
// program's own handler that has interrupted it.
long NumberBefore(const greg_t* g, Hint hint) {
  const Place place = PlaceOf(g);
  if (hint.number >= 0 && hint.pc == place.pc) return hint.number;
  if (place == t_eintr && clock::Now() - t_eintr_at < kReturning) return -1;
  if (place.pc == AddressOf(GcmNumberedEnd)) return g[REG_RBX];
  const long number = SyscallNumberAt(place.pc - kSyscallSize);
  if (number >= 0) return number;
  if (place == t_last && CallOf(g, t_last_call.number) == t_last_call) return t_last_call.number;
  if (g[REG_RAX] == -EINTR) g_wanted.store(true, std::memory_order_relaxed);
  return -1;
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
  const uint64_t mask = MaskOf(wait->context);
  if (wait->call->number == SYS_restart_syscall) {
    wait->result = GcmRestartSyscall(&mask);
  } else {
    SetMask(mask);
    wait->result =
        GcmCountedSyscall(wait->call->number, wait->call->arguments, &t_handlers, wait->handlers);
  }
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
  Deadline(uint64_t since, uint64_t nanoseconds)
      : at(nanoseconds > UINT64_MAX - since ? UINT64_MAX : since + nanoseconds) {}
  uint64_t Left() const { return at - Min(at, clock::Now()); }
  int Milliseconds() const {
    return static_cast<int>(Min<uint64_t>((Left() + 999'999) / 1'000'000, INT32_MAX));
  }
};

uint64_t Nanoseconds(uint64_t seconds, uint64_t rest) {
  return seconds > UINT64_MAX / (2 * clock::kSecond) ? UINT64_MAX : seconds * clock::kSecond + rest;
}

// The kernel has written down what was left when the signal came: the stop took its time since.
void TakeOffStop(const Call& call, uint64_t since) {
  const auto timeout = static_cast<uintptr_t>(call.arguments[call.timeout]);
  const uint64_t unit = call.number == SYS_select ? 1000 : 1;  // timeval, or timespec
  uint64_t time[2];
  if (ReadOwnMemory(timeout, time, sizeof(time)) != sizeof(time)) return;
  const uint64_t left = Deadline(since, Nanoseconds(time[0], time[1] * unit)).Left();
  time[0] = left / clock::kSecond;
  time[1] = left % clock::kSecond / unit;
  // Where the program may not write, the kernel did not either.
  ReadOwnMemory(AddressOf(time), PointerTo(timeout), sizeof(time));
}

long WaitWithTimeout(Call call, How how, uint64_t since, const ucontext_t* context) {
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
  const Deadline deadline(since, time);
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
// rest of its timeout: then *result is the call's. `again`: it was continued before.
bool WaitForSocket(const Call& call, bool again, uint64_t since, const ucontext_t* context,
                   long* result) {
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
  Deadline deadline(since, Nanoseconds(static_cast<uint64_t>(time.tv_sec),
                                       static_cast<uint64_t>(time.tv_usec) * 1000));
  int domain = 0;
  size = sizeof(domain);
  Syscall(SYS_getsockopt, call.arguments[0], SOL_SOCKET, SO_DOMAIN, &domain, &size);
  if (call.number == SYS_connect && domain == AF_UNIX) {
    // Its readiness says nothing: it is entered anew again and again, with one deadline.
    if (again) deadline.at = Min(deadline.at, t_last_deadline);
    t_last_deadline = deadline.at;
    *result = -EAGAIN;
    return deadline.Left() != 0;
  }
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
  Wait wait{&call, context, LoadRelaxed(&t_handlers), 0};
  if (call.number == 426 && (call.arguments[3] & kRingGetEvents) != 0) {
    call.arguments[1] = 0;  // all is submitted; the completions have not come yet
    while (!InHandler(&wait)) continue;
    return done;
  }
  Call piece;
  if (!NextPiece(call, done, &piece)) return done;
  if (call.number != SYS_getrandom &&
      (Syscall(SYS_fcntl, call.arguments[0], F_GETFL) & O_NONBLOCK) != 0) {
    return done;
  }
  wait.call = &piece;
  while (NextPiece(call, done, &piece)) {
    if (!InHandler(&wait)) continue;
    if (wait.result <= 0) break;
    done += wait.result;
  }
  return done;
}

// A restart_syscall of ours is interrupted, or is about to begin. Does not return then.
void RestartAgain(const greg_t* g) {
  const auto pc = static_cast<uintptr_t>(g[REG_RIP]);
  if (pc < AddressOf(GcmRestartAgain) || pc > AddressOf(GcmRestartEnd)) return;
  if (pc == AddressOf(GcmRestartEnd) && g[REG_RAX] != -EINTR) return;
  uintptr_t registers[] = {static_cast<uintptr_t>(g[REG_RSP]), static_cast<uintptr_t>(g[REG_RBX]),
                           static_cast<uintptr_t>(g[REG_RBP]), static_cast<uintptr_t>(g[REG_R12]),
                           static_cast<uintptr_t>(g[REG_R13]), static_cast<uintptr_t>(g[REG_R14]),
                           static_cast<uintptr_t>(g[REG_R15])};
  GcmRestartFrom(registers);
}

}  // namespace

void Continue(ucontext_t* context, Hint hint, uint64_t since) {
  greg_t* g = context->uc_mcontext.gregs;
  StoreRelaxed(&t_stops, LoadRelaxed(&t_stops) + 1);
  if (Skips(Skip::restart)) return;
  RestartAgain(g);
  const Place place = PlaceOf(g);
  const long result = g[REG_RAX];
  if (result >= 0 && IsSyscallAt(place.pc)) {
    // The kernel restarts it.
    const bool seen = hint.number == result && hint.pc == place.pc + kSyscallSize;
    if (!MayBeInterrupted(CallOf(g, result), seen)) return;
    t_again = place;
    t_again_always = false;
    return;
  }
  if ((result != -EINTR && result <= 0) || !IsSyscallAt(place.pc - kSyscallSize)) return;
  if (place.pc == AddressOf(GcmCountedEnd)) return;  // InHandler goes on
  if (result > 0) {
    g[REG_RAX] = Transfer(CallOf(g, NumberBefore(g, hint)), result, context);
    return;
  }
  Call call = CallOf(g, NumberBefore(g, hint));
  const How how = Classify(&call);
  if (how == How::kNot) return;
  const bool again = place == t_last && call == t_last_call;
  t_last = place;
  t_last_call = call;
  switch (how) {
    case How::kNot:
    case How::kAgain:
      break;
    case How::kUpdated:
      TakeOffStop(call, since);
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
      if (WaitForSocket(call, again, since, context, &answer)) break;
      g[REG_RAX] = answer;
      return;
    }
    case How::kMilliseconds:
    case How::kTimespec:
    case How::kEnterRing:
      g[REG_RAX] = WaitWithTimeout(call, how, since, context);
      return;
  }
  if (ProgramSignalPending(context)) return;
  g[REG_RAX] = call.number;
  g[REG_RIP] -= kSyscallSize;
  t_again = PlaceOf(g);
  t_again_always = true;
}

void BeforeHandler(ucontext_t* context, bool restarts) {
  StoreRelaxed(&t_handlers, LoadRelaxed(&t_handlers) + 1);
  greg_t* g = context->uc_mcontext.gregs;
  const Place place = PlaceOf(g);
  if (place == t_again) {
    t_again = {};
    if (t_again_always || !restarts) {
      g[REG_RAX] = -EINTR;
      g[REG_RIP] += kSyscallSize;
    }
  }
  if (g[REG_RAX] == -EINTR) {
    t_eintr = PlaceOf(g);
    t_eintr_at = clock::Now();
  } else if (place.pc >= AddressOf(GcmCountedBegin) && place.pc < AddressOf(GcmCountedEnd)) {
    g[REG_RIP] = SyscallArg(GcmCountedAborted);
  }
}

void BeforeCall() { t_eintr = {}; }

void SetAround(void (*run)(void (*fn)(void* data), void* data)) {
  g_around.store(run, std::memory_order_relaxed);
}

#else

void Continue(ucontext_t*, Hint, uint64_t) {}
void BeforeHandler(ucontext_t*, bool) {}
void BeforeCall() {}
void SetAround(void (*)(void (*)(void*), void*)) {}

#endif

}  // namespace gcm::interrupted_call
