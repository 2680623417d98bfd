#include "platform/own_thread.h"

#include <sched.h>

#include <cstring>

#include "platform/descriptor.h"
#include "platform/mutex.h"
#include "platform/proc.h"
#include "platform/process.h"
#include "platform/signal.h"
#include "platform/syscall.h"
#include "platform/test_skip.h"

#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE (1u << 1)
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

// long GcmCloneThread(long flags, void* stack, atomic* tid, void* tls, void (*fn)(void*), void*
// data) The new thread runs fn(data) on `stack` and ends. The kernel writes its number to `tid`,
// and clears that at its end.
#if defined(__x86_64__)
asm(R"(
  .pushsection .text
  .globl GcmCloneThread
  .hidden GcmCloneThread
  .type GcmCloneThread, @function
GcmCloneThread:
  .cfi_startproc
  andq $-16, %rsi
  subq $16, %rsi
  movq %r8, (%rsi)
  movq %r9, 8(%rsi)
  movq %rdx, %r10
  movq %rcx, %r8
  movl $56, %eax
  syscall
  testq %rax, %rax
  jz 1f
  ret
1:
  .cfi_undefined %rip
  xorl %ebp, %ebp
  popq %rax
  popq %rdi
  call *%rax
  xorl %edi, %edi
  movl $60, %eax
  syscall
  hlt
  .cfi_endproc
  .size GcmCloneThread, .-GcmCloneThread
  .popsection
)");
#elif defined(__aarch64__)
asm(R"(
  .pushsection .text
  .globl GcmCloneThread
  .hidden GcmCloneThread
  .type GcmCloneThread, @function
GcmCloneThread:
  and x1, x1, #-16
  stp x4, x5, [x1, #-16]!
  mov x4, x2
  mov x8, #220
  svc 0
  cbz x0, 1f
  ret
1:
  mov x29, #0
  ldp x1, x0, [sp], #16
  blr x1
  mov x0, #0
  mov x8, #93
  svc 0
  brk #0
  .size GcmCloneThread, .-GcmCloneThread
  .popsection
)");
#endif
extern "C" long GcmCloneThread(long flags, void* stack, std::atomic<uint32_t>* tid, uintptr_t tls,
                               void (*fn)(void*), void* data);

namespace gcm {

constinit GCM_TLS bool t_own_thread = false;

namespace {

constexpr unsigned kMost = 64;
constexpr int kPatience = 1000;
std::atomic<std::atomic<uint32_t>*> g_threads[kMost];  // written under g_lock
Mutex g_lock;
bool g_keeps_standard_error = false;

// Where the C library keeps, in a thread's control block, what compilers take from it: the address
// of the block itself, the stack protector's canary, the guard of saved pointers. The storage of
// initial-exec variables lies below on x86-64 and above on aarch64.
constexpr size_t kBelow = 64 * kKiB;
constexpr size_t kControl = 4 * kKiB;
static_assert(kBelow + 2 * kControl == OwnThread::kStorage);

uintptr_t MakeStorage(Range memory) {
  memset(PointerTo(memory.hi - OwnThread::kStorage), 0, OwnThread::kStorage);
#if defined(__x86_64__)
  const uintptr_t pointer = memory.hi - 2 * kControl;
  const uintptr_t own = AddressOf(__builtin_thread_pointer());
  auto* control = PointerTo<uintptr_t>(pointer);
  control[0] = control[2] = pointer;
  for (int i : {5, 6}) control[i] = PointerTo<uintptr_t>(own)[i];
  return pointer;
#else
  return memory.hi - OwnThread::kStorage + kControl;
#endif
}

// Whether this library's variables lie within what MakeStorage makes.
bool StorageSuffices() {
  const uintptr_t pointer = AddressOf(__builtin_thread_pointer()), ours = AddressOf(&t_own_thread);
  const uintptr_t distance = pointer > ours ? pointer - ours : ours - pointer;
  return distance < kBelow - kControl;
}

// Nothing of the program's descriptors stays, not even for a moment: a table that is copied would
// keep its files open. What is kept of /proc is copied.
bool LeaveDescriptors() {
  const int kept = proc::KeptNumber();
  if (g_keeps_standard_error) {
    if (Syscall(SYS_close_range, Max(kept, 2) + 1, ~0u, CLOSE_RANGE_UNSHARE) != 0) return false;
    Syscall(SYS_close_range, 0, 1, 0);
    if (kept > 3) Syscall(SYS_close_range, 3, kept - 1, 0);
    return true;
  }
  if (kept < 0) return Syscall(SYS_close_range, 0, ~0u, CLOSE_RANGE_UNSHARE) == 0;
  if (Syscall(SYS_close_range, kept + 1, ~0u, CLOSE_RANGE_UNSHARE) != 0) return false;
  return kept == 0 || Syscall(SYS_close_range, 0, kept - 1, 0) == 0;
}

}  // namespace

// One that has ended counts no more, joined or not.
unsigned OwnThread::Count() {
  unsigned count = 0;
  for (auto& entry : g_threads) {
    const std::atomic<uint32_t>* thread = entry.load(std::memory_order_relaxed);
    if (thread != nullptr && thread->load(std::memory_order_relaxed) != 0) ++count;
  }
  return count;
}

bool OwnThread::IsOne(int tid) {
  for (auto& entry : g_threads) {
    const std::atomic<uint32_t>* thread = entry.load(std::memory_order_relaxed);
    if (thread != nullptr && static_cast<int>(thread->load(std::memory_order_relaxed)) == tid)
      return true;
  }
  return false;
}

void OwnThread::KeepStandardError() { g_keeps_standard_error = true; }

bool OwnThread::IsHere() { return t_own_thread; }

void OwnThread::AfterForkInChild() {
  g_lock.Reset();
  for (auto& entry : g_threads) entry.store(nullptr, std::memory_order_relaxed);
}

void OwnThread::Enter(void* data) {
  auto* self = static_cast<OwnThread*>(data);
  t_own_thread = true;
  // Without a table of its own the thread would open its files among the program's.
  const bool may = self->shares_ || (LeaveDescriptors() && !Skips(Skip::own_descriptors));
  self->state_.store(may ? kRuns : kRefused, std::memory_order_release);  // pairs with: Start
  FutexWake(&self->state_, 1);
  if (may) self->fn_(self->data_);
}

bool OwnThread::Start(void (*fn)(void*), void* data, Range memory, bool shares) {
  if (!StorageSuffices()) return false;
  fn_ = fn;
  data_ = data;
  shares_ = shares;
  const uintptr_t pointer = MakeStorage(memory);
  state_.store(kStarts, std::memory_order_relaxed);
  if (!Clone(memory, pointer)) return false;
  // pairs with: Enter
  while (state_.load(std::memory_order_acquire) == kStarts) FutexWait(&state_, kStarts);
  if (state_.load(std::memory_order_relaxed) == kRuns) return true;
  Join();
  return false;
}

bool OwnThread::Clone(Range memory, uintptr_t pointer) {
  SignalsBlocked blocked;  // the new thread inherits the mask
  LockGuard guard(g_lock);
  unsigned place = 0;
  while (place < kMost && g_threads[place].load(std::memory_order_relaxed) != nullptr) ++place;
  if (place == kMost) return false;
  constexpr long kFlags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                          CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
  const long tid =
      GcmCloneThread(kFlags, PointerTo(memory.hi - kStorage), &tid_, pointer, Enter, this);
  if (tid < 0) return false;
  last_ = static_cast<int>(tid);
  g_threads[place].store(&tid_, std::memory_order_relaxed);
  return true;
}

void OwnThread::Join() {
  for (;;) {
    const uint32_t tid = tid_.load(std::memory_order_acquire);  // pairs with: the kernel's
    if (tid == 0) break;
    // The kernel wakes by the shared kind of futex.
    Syscall(SYS_futex, &tid_, FUTEX_WAIT, tid, nullptr);
  }
  // The kernel lets go of the number later: to be gone is to be not found.
  for (int i = 0; i < kPatience && last_ != 0 && process::HasThread(last_); ++i) {
    Syscall(SYS_sched_yield);
  }
  last_ = 0;
  LockGuard guard(g_lock);
  for (auto& entry : g_threads) {
    if (entry.load(std::memory_order_relaxed) == &tid_)
      entry.store(nullptr, std::memory_order_relaxed);
  }
}

}  // namespace gcm
