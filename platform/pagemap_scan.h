// The ioctl PAGEMAP_SCAN of /proc/self/pagemap (Linux 6.7), as <linux/fs.h> has it; Debian 12's
// headers are older.
#pragma once

#include "platform/base.h"

namespace gcm::pagemap_scan {

struct Argument {
  uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
  uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

struct Region {
  uint64_t start, end, categories;
};

inline constexpr unsigned long kRequest = 0xc0606610;  // _IOWR('f', 16, struct pm_scan_arg)

// Categories.
inline constexpr uint64_t kTracked = 1 << 0, kWritten = 1 << 1, kIsFile = 1 << 2,
                          kIsPresent = 1 << 3, kIsSwapped = 1 << 4, kIsZero = 1 << 5,
                          kIsGuard = 1 << 8;

// Flags: protects the pages that match; fails where a mapping is not tracked asynchronously.
inline constexpr uint64_t kProtect = 1 << 0, kCheckTracked = 1 << 1;

}  // namespace gcm::pagemap_scan
