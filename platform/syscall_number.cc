#include "platform/syscall_number.h"

#include <cstring>

#include "platform/memory_map.h"

namespace gcm {

#if defined(__x86_64__)
namespace {

constexpr size_t kWindow = 64;  // bytes before the instruction
constexpr long kNumbers = 1024;

// Bytes that an operand in memory or in a register takes behind the opcode.
size_t OperandSize(const unsigned char* modrm) {
  const unsigned mode = modrm[0] >> 6, rm = modrm[0] & 7;
  if (mode == 3) return 1;
  size_t size = 1;
  if (rm == 4) {
    ++size;
    if (mode == 0 && (modrm[1] & 7) == 5) size += 4;
  }
  if (mode == 0 && rm == 5) size += 4;
  return size + (mode == 1 ? 1 : mode == 2 ? 4 : 0);
}

// The length of a move, an lea, or an xor of registers that does not write to eax; 0: it is none.
size_t MoveSize(const unsigned char* code) {
  const bool rex = (code[0] & 0xf0) == 0x40;
  const unsigned prefix = rex ? code[0] : 0;
  const unsigned char* p = code + (rex ? 1 : 0);
  const size_t before = rex ? 2 : 1;
  const bool to_register_0 = (p[1] >> 3 & 7) == 0 && (prefix & 4) == 0;
  const bool to_operand_0 = (p[1] >> 6) == 3 && (p[1] & 7) == 0 && (prefix & 1) == 0;
  switch (p[0]) {
    case 0x8b:
    case 0x8d:
      return to_register_0 ? 0 : before + OperandSize(p + 1);
    case 0x31:
    case 0x89:
      return to_operand_0 ? 0 : before + OperandSize(p + 1);
    case 0xc7:
      return to_operand_0 ? 0 : before + OperandSize(p + 1) + 4;
    default:
      break;
  }
  if (p[0] < 0xb8 || p[0] > 0xbf || (prefix & 8) != 0) return 0;
  return p[0] == 0xb8 && (prefix & 1) == 0 ? 0 : before + 4;
}

}  // namespace

long SyscallNumberAt(uintptr_t at) {
  unsigned char code[kWindow + 16] = {};
  // The window may begin where nothing is mapped: the instruction itself is.
  if (ReadOwnMemory(at - kWindow, code, kWindow) != static_cast<long>(kWindow)) return -1;
  for (size_t begin = kWindow - 2;; --begin) {
    uint32_t number;
    memcpy(&number, code + begin + 1, sizeof(number));
    const bool prefixed = begin > 0 && (code[begin - 1] & 0xf0) == 0x40;
    const bool extended = prefixed && (code[begin - 1] & 1) != 0;  // another register
    size_t next = kWindow + 1;
    if (code[begin] == 0xb8 && begin + 5 <= kWindow && number < kNumbers && !extended) {
      next = begin + 5;
    } else if (code[begin] == 0x31 && code[begin + 1] == 0xc0 && !prefixed) {  // read's
      number = 0;
      next = begin + 2;
    }
    for (size_t size = 1; next < kWindow && size != 0; next += size) size = MoveSize(code + next);
    if (next == kWindow) return static_cast<long>(number);
    if (begin == 0) return -1;
  }
}
#else
long SyscallNumberAt(uintptr_t) { return -1; }
#endif

}  // namespace gcm
