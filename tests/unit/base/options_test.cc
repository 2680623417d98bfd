#include "core/base/options.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace gcm {
namespace {

// Reads entries over defaults; what was said on standard error.
std::string Read(std::vector<std::string> entries, Options* out) {
  std::vector<char*> environment;
  for (std::string& e : entries) environment.push_back(e.data());
  environment.push_back(nullptr);
  testing::internal::CaptureStderr();
  ReadEnvironment(environment.data(), out);
  return testing::internal::GetCapturedStderr();
}
size_t Lines(const std::string& text) {
  size_t n = 0;
  for (char c : text) n += c == '\n';
  return n;
}

TEST(ParseSize, UnderstandsUnits) {
  struct { const char* text; size_t size; } cases[] = {
      {"0", 0}, {"1", 1}, {"4096", 4096}, {"1K", kKiB}, {"64M", 64 * kMiB}, {"64m", 64 * kMiB},
      {"2G", 2 * kGiB}, {"3T", 3072 * kGiB}, {"7KiB", 7 * kKiB}, {"7KB", 7 * kKiB}, {"12B", 12},
      {"18446744073709551615", SIZE_MAX}, {"16777215T", size_t{16777215} << 40}};
  for (auto& c : cases) {
    size_t size = 99;
    EXPECT_TRUE(ParseSize(c.text, &size)) << c.text;
    EXPECT_EQ(size, c.size) << c.text;
  }
}

TEST(ParseSize, RefusesWhatIsNoSize) {
  for (const char* text : {"", "M", "-1", "1.5G", "64 M", " 64M", "64MM", "64Mi", "64X", "0x10", "64iB",
                           "18446744073709551616", "16777216T", "99999999999999999999K", "1Kb"}) {
    size_t size = 99;
    EXPECT_FALSE(ParseSize(text, &size)) << text;
    EXPECT_EQ(size, 99u) << text;
  }
}

TEST(ParseDuration, UnderstandsUnits) {
  struct { const char* text; uint64_t ns; } cases[] = {
      {"0", 0}, {"10", 10'000'000'000}, {"10s", 10'000'000'000}, {"500ms", 500'000'000}, {"7us", 7000},
      {"2m", 120'000'000'000}, {"1h", 3'600'000'000'000}};
  for (auto& c : cases) {
    uint64_t ns = 99;
    EXPECT_TRUE(ParseDuration(c.text, &ns)) << c.text;
    EXPECT_EQ(ns, c.ns) << c.text;
  }
}

TEST(ParseDuration, RefusesWhatIsNone) {
  for (const char* text : {"", "s", "-1s", "1.5s", "10 s", "10ss", "1d", "99999999999h", "18446744073709551616"}) {
    uint64_t ns = 99;
    EXPECT_FALSE(ParseDuration(text, &ns)) << text;
    EXPECT_EQ(ns, 99u) << text;
  }
}

TEST(ReadEnvironment, SetsEveryOption) {
  Options o;
  std::string said = Read({"PATH=/bin", "GCMALLOC_MODE=off", "GCMALLOC_PERCENT=50", "GCMALLOC_LIMIT=1G",
                           "GCMALLOC_INTERVAL=7", "GCMALLOC_SCAVENGE=250ms", "GCMALLOC_ALIGN=1",
                           "GCMALLOC_FOREIGN=ignore", "GCMALLOC_POISON=1", "GCMALLOC_VERBOSE=1",
                           "GCMALLOC_STRESS=1000", "GCMALLOC_TRACE=/tmp/t", "GCMALLOC_TRACE_JSON=/tmp/j",
                           "GCMALLOC_STATS=/tmp/s.prom", "GCMALLOC_WORKERS=3", "GCMALLOC_DIRTY=softdirty",
                           "GCMALLOC_CHECKMARK=1", "GCMALLOC_THP=on", "HOME=/"}, &o);
  EXPECT_EQ(said, "");
  EXPECT_EQ(o.mode, Mode::kOff);
  EXPECT_EQ(o.percent, 50u);
  EXPECT_EQ(o.limit, kGiB);
  EXPECT_EQ(o.interval, 7u);
  EXPECT_EQ(o.scavenge, 250'000'000u);
  EXPECT_EQ(o.align, 1u);
  EXPECT_TRUE(o.ignore_foreign);
  EXPECT_TRUE(o.poison);
  EXPECT_TRUE(o.verbose);
  EXPECT_EQ(o.stress, 1000u);
  EXPECT_FALSE(o.trace_stderr);
  EXPECT_STREQ(o.trace_path, "/tmp/t");
  EXPECT_STREQ(o.trace_json_path, "/tmp/j");
  EXPECT_STREQ(o.stats_path, "/tmp/s.prom");
  EXPECT_EQ(o.workers, 3u);
  EXPECT_EQ(o.dirty, DirtySource::kSoftDirty);
  EXPECT_TRUE(o.checkmark);
  EXPECT_EQ(o.huge_pages, HugePageChoice::kOn);
}

TEST(ReadEnvironment, KnowsEveryDirtySource) {
  for (DirtySource source : {DirtySource::kAuto, DirtySource::kUffd, DirtySource::kSoftDirty,
                             DirtySource::kMprotect, DirtySource::kNone}) {
    Options o;
    o.dirty = DirtySource::kUffd;
    EXPECT_EQ(Read({std::string("GCMALLOC_DIRTY=") + NameOf(source)}, &o), "");
    EXPECT_EQ(o.dirty, source);
  }
  EXPECT_EQ(Options().dirty, DirtySource::kAuto);
}

// Names of a later version: who sets them learns that they change nothing.
TEST(ReadEnvironment, NamesWithoutEffectGiveOneLine) {
  for (const char* name : {"STACKS", "REPORT", "CONTROL"}) {
    Options o;
    std::string said = Read({std::string("GCMALLOC_") + name + "=1"}, &o);
    EXPECT_EQ(Lines(said), 1u) << said;
    EXPECT_NE(said.find(std::string("GCMALLOC_") + name + "=1: has no effect"), std::string::npos) << said;
  }
}

TEST(ReadEnvironment, UnderstandsWords) {
  Options o;
  EXPECT_EQ(Read({"GCMALLOC_MODE=collect", "GCMALLOC_PERCENT=off", "GCMALLOC_LIMIT=off", "GCMALLOC_SCAVENGE=off",
                  "GCMALLOC_ALIGN=word", "GCMALLOC_FOREIGN=abort", "GCMALLOC_TRACE=1", "GCMALLOC_STATS=off"}, &o), "");
  EXPECT_EQ(o.percent, Options::kOff);
  EXPECT_EQ(o.limit, SIZE_MAX);
  EXPECT_EQ(o.scavenge, Options::kOff);
  EXPECT_EQ(o.align, 8u);
  EXPECT_FALSE(o.ignore_foreign);
  EXPECT_TRUE(o.trace_stderr);
  EXPECT_STREQ(o.trace_path, "");
  EXPECT_STREQ(o.stats_path, "");
  EXPECT_EQ(Read({"GCMALLOC_THP=off"}, &o), "");
  EXPECT_EQ(o.huge_pages, HugePageChoice::kOff);
  EXPECT_EQ(Read({"GCMALLOC_THP=auto"}, &o), "");
  EXPECT_EQ(o.huge_pages, HugePageChoice::kAuto);
  EXPECT_EQ(Read({"GCMALLOC_LIMIT=auto", "GCMALLOC_TRACE=0"}, &o), "");
  EXPECT_EQ(o.limit, Options::kAutoLimit);
  EXPECT_FALSE(o.trace_stderr);
}

TEST(ReadEnvironment, BadValuesGiveOneLineAndKeepTheDefault) {
  const std::string bad[] = {
      "MODE=Collect", "MODE=guard", "PERCENT=-5", "PERCENT=a", "PERCENT=1000001", "LIMIT=lots", "LIMIT=0",
      "INTERVAL=2m", "SCAVENGE=soon", "ALIGN=2", "ALIGN=16", "ALIGN=0", "FOREIGN=yes", "POISON=2", "POISON=on",
      "VERBOSE=true", "STRESS=many",
      "WORKERS=-1", "WORKERS=2x", "WORKERS=1025", "DIRTY=all", "DIRTY=UFFD", "CHECKMARK=2", "CHECKMARK=yes",
      "THP=1", "THP=always", "STATS=" + std::string(600, 'x'), "TRACE=" + std::string(512, 'x')};
  for (const std::string& entry : bad) {
    Options o;
    std::string said = Read({"GCMALLOC_" + entry}, &o);
    EXPECT_EQ(Lines(said), 1u) << said;
    EXPECT_EQ(said.rfind("gcmalloc: GCMALLOC_" + entry.substr(0, entry.find('=')), 0), 0u) << said;
    Options defaults;
    EXPECT_EQ(o.mode, defaults.mode) << entry;
    EXPECT_EQ(o.percent, defaults.percent) << entry;
    EXPECT_EQ(o.limit, defaults.limit) << entry;
    EXPECT_EQ(o.interval, defaults.interval) << entry;
    EXPECT_EQ(o.scavenge, defaults.scavenge) << entry;
    EXPECT_EQ(o.align, defaults.align) << entry;
    EXPECT_EQ(o.ignore_foreign, defaults.ignore_foreign) << entry;
    EXPECT_EQ(o.poison, defaults.poison) << entry;
    EXPECT_EQ(o.stress, defaults.stress) << entry;
    EXPECT_EQ(o.workers, defaults.workers) << entry;
    EXPECT_EQ(o.dirty, defaults.dirty) << entry;
    EXPECT_EQ(o.checkmark, defaults.checkmark) << entry;
    EXPECT_EQ(o.huge_pages, defaults.huge_pages) << entry;
    EXPECT_STREQ(o.stats_path, "") << entry;
    EXPECT_STREQ(o.trace_path, "") << entry;
  }
}

TEST(ReadEnvironment, UnknownNamesGiveOneLine) {
  Options o;
  std::string said = Read({"GCMALLOC_MOED=off", "GCMALLOC_MODES=off", "GCMALLOC_=1", "GCMALLOC_mode=off"}, &o);
  EXPECT_EQ(Lines(said), 4u) << said;
  EXPECT_EQ(o.mode, Mode::kCollect);
}

TEST(ReadEnvironment, OtherEntriesAndEmptyOnesAreNotOurs) {
  Options o;
  EXPECT_EQ(Read({"XGCMALLOC_MODE=off", "GCMALLOC=1", "GCMALLOCMODE=off", "GCMALLOC_MODE=", "GCMALLOC_MODE", "=", ""}, &o), "");
  EXPECT_EQ(o.mode, Mode::kCollect);
  ReadEnvironment(nullptr, &o);
}

TEST(ReadEnvironment, LongLinesStayOneLine) {
  Options o;
  std::string said = Read({"GCMALLOC_MODE=" + std::string(10000, 'y'), "GCMALLOC_" + std::string(9000, 'N') + "=1"}, &o);
  EXPECT_EQ(Lines(said), 2u);
  EXPECT_EQ(said.back(), '\n');
}

}  // namespace
}  // namespace gcm
