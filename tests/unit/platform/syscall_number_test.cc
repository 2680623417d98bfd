#include "platform/syscall_number.h"

#include <gtest/gtest.h>

#if defined(__x86_64__)

namespace gcm {
namespace {

// Each ends with its `syscall`, which is never run.
asm(R"(
  .pushsection .text
  .skip 80, 0x90
adjacent:
  movl $281, %eax
  .globl GcmTestAdjacent
GcmTestAdjacent:
  syscall
  .skip 80, 0x90
  movl $270, %eax
  movq %r13, %rdx
  movl 0x1c(%rsp), %edi
  movq 0x128(%rsp), %rsi
  movl $8, %r8d
  xorl %r9d, %r9d
  leaq 0x40(%rsp), %r10
  movl 0x10(%rbp), %edx
  .globl GcmTestMoves
GcmTestMoves:
  syscall
  .skip 80, 0x90
  movl $270, %eax
  movl %edi, %eax
  .globl GcmTestOverwritten
GcmTestOverwritten:
  syscall
  .skip 80, 0x90
  movl $270, %eax
  call adjacent
  .globl GcmTestCall
GcmTestCall:
  syscall
  .skip 80, 0x90
  movl $17, %r8d
  movq %rdi, %rax
  .globl GcmTestVariable
GcmTestVariable:
  syscall
  .skip 80, 0x90
  movl $270, %eax
  xorl %eax, %eax
  movq %r13, %rdx
  .globl GcmTestZero
GcmTestZero:
  syscall
  .skip 80, 0x90
  movl $270, %eax
  xorl %r8d, %r8d
  .globl GcmTestOtherZero
GcmTestOtherZero:
  syscall
  .popsection
)");
extern "C" const char GcmTestAdjacent[], GcmTestMoves[], GcmTestOverwritten[], GcmTestCall[],
    GcmTestVariable[], GcmTestZero[], GcmTestOtherZero[];

TEST(SyscallNumber, IsFoundBeforeTheInstruction) {
  EXPECT_EQ(SyscallNumberAt(AddressOf(GcmTestAdjacent)), 281);
}
TEST(SyscallNumber, MayBeARegisterThatIsCleared) {
  EXPECT_EQ(SyscallNumberAt(AddressOf(GcmTestZero)), 0);
  EXPECT_EQ(SyscallNumberAt(AddressOf(GcmTestOtherZero)), 270);
}
TEST(SyscallNumber, IsFoundBehindMovesOfArguments) {
  EXPECT_EQ(SyscallNumberAt(AddressOf(GcmTestMoves)), 270);
}
TEST(SyscallNumber, IsNotTakenWhereItIsNoConstant) {
  EXPECT_EQ(SyscallNumberAt(AddressOf(GcmTestOverwritten)), -1);
  EXPECT_EQ(SyscallNumberAt(AddressOf(GcmTestCall)), -1);
  EXPECT_EQ(SyscallNumberAt(AddressOf(GcmTestVariable)), -1);
}

}  // namespace
}  // namespace gcm

#endif
