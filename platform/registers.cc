#include "platform/registers.h"

#if defined(__x86_64__)
asm(R"(
  .pushsection .text
  .globl GcmWithSpilledRegisters
  .hidden GcmWithSpilledRegisters
  .type GcmWithSpilledRegisters, @function
GcmWithSpilledRegisters:
  .cfi_startproc
  pushq %rbp
  .cfi_def_cfa_offset 16
  .cfi_offset %rbp, -16
  movq %rsp, %rbp
  .cfi_def_cfa_register %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  subq $8, %rsp
  movq %rdi, %rax
  movq %rsi, %rdi
  movq %rsp, %rsi
  testq %rdx, %rdx
  jz 1f
  movq %rdx, %rsp
1:
  call *%rax
  leaq -40(%rbp), %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  .cfi_def_cfa %rsp, 8
  ret
  .cfi_endproc
  .size GcmWithSpilledRegisters, .-GcmWithSpilledRegisters
  .popsection
)");
#elif defined(__aarch64__)
asm(R"(
  .pushsection .text
  .globl GcmWithSpilledRegisters
  .hidden GcmWithSpilledRegisters
  .type GcmWithSpilledRegisters, @function
GcmWithSpilledRegisters:
  stp x29, x30, [sp, #-96]!
  mov x29, sp
  stp x19, x20, [sp, #16]
  stp x21, x22, [sp, #32]
  stp x23, x24, [sp, #48]
  stp x25, x26, [sp, #64]
  stp x27, x28, [sp, #80]
  mov x9, x0
  mov x0, x1
  mov x1, sp
  cbz x2, 1f
  mov sp, x2
1:
  blr x9
  mov sp, x29
  ldp x19, x20, [sp, #16]
  ldp x21, x22, [sp, #32]
  ldp x23, x24, [sp, #48]
  ldp x25, x26, [sp, #64]
  ldp x27, x28, [sp, #80]
  ldp x29, x30, [sp], #96
  ret
  .size GcmWithSpilledRegisters, .-GcmWithSpilledRegisters
  .popsection
)");
#endif
