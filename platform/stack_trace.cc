#include "platform/stack_trace.h"

#define UNW_LOCAL_ONLY
#include <dlfcn.h>
#include <libunwind/libunwind.h>

#include <cstring>

#include "platform/message.h"

namespace gcm {

void WriteStackTrace(int limit) {
  unw_context_t context;
  unw_cursor_t cursor;
  if (unw_getcontext(&context) != 0 || unw_init_local(&cursor, &context) != 0) return;
  Dl_info own{};
  dladdr(reinterpret_cast<void*>(&WriteStackTrace), &own);
  // Linked statically, our frames are of the program's own object and cannot be told apart.
  bool outside = own.dli_fname == nullptr || strstr(own.dli_fname, "libgcmalloc") == nullptr;
  for (int n = 0; n < limit && unw_step(&cursor) > 0;) {
    unw_word_t pc = 0;
    if (unw_get_reg(&cursor, UNW_REG_IP, &pc) != 0 || pc == 0) return;
    Dl_info info{};
    bool known = dladdr(PointerTo(pc - 1), &info) != 0;
    if (!outside && known && info.dli_fbase == own.dli_fbase) continue;
    outside = true;
    Message line;
    line.Text("gcmalloc:   #").Decimal(static_cast<uint64_t>(n++)).Char(' ').Hex(pc).Text(" in ");
    if (known && info.dli_sname != nullptr) {
      line.Text(info.dli_sname).Char('+').Hex(pc - AddressOf(info.dli_saddr));
    } else {
      line.Text("??");
    }
    if (known && info.dli_fname != nullptr) {
      line.Text(" (").Text(info.dli_fname).Char('+').Hex(pc - AddressOf(info.dli_fbase)).Char(')');
    }
    line.Write(2);
  }
}

}  // namespace gcm
