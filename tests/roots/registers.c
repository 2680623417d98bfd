// Registers: a thread holds the only pointer to a block in one register, while it spins, while it is blocked in
// a system call that no library function surrounds, and while it is inside a call.
//
// Law: the assembly functions get the address XOR-ed, put it together in the register under test alone, and
// return it XOR-ed again; every other register that a collector might look at is cleared.
#include "cases.h"
#include "roots.h"

#include <dlfcn.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

// hold_spin_R(hidden, key, ready, go); hold_futex_R the same, waiting in futex(go, WAIT, 0);
// hold_call_R(hidden, key, function, argument) calls function(argument).
typedef uint64_t hold_spin_function(uint64_t hidden, uint64_t key, atomic_int *ready, atomic_int *go);
typedef uint64_t hold_call_function(uint64_t hidden, uint64_t key, void (*function)(void *), void *argument);

#if defined(__x86_64__)

// After the prologue: hidden, key, third and fourth argument at 0, 8, 16, 24(%rsp), all callee-saved
// registers zero, the stack aligned for a call.
#define PROLOGUE(name)                                                                  \
  ".text\n.balign 16\n.globl " name "\n.type " name ", @function\n" name ":\n"         \
  "push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\nsub $8, %rsp\n"    \
  "push %rcx\npush %rdx\npush %rsi\npush %rdi\n"                                        \
  "xor %ebx, %ebx\nxor %ebp, %ebp\nxor %r12d, %r12d\nxor %r13d, %r13d\n"                \
  "xor %r14d, %r14d\nxor %r15d, %r15d\nmov %rdi, %rax\nxor %rsi, %rax\n"
#define EPILOGUE(name)                                                                  \
  "xor 8(%rsp), %rax\nadd $40, %rsp\n"                                                  \
  "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\nret\n"                   \
  ".size " name ", . - " name "\n"
#define SPIN "movl $1, (%rdx)\n1: pause\ncmpl $0, (%rcx)\nje 1b\n"
#define FUTEX_LOOP                                                                      \
  "mov 16(%rsp), %rdx\nmovl $1, (%rdx)\n"                                               \
  "1: mov $202, %eax\nmov 24(%rsp), %rdi\nmov $128, %esi\nxor %edx, %edx\n"             \
  "xor %r10d, %r10d\nxor %r8d, %r8d\nxor %r9d, %r9d\nsyscall\n"                         \
  "mov 24(%rsp), %rdi\ncmpl $0, (%rdi)\nje 1b\n"

