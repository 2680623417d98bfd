// Which kind of place a mapping is, for the negative controls of platform/test_skip.h: each kind
// can be left out of the root scan alone. In other builds nothing is left out, at no cost.
#pragma once

#include "platform/memory_map.h"
#include "platform/test_skip.h"

namespace gcm {

class RootKinds {
 public:
  // The mappings come in the order of addresses. Those that hold a thread's control block or the
  // main stack are never left out as a whole.
  bool LeavesOut(const Mapping& mapping, bool of_thread) {
    if (!kTestHooks) return false;
    const bool leaves_out = Follow(mapping) && !of_thread && !mapping.stack;
    return leaves_out;
  }

  // How far a thread's static storage may reach below its control block, and the descriptor above.
  static constexpr size_t kStorage = 16 * kKiB;
  static constexpr size_t kDescriptor = 4 * kKiB;

 private:
  bool Follow(const Mapping& mapping) {
    const bool adjacent = previous_.hi == mapping.range.lo;
    // The segments of an object lie side by side; its zeroed data are anonymous and follow.
    object_ = adjacent && !mapping.program_break &&
              (mapping.file_backed() ? mapping.inode == inode_ : object_);
    previous_ = mapping.range;
    inode_ = mapping.inode;
    if (mapping.ring) return Skips(Skip::rings);
    if (mapping.memfd) return Skips(Skip::memfd);
    if (mapping.shared) {
      return mapping.on_disk ? Skips(Skip::shared_file) : Skips(Skip::shared_anonymous);
    }
    if (object_) return Skips(Skip::statics);
    if (mapping.executable) return false;
    if (mapping.program_break) return Skips(Skip::program_break);
    if (!mapping.writable) return Skips(Skip::read_only);
    return mapping.file_backed() ? Skips(Skip::private_file) : Skips(Skip::anonymous);
  }

  Range previous_{};
  uint64_t inode_ = 0;
  bool object_ = false;
};

}  // namespace gcm
