// Assembly for libc calls that return twice, or whose stack must not be touched: text for asm() in
// the file that gives them their names. `name` is a string literal.
#pragma once

#if defined(__x86_64__)

// pid_t NAME(void): vfork. BEFORE() is called first; AFTER(result) in the parent alone gives what
// to return. The child runs on this stack, so nothing is kept on it: the return address is in a
// register meanwhile, which the kernel keeps (as glibc does).
#define GCM_VFORK_STUB(name, before, after)                               \
  ".pushsection .text\n.globl " name "\n.type " name ", @function\n" name \
  ":\n.cfi_startproc\n"                                                   \
  "subq $8, %rsp\n.cfi_adjust_cfa_offset 8\ncall " before                 \
  "\n"                                                                    \
  "addq $8, %rsp\n.cfi_adjust_cfa_offset -8\n"                            \
  "popq %rdi\n.cfi_adjust_cfa_offset -8\n.cfi_register %rip, %rdi\n"      \
  "movl $58, %eax\nsyscall\n"                                             \
  "pushq %rdi\n.cfi_adjust_cfa_offset 8\n.cfi_offset %rip, -8\n"          \
  "testq %rax, %rax\njz 1f\n"                                             \
  "movq %rax, %rdi\nsubq $8, %rsp\n.cfi_adjust_cfa_offset 8\n"            \
  "call " after                                                           \
  "\naddq $8, %rsp\n.cfi_adjust_cfa_offset -8\n"                          \
  "1: ret\n.cfi_endproc\n.size " name ", .-" name "\n.popsection\n"

// long NAME(long number, ...): jumps to WAITING when bit `number` of the 512 bits at CALLS is set,
// and to the function that the pointer PLAIN holds otherwise, arguments and stack as they are.
#define GCM_SYSCALL_STUB(name, calls, waiting, plain)                               \
  ".pushsection .text\n.globl " name "\n.type " name ", @function\n" name           \
  ":\n.cfi_startproc\n"                                                             \
  "cmpq $512, %rdi\njae 1f\nleaq " calls                                            \
  "(%rip), %rax\nbtq %rdi, (%rax)\njnc 1f\n"                                        \
  "jmp " waiting "\n1: jmp *" plain "(%rip)\n.cfi_endproc\n.size " name ", .-" name \
  "\n.popsection\n"

// void* NAME(const char* file, int flags): jumps to the function that the pointer PLAIN holds,
// without RTLD_DEEPBIND (8): the caller's address, which dlopen looks at, is as it was.
#define GCM_DLOPEN_STUB(name, plain)                                      \
  ".pushsection .text\n.globl " name "\n.type " name ", @function\n" name \
  ":\n.cfi_startproc\n"                                                   \
  "andl $-9, %esi\njmp *" plain "(%rip)\n.cfi_endproc\n.size " name ", .-" name "\n.popsection\n"

#elif defined(__aarch64__)

#define GCM_DLOPEN_STUB(name, plain)                                           \
  ".pushsection .text\n.globl " name "\n.type " name ", @function\n" name      \
  ":\n"                                                                        \
  "and w1, w1, #0xfffffff7\nadrp x16, " plain "\nldr x16, [x16, #:lo12:" plain \
  "]\nbr x16\n.size " name ", .-" name "\n.popsection\n"

// aarch64 has no vfork call: clone with its flags; the child runs on this stack.
#define GCM_VFORK_STUB(name, before, after)                                                \
  ".pushsection .text\n.globl " name "\n.type " name ", @function\n" name                  \
  ":\n"                                                                                    \
  "mov x8, #220\nmov x0, #0x4111\nmov x1, #0\nmov x2, #0\nmov x3, #0\nmov x4, #0\nsvc 0\n" \
  "cbz x0, 1f\nb " after "\n1: ret\n.size " name ", .-" name "\n.popsection\n"
#define GCM_SYSCALL_STUB(name, calls, waiting, plain)                                      \
  ".pushsection .text\n.globl " name "\n.type " name ", @function\n" name                  \
  ":\n"                                                                                    \
  "adrp x16, " plain "\nldr x16, [x16, #:lo12:" plain "]\nbr x16\n.size " name ", .-" name \
  "\n.popsection\n"

#endif
