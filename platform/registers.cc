#include "platform/registers.h"

#include <atomic>

namespace gcm {
namespace {

std::atomic<void (*)()> g_on_unwind{nullptr};

}  // namespace

// Atomic, but no order is needed: it is set while one thread runs.
void OnUnwind(void (*fn)()) { g_on_unwind.store(fn, std::memory_order_relaxed); }

// The personality routine of GcmCallUnwindable: no handler, one clean-up (Itanium C++ ABI, 1.6).
extern "C" __attribute__((visibility("hidden"), used)) int GcmUnwindPersonality(int, int actions,
                                                                                uint64_t, void*,
                                                                                void*) {
  constexpr int kCleanupPhase = 2, kContinueUnwind = 8;
  void (*fn)() = g_on_unwind.load(std::memory_order_relaxed);
  if ((actions & kCleanupPhase) != 0 && fn != nullptr) fn();
  return kContinueUnwind;
}

}  // namespace gcm

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

  .globl GcmCallUnwindable
  .hidden GcmCallUnwindable
  .type GcmCallUnwindable, @function
GcmCallUnwindable:
  .cfi_startproc
  .cfi_personality 0x1b, GcmUnwindPersonality
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
  .cfi_offset %rbx, -24
  .cfi_offset %r12, -32
  .cfi_offset %r13, -40
  .cfi_offset %r14, -48
  .cfi_offset %r15, -56
  subq $8, %rsp
  movq %rdi, %rax
  movq %rsi, %rdi
  movq %rsp, %rsi
  call *%rax
  addq $8, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  .cfi_def_cfa %rsp, 8
  ret
  .cfi_endproc
  .size GcmCallUnwindable, .-GcmCallUnwindable
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

  .globl GcmCallUnwindable
  .hidden GcmCallUnwindable
  .type GcmCallUnwindable, @function
GcmCallUnwindable:
  .cfi_startproc
  .cfi_personality 0x1b, GcmUnwindPersonality
  stp x29, x30, [sp, #-96]!
  .cfi_def_cfa_offset 96
  .cfi_offset 29, -96
  .cfi_offset 30, -88
  stp x19, x20, [sp, #16]
  stp x21, x22, [sp, #32]
  stp x23, x24, [sp, #48]
  stp x25, x26, [sp, #64]
  stp x27, x28, [sp, #80]
  .cfi_offset 19, -80
  .cfi_offset 20, -72
  .cfi_offset 21, -64
  .cfi_offset 22, -56
  .cfi_offset 23, -48
  .cfi_offset 24, -40
  .cfi_offset 25, -32
  .cfi_offset 26, -24
  .cfi_offset 27, -16
  .cfi_offset 28, -8
  mov x9, x0
  mov x0, x1
  mov x1, sp
  blr x9
  ldp x19, x20, [sp, #16]
  ldp x21, x22, [sp, #32]
  ldp x23, x24, [sp, #48]
  ldp x25, x26, [sp, #64]
  ldp x27, x28, [sp, #80]
  ldp x29, x30, [sp], #96
  .cfi_def_cfa_offset 0
  ret
  .cfi_endproc
  .size GcmCallUnwindable, .-GcmCallUnwindable
  .popsection
)");
#endif
