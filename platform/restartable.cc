#include "platform/restartable.h"

#if defined(__x86_64__)
asm(R"(
  .pushsection .text
  .globl GcmCountedSyscall, GcmCountedBegin, GcmCountedEnd, GcmCountedAborted
  .hidden GcmCountedSyscall, GcmCountedBegin, GcmCountedEnd, GcmCountedAborted
  .type GcmCountedSyscall, @function
GcmCountedSyscall:
  .cfi_startproc
GcmCountedBegin:
  cmpl %ecx, (%rdx)
  jne GcmCountedAborted
  movq %rdi, %rax
  movq 0(%rsi), %rdi
  movq 16(%rsi), %rdx
  movq 24(%rsi), %r10
  movq 32(%rsi), %r8
  movq 40(%rsi), %r9
  movq 8(%rsi), %rsi
  syscall
GcmCountedEnd:
  ret
GcmCountedAborted:
  movq $-4, %rax
  ret
  .cfi_endproc
  .size GcmCountedSyscall, .-GcmCountedSyscall

  .globl GcmRestartSyscall, GcmRestartEnd
  .hidden GcmRestartSyscall, GcmRestartEnd
  .type GcmRestartSyscall, @function
GcmRestartSyscall:
  .cfi_startproc
  movl $219, %eax
  syscall
GcmRestartEnd:
  ret
  .cfi_endproc
  .size GcmRestartSyscall, .-GcmRestartSyscall

  .globl GcmRestartFrom
  .hidden GcmRestartFrom
  .type GcmRestartFrom, @function
GcmRestartFrom:
  movq 0(%rdi), %rsp
  movq 8(%rdi), %rbx
  movq 16(%rdi), %rbp
  movq 24(%rdi), %r12
  movq 32(%rdi), %r13
  movq 40(%rdi), %r14
  movq 48(%rdi), %r15
  jmp GcmRestartSyscall
  .size GcmRestartFrom, .-GcmRestartFrom
  .popsection
)");
#endif