#define GENERAL(reg)                                                                                     \
  __asm__(PROLOGUE("hold_spin_" #reg) "mov %rax, %" #reg "\nxor %eax, %eax\n" SPIN "mov %" #reg ", %rax\n" \
          EPILOGUE("hold_spin_" #reg));                                                                  \
  __asm__(PROLOGUE("hold_futex_" #reg) "mov %rax, %" #reg "\nxor %eax, %eax\n" FUTEX_LOOP                \
          "mov %" #reg ", %rax\n" EPILOGUE("hold_futex_" #reg));                                         \
  __asm__(PROLOGUE("hold_call_" #reg) "mov %rax, %" #reg "\nxor %eax, %eax\n"                            \
          "mov 16(%rsp), %rdx\nmov 24(%rsp), %rdi\ncall *%rdx\n"                                         \
          "mov %" #reg ", %rax\n" EPILOGUE("hold_call_" #reg));                                          \
  hold_spin_function hold_spin_##reg, hold_futex_##reg;                                                  \
  hold_call_function hold_call_##reg;
GENERAL(rbx)
GENERAL(rbp)
GENERAL(r12)
GENERAL(r13)
GENERAL(r14)
GENERAL(r15)

// Caller-saved ones only matter while a thread runs. rax needs no move, only that the spin leaves it alone.
#define SCRATCH(reg, load, store)                                                                  \
  __asm__(PROLOGUE("hold_spin_" #reg) load SPIN store EPILOGUE("hold_spin_" #reg));                \
  hold_spin_function hold_spin_##reg;
#define GENERAL_SCRATCH(reg) SCRATCH(reg, "mov %rax, %" #reg "\nxor %eax, %eax\n", "mov %" #reg ", %rax\n")
SCRATCH(rax, "", "")
GENERAL_SCRATCH(r8)
GENERAL_SCRATCH(r11)
SCRATCH(xmm0, "movq %rax, %xmm0\nxor %eax, %eax\n", "movq %xmm0, %rax\npxor %xmm0, %xmm0\n")
SCRATCH(xmm15_high, "movq %rax, %xmm15\npslldq $8, %xmm15\nxor %eax, %eax\n",
        "psrldq $8, %xmm15\nmovq %xmm15, %rax\npxor %xmm15, %xmm15\n")
SCRATCH(ymm5_high,
        "vmovq %rax, %xmm4\nvpxor %xmm5, %xmm5, %xmm5\nvinsertf128 $1, %xmm4, %ymm5, %ymm5\n"
        "vpxor %xmm4, %xmm4, %xmm4\nxor %eax, %eax\n",
        "vextractf128 $1, %ymm5, %xmm4\nvmovq %xmm4, %rax\nvpxor %xmm4, %xmm4, %xmm4\nvzeroupper\n")
SCRATCH(zmm20, "vmovq %rax, %xmm20\nxor %eax, %eax\n", "vmovq %xmm20, %rax\nvpxorq %zmm20, %zmm20, %zmm20\n")

// A leaf function may keep a word below the stack pointer.
SCRATCH(red_zone, "mov %rax, -64(%rsp)\nxor %eax, %eax\n", "mov -64(%rsp), %rax\nmovq $0, -64(%rsp)\n")
__asm__(PROLOGUE("hold_futex_red_zone") "mov %rax, -64(%rsp)\nxor %eax, %eax\n" FUTEX_LOOP
        "mov -64(%rsp), %rax\nmovq $0, -64(%rsp)\n" EPILOGUE("hold_futex_red_zone"));
hold_spin_function hold_futex_red_zone;

#elif defined(__aarch64__)

#define GENERAL(reg)                                                                                         \
  __asm__(".text\n.balign 16\n.globl hold_spin_" #reg "\n.type hold_spin_" #reg ", %function\n"             \
          "hold_spin_" #reg ":\nstr " #reg ", [sp, #-16]!\neor " #reg ", x0, x1\nmov x0, #0\n"              \
          "mov w4, #1\nstr w4, [x2]\n1: ldr w4, [x3]\ncbz w4, 1b\neor x0, " #reg ", x1\n"                    \
          "ldr " #reg ", [sp], #16\nret\n");                                                                 \
  hold_spin_function hold_spin_##reg;
GENERAL(x19)
GENERAL(x20)
GENERAL(x21)
GENERAL(x22)
GENERAL(x23)
GENERAL(x24)
GENERAL(x25)
GENERAL(x26)
GENERAL(x27)
GENERAL(x28)

#endif

// What the thread of the running case does.
static hold_spin_function *spin_function;
static hold_call_function *call_function;

// Puts the address of a new block in the register, or, in a control, zero.
static uint64_t held_value(void) {
  uint64_t value = 0;
  for (int i = 0; i < (dropping ? kBlocks : 1); ++i) value = new_hidden_block();
  hide();
  return dropping ? kKey : value;
}

static void holding_thread(struct waiter *w) {
  const uint64_t value = held_value();
  const uint64_t after = spin_function(value, kKey, &w->ready, &w->go);
  if (after != value) fail("the register was changed");
}

static void spin_case(hold_spin_function *function) {
  static struct waiter w;
  spin_function = function;
  start(&w, holding_thread, NULL);
  judge();
  finish(&w);
}

static void futex_case(hold_spin_function *function) {
  static struct waiter w;
  spin_function = function;
  start(&w, holding_thread, NULL);
  await_sleep(w.tid);
  judge();
  atomic_store(&w.go, 1);
  syscall(SYS_futex, &w.go, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
  finish(&w);
}

static void blocked_read(void *argument) {
  struct waiter *w = argument;
  atomic_store(&w->ready, 1);
  char byte;
  if (read(w->fds[0], &byte, 1) != 1) fail("read was interrupted");
}

static void calling_thread(struct waiter *w) {
  const uint64_t value = held_value();
  const uint64_t after = call_function(value, kKey, blocked_read, w);
  if (after != value) fail("the register was changed");
}

static void call_case(hold_call_function *function) {
  static struct waiter w;
  MUST(pipe(w.fds) == 0);
  call_function = function;
  start(&w, calling_thread, NULL);
  await_sleep(w.tid);
  judge();
  MUST(write(w.fds[1], "x", 1) == 1);
  finish(&w);
}

#define SPIN_CASE(reg) \
  void case_spin_##reg(void) { spin_case(hold_spin_##reg); }
#define FUTEX_CASE(reg) \
  void case_futex_##reg(void) { futex_case(hold_futex_##reg); }
#define CALL_CASE(reg) \
  void case_call_##reg(void) { call_case(hold_call_##reg); }
#define SPIN_CASE_IF(reg, feature)                                                                      \
  void case_spin_##reg(void) {                                                                          \
    if (!__builtin_cpu_supports(feature)) skip("this processor has no " feature);                       \
    spin_case(hold_spin_##reg);                                                                         \
  }
GCM_REGISTER_CASES(SPIN_CASE, FUTEX_CASE, CALL_CASE, SPIN_CASE_IF)

// The registers that the collecting thread's own caller keeps.
#if defined(__x86_64__)
__asm__(
    ".text\n.globl collect_with_registers\n.type collect_with_registers, @function\n"
    "collect_with_registers:\n"  // (const uint64_t hidden[6], key, void collect(void))
    "push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\npush %rsi\n"
    "mov (%rdi), %rbx\nxor %rsi, %rbx\nmov 8(%rdi), %rbp\nxor %rsi, %rbp\n"
    "mov 16(%rdi), %r12\nxor %rsi, %r12\nmov 24(%rdi), %r13\nxor %rsi, %r13\n"
    "mov 32(%rdi), %r14\nxor %rsi, %r14\nmov 40(%rdi), %r15\nxor %rsi, %r15\n"
    "call *%rdx\n"
    "pop %rsi\npop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\nret\n"
    ".size collect_with_registers, . - collect_with_registers\n");
void collect_with_registers(const uint64_t *values, uint64_t key, void (*function)(void));

void case_collect_registers(void) {
  uint64_t values[6];
  void (*function)(void);
  *(void **)&function = dlsym(RTLD_DEFAULT, "gcmalloc_collect");
  if (function == NULL) function = collect;
  for (int i = 0; i < (dropping ? kBlocks : 6); ++i) {
    const uint64_t value = new_hidden_block();
    if (i < 6) values[i] = dropping ? kKey : value;
  }
  hide();
  collect_with_registers(values, kKey, function);
  hide();
  judge_now();
}
#else
void case_collect_registers(void) { skip("not written for this processor"); }
#endif
