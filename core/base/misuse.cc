#include "core/base/misuse.h"

#include "core/base/options.h"
#include "platform/message.h"
#include "platform/stack_trace.h"

namespace gcm::misuse {
namespace {

constexpr int kFrames = 24;

Message& Begin(Message& line, const char* function, const void* p) {
  return line.Text("gcmalloc: ").Text(function).Char('(').Hex(AddressOf(p)).Text("): ");
}

[[noreturn]] void End(Message& line) {
  line.Write(2);
  WriteStackTrace(kFrames);
  Abort();
}

}  // namespace

void Foreign(const char* function, const void* p) {
  if (options().ignore_foreign) return;
  Message line;
  End(Begin(line, function, p).Text("not an address of gcmalloc's heap"));
}

void NoBlock(const char* function, const void* p) {
  Message line;
  End(Begin(line, function, p).Text("no block is there: double free, or never allocated"));
}

void DoubleFree(const char* function, const void* p, size_t size) {
  Message line;
  End(Begin(line, function, p).Text("double free of a block of ").Decimal(size).Text(" bytes"));
}

void Interior(const char* function, const void* p, size_t offset, size_t size) {
  Message line;
  End(Begin(line, function, p)
          .Text("not the start of a block (it is ")
          .Decimal(offset)
          .Text(" bytes inside a block of ")
          .Decimal(size)
          .Text(" bytes)"));
}

}  // namespace gcm::misuse
