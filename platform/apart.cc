#include "platform/apart.h"

#include <sched.h>

#include <cstring>

#include "platform/message.h"
#include "platform/proc.h"
#include "platform/process.h"
#include "platform/signal.h"
#include "platform/syscall.h"
#include "platform/test_skip.h"

// long GcmRunInClone(long flags, void (*fn)(void*), void* data): makes a thread that runs fn on the
// caller's stack, below its pointer, and ends. The caller waits (CLONE_VFORK) and gets its number.
#if defined(__x86_64__)
asm(R"(
  .pushsection .text
  .globl GcmRunInClone
  .hidden GcmRunInClone
  .type GcmRunInClone, @function
GcmRunInClone:
  .cfi_startproc
  pushq %rbx
  .cfi_adjust_cfa_offset 8
  movq %rsi, %rbx
  movq %rdx, %r9
  xorl %esi, %esi
  xorl %edx, %edx
  xorl %r10d, %r10d
  xorl %r8d, %r8d
  movl $56, %eax
  syscall
  testq %rax, %rax
  jz 1f
  popq %rbx
  .cfi_adjust_cfa_offset -8
  ret
1:
  .cfi_undefined %rip
  movq %r9, %rdi
  call *%rbx
  xorl %edi, %edi
  movl $60, %eax
  syscall
  hlt
  .cfi_endproc
  .size GcmRunInClone, .-GcmRunInClone
  .popsection
)");
#elif defined(__aarch64__)
asm(R"(
  .pushsection .text
  .globl GcmRunInClone
  .hidden GcmRunInClone
  .type GcmRunInClone, @function
GcmRunInClone:
  mov x9, x1
  mov x10, x2
  mov x1, #0
  mov x2, #0
  mov x3, #0
  mov x4, #0
  mov x8, #220
  svc 0
  cbz x0, 1f
  ret
1:
  mov x0, x10
  blr x9
  mov x0, #0
  mov x8, #93
  svc 0
  brk #0
  .size GcmRunInClone, .-GcmRunInClone
  .popsection
)");
#endif
extern "C" long GcmRunInClone(long flags, void (*fn)(void*), void* data);

namespace gcm::apart {
namespace {

constexpr int kGivenUp = 16;
constexpr int kPatience = 1000;

struct Job {
  void (*fn)(void*);
  void* data;
  char directory[64];
  bool has_directory;
};
// The caller's, which the thread apart shares.
constinit GCM_TLS Job* t_job = nullptr;

GCM_TLS char t_acts_for[40] = {};

void Work(void* data) {
  auto* job = static_cast<Job*>(data);
  for (int fd = 0; fd < kGivenUp; ++fd) {
    if (!proc::IsKept(fd)) Syscall(SYS_close, fd);
  }
  job->fn(job->data);
}

}  // namespace

bool Run(void (*fn)(void* data), void* data) {
  if (t_job != nullptr || Skips(Skip::apart)) return false;
  Job job{fn, data, {}, false};
  job.has_directory = proc::OwnDirectory(job.directory, sizeof(job.directory));
  SignalsBlocked blocked;
  t_job = &job;
  constexpr long kFlags =
      CLONE_VM | CLONE_FS | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_VFORK;
  const long tid = GcmRunInClone(kFlags, Work, &job);
  t_job = nullptr;
  if (tid < 0) return false;
  // It lets go of memory before its descriptors and its number: to be gone is to be not found.
  for (int i = 0; i < kPatience && process::HasThread(static_cast<int>(tid)); ++i) {
    Syscall(SYS_sched_yield);
  }
  return true;
}

bool IsHere() { return t_job != nullptr; }

void ActFor(int number) {
  Message path;
  if (number != 0) path.Text("self/task/").Decimal(static_cast<uint64_t>(number));
  path.Char('\0');
  memcpy(t_acts_for, path.data(), Min(path.size(), sizeof(t_acts_for)));
}

const char* CallersDirectory() {
  if (t_acts_for[0] != '\0') return t_acts_for;
  return t_job != nullptr && t_job->has_directory ? t_job->directory : nullptr;
}

}  // namespace gcm::apart
