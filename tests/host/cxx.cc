// C++: the library's waits, destructors at cancellation, exceptions out of signal handlers.
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <poll.h>
#include <unistd.h>

#include "call.h"

namespace {

std::chrono::duration<double> Limit(const wait* w) { return std::chrono::duration<double>(w->time); }

long CallSleepFor(wait* w) {
  const auto begin = std::chrono::steady_clock::now();
  std::this_thread::sleep_for(Limit(w));
  return std::chrono::steady_clock::now() - begin >= Limit(w) ? 0 : 1;
}

std::mutex g_mutex;
std::condition_variable g_condition;
long CallWaitFor(wait* w) {
  std::unique_lock<std::mutex> lock(g_mutex);
  auto ready = [w] { return get(&w->go) != 0; };
  if (!w->limited) {
    g_condition.wait(lock, ready);
    return 0;
  }
  return g_condition.wait_for(lock, Limit(w), ready) ? 0 : 1;
}
void Notify(wait* w) {
  std::lock_guard<std::mutex> lock(g_mutex);
  put(&w->go, 1);
  g_condition.notify_one();
}

std::promise<int>* g_promise;
void MakePromise(wait*) { g_promise = new std::promise<int>; }
void KeepPromise(wait*) { g_promise->set_value(3); }
long CallFuture(wait* w) {
  const int before = errno;
  std::future<int> future = g_promise->get_future();
  const bool late = w->limited && future.wait_for(Limit(w)) == std::future_status::timeout;
  const long result = late ? 1 : (future.get)() == 3 ? 0 : 2;  // not the macro
  errno = before;  // the library's own futex calls leave theirs
  return result;
}

std::timed_mutex g_timed_mutex;
// A call that was late is tried again: what is held is held already then.
bool g_is_held;
void LockTimed(wait*) {
  if (!g_is_held) g_timed_mutex.lock();
  g_is_held = true;
}
void UnlockTimed(wait*) {
  g_is_held = false;
  g_timed_mutex.unlock();
}
long CallTryLockFor(wait* w) {
  if (w->limited) return g_timed_mutex.try_lock_for(Limit(w)) ? 0 : 1;
  g_timed_mutex.lock();
  return 0;
}

const call kCxxCalls[] = {
    {"std_sleep_for", "l", kUntold, true, true, nullptr, CallSleepFor, nullptr, 0, 0, 0},
    {"std_wait_for", "l", kDeaf, true, true, nullptr, CallWaitFor, Notify, 0, 1, 0},
    {"std_future", "l", kDeaf, true, false, MakePromise, CallFuture, KeepPromise, 0, 1, 0},
    {"std_try_lock_for", "l", kDeaf, true, false, LockTimed, CallTryLockFor, UnlockTimed, 0, 1, 0},
};
CALLS(kCxxCalls)

// Destructors run when a thread is cancelled in a call, and their frames are scanned.
int g_destroyed;
struct Witness {
  std::unique_ptr<std::vector<int>> held = std::make_unique<std::vector<int>>(100, 7);
  ~Witness() {
    must_be_scanned(3);
    for (int i : *held) {
      if (i != 7) fail("what a destructor holds was reclaimed");
    }
    add(&g_destroyed, 1);
  }
};

int g_ends[2];
// Returns what the call returned, when it comes back although it should not.
long WaitInRead() {
  char byte;
  return read(g_ends[0], &byte, 1);
}
long WaitInCondition() {
  std::unique_lock<std::mutex> lock(g_mutex);
  g_condition.wait(lock, [] { return false; });
  return 0;
}
long WaitInPoll() { return poll(nullptr, 0, -1); }

GCM_NOINLINE long Deep(int depth, long (*wait)()) {
  Witness witness;
  return depth > 0 ? Deep(depth - 1, wait) : wait();
}

struct Cancelled {
  long (*wait)();
  pid_t tid;
};
void* CancelledThread(void* data) {
  auto* cancelled = static_cast<Cancelled*>(data);
  put(&cancelled->tid, own_tid());
  const long result = Deep(4, cancelled->wait);
  fail("the call returned %ld, errno %d", result, errno);
}
void Cancel(long (*wait)()) {
  MUST(pipe(g_ends) == 0);
  start_collecting();
  for (int i = 0; i < 20; ++i) {
    Cancelled cancelled = {wait, 0};
    pthread_t thread;
    MUST(pthread_create(&thread, nullptr, CancelledThread, &cancelled) == 0);
    spin_until(&cancelled.tid, 1);
    if (i % 4 != 0) nap(0.003);  // some are cancelled before they wait
    MUST(pthread_cancel(thread) == 0);
    void* result = nullptr;
    MUST(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
  }
  if (get(&g_destroyed) != 20 * 5) fail("%d destructors ran", g_destroyed);
  stop_collecting();
}

struct Fault {
  std::vector<int> values;
};
void OnFault(int, siginfo_t* info, void*) {
  throw Fault{std::vector<int>(50, info->si_addr == reinterpret_cast<void*>(0x1000) ? 1 : 2)};
}
GCM_NOINLINE void Touch(volatile int* p) {
  Witness witness;
  *p = 1;
}

}  // namespace

TEST(cxx_cancel_in_read) { Cancel(WaitInRead); }
TEST(cxx_cancel_in_condition) { Cancel(WaitInCondition); }
TEST(cxx_cancel_in_poll) { Cancel(WaitInPoll); }

TEST(cxx_exception_out_of_fault) {
  start_collecting();
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = OnFault;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  MUST(sigaction(SIGSEGV, &action, nullptr) == 0);
  for (int i = 0; i < 200; ++i) {
    volatile bool caught = false;
    try {
      Touch(reinterpret_cast<volatile int*>(0x1000));
    } catch (const Fault& fault) {
      caught = true;
      for (int value : fault.values) MUST(value == 1);
    }
    if (!caught || get(&g_destroyed) != i + 1) fail("the exception did not arrive");
  }
  must_be_scanned(5);
  stop_collecting();
}
