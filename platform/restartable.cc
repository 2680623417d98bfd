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

  .globl GcmNumberedSyscall, GcmNumberedEnd
  .hidden GcmNumberedSyscall, GcmNumberedEnd
  .type GcmNumberedSyscall, @function
GcmNumberedSyscall:
  .cfi_startproc
  pushq %rbx
  .cfi_adjust_cfa_offset 8
  .cfi_offset %rbx, -16
  movq %rdi, %rbx
  movq %rdi, %rax
  movq 0(%rsi), %rdi
  movq 16(%rsi), %rdx
  movq 24(%rsi), %r10
  movq 32(%rsi), %r8
  movq 40(%rsi), %r9
  movq 8(%rsi), %rsi
  syscall
GcmNumberedEnd:
  popq %rbx
  .cfi_adjust_cfa_offset -8
  .cfi_restore %rbx
  ret
  .cfi_endproc
  .size GcmNumberedSyscall, .-GcmNumberedSyscall

  .globl GcmRestartSyscall, GcmRestartAgain, GcmRestartEnd
  .hidden GcmRestartSyscall, GcmRestartAgain, GcmRestartEnd
  .type GcmRestartSyscall, @function
GcmRestartSyscall:
  .cfi_startproc
  pushq %rbx
  .cfi_adjust_cfa_offset 8
  .cfi_offset %rbx, -16
  movq %rdi, %rbx
GcmRestartAgain:
  movl $14, %eax
  movl $2, %edi
  movq %rbx, %rsi
  xorl %edx, %edx
  movl $8, %r10d
  syscall
  movl $219, %eax
  syscall
GcmRestartEnd:
  popq %rbx
  .cfi_adjust_cfa_offset -8
  .cfi_restore %rbx
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
  jmp GcmRestartAgain
  .size GcmRestartFrom, .-GcmRestartFrom
  .popsection
)");
#endif
