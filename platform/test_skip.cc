#include "platform/test_skip.h"

#ifdef GCM_TEST_HOOKS

#include <cstring>

#include "platform/message.h"

namespace gcm {
namespace {

uint64_t g_skips = 0;

constexpr const char* kNames[] = {
#define GCM_SKIP_NAME(name) #name,
    GCM_TEST_SKIPS(GCM_SKIP_NAME)
#undef GCM_SKIP_NAME
};

uint64_t BitOf(const char* name, size_t length) {
  uint64_t bit = 1;
  for (const char* known : kNames) {
    if (strlen(known) == length && memcmp(known, name, length) == 0) return bit;
    bit <<= 1;
  }
  Fatal("GCM_TEST_SKIP: unknown name");
}

}  // namespace

bool Skips(Skip what) { return (g_skips >> static_cast<unsigned>(what) & 1) != 0; }

void ReadTestSkips(char** environment) {
  constexpr char kName[] = "GCM_TEST_SKIP=";
  for (char** entry = environment; entry != nullptr && *entry != nullptr; ++entry) {
    if (strncmp(*entry, kName, sizeof(kName) - 1) != 0) continue;
    for (const char* p = *entry + sizeof(kName) - 1; *p != '\0';) {
      size_t length = strcspn(p, ",");
      g_skips |= BitOf(p, length);
      p += length;
      if (*p == ',') ++p;
    }
  }
}

}  // namespace gcm

#endif
