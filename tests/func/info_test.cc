// The functions that tell about the heap and tune it: mallinfo, mallinfo2, malloc_stats, malloc_info,
// malloc_trim, mallopt.
//
// Law: they are there, never fail a program for asking, and their numbers follow what the program holds.
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "support.h"

namespace {

using namespace gcm::test;

std::string whole_file(FILE* file) {
  std::string text;
  rewind(file);
  char buffer[4096];
  std::size_t n = 0;
  while ((n = fread(buffer, 1, sizeof buffer, file)) > 0) text.append(buffer, n);
  return text;
}

// Well-formed as far as malloc_info needs: nested elements with attributes and text. Returns what is wrong.
std::string xml_error(const std::string& text) {
  std::vector<std::string> open;
  std::size_t roots = 0;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t lt = text.find('<', at);
    const std::string between = text.substr(at, lt == std::string::npos ? lt : lt - at);
    if (open.empty() && between.find_first_not_of(" \t\r\n") != std::string::npos) return "text outside: " + between;
    if (between.find('>') != std::string::npos) return "stray >";
    if (lt == std::string::npos) break;
    const std::size_t gt = text.find('>', lt);
    if (gt == std::string::npos) return "unclosed tag";
    std::string tag = text.substr(lt + 1, gt - lt - 1);
    at = gt + 1;
    if (tag.empty()) return "empty tag";
    if (tag[0] == '?' || tag[0] == '!') continue;
    if (tag[0] == '/') {
      if (open.empty() || open.back() != tag.substr(1)) return "unexpected </" + tag.substr(1) + ">";
      open.pop_back();
      continue;
    }
    const bool closed = tag.back() == '/';
    if (closed) tag.pop_back();
    std::size_t quotes = 0;
    for (char c : tag) quotes += c == '"' ? 1 : 0;
    if (quotes % 2 != 0) return "odd quotes in <" + tag + ">";
    std::size_t equals = 0;
    for (char c : tag) equals += c == '=' ? 1 : 0;
    if (equals * 2 != quotes) return "attribute without quotes in <" + tag + ">";
    if (open.empty()) ++roots;
    if (!closed) open.push_back(tag.substr(0, tag.find_first_of(" \t\r\n")));
  }
  if (!open.empty()) return "not closed: " + open.back();
  return roots == 1 ? "" : "not one root element";
}

std::size_t bytes_in_use() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

TEST(Mallinfo2, FollowsWhatIsHeld) {
  const std::size_t before = bytes_in_use();
  std::vector<void*> blocks(1000);
  for (void*& p : blocks) {
    p = malloc(opaque(64 * kKiB));
    ASSERT_NE(p, nullptr);
  }
  void* large = malloc(opaque(100 * kMiB));
  const std::size_t held = bytes_in_use();
  EXPECT_GE(held, before + 150 * kMiB);
  EXPECT_LE(held, before + 250 * kMiB);
  for (void* p : blocks) free(p);
  free(large);
  EXPECT_LE(bytes_in_use(), held - 140 * kMiB);
}

TEST(Mallinfo2, MappedIsAtLeastUsed) {
  const struct mallinfo2 info = mallinfo2();
  EXPECT_GE(info.arena + info.hblkhd, info.uordblks);
  EXPECT_GT(info.arena + info.hblkhd, 0u);
}

TEST(Mallinfo, IsThere) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  void* p = malloc(opaque<std::size_t>(100000));
  const struct mallinfo info = mallinfo();
#pragma GCC diagnostic pop
  EXPECT_GT(static_cast<unsigned>(info.uordblks) + static_cast<unsigned>(info.hblkhd), 0u);
  free(p);
}

TEST(MallocStats, PrintsToStandardError) {
  FILE* to = tmpfile();
  FILE* out = tmpfile();
  ASSERT_NE(to, nullptr);
  ASSERT_NE(out, nullptr);
  fflush(stderr);
  fflush(stdout);
  const int saved = dup(2);
  const int saved_out = dup(1);
  dup2(fileno(to), 2);
  dup2(fileno(out), 1);
  malloc_stats();
  fflush(stderr);
  fflush(stdout);
  dup2(saved, 2);
  dup2(saved_out, 1);
  close(saved);
  close(saved_out);
  const std::string text = whole_file(to);
  EXPECT_FALSE(text.empty());
  EXPECT_NE(text.find_first_of("0123456789"), std::string::npos) << text;
  EXPECT_EQ(text.back(), '\n');
  EXPECT_EQ(whole_file(out), "");
  fclose(to);
  fclose(out);
}

TEST(MallocInfo, WritesWellFormedXml) {
  void* p = malloc(opaque<std::size_t>(1000));
  FILE* file = tmpfile();
  ASSERT_NE(file, nullptr);
  EXPECT_EQ(malloc_info(0, file), 0);
  const std::string text = whole_file(file);
  EXPECT_NE(text.find("<malloc"), std::string::npos) << text;
  EXPECT_NE(text.find("</malloc>"), std::string::npos) << text;
  EXPECT_EQ(xml_error(text), "") << text;
  fclose(file);
  free(p);
}

TEST(MallocInfo, WorksOnAMemoryStream) {
  // The stream grows by realloc while the numbers are being written.
  char* text = nullptr;
  std::size_t size = 0;
  FILE* stream = open_memstream(&text, &size);
  ASSERT_NE(stream, nullptr);
  EXPECT_EQ(malloc_info(0, stream), 0);
  fclose(stream);
  EXPECT_GT(size, 20u);
  EXPECT_EQ(xml_error(std::string(text, size)), "");
  free(text);
}

TEST(MallocInfo, OptionsMustBeZero) {
  FILE* file = tmpfile();
  ASSERT_NE(file, nullptr);
  for (int options : {1, -1, 2, 1000}) {
    errno = 0;
    const int result = malloc_info(options, file);
    EXPECT_TRUE(result == EINVAL || (result == -1 && errno == EINVAL)) << result;
  }
  EXPECT_EQ(whole_file(file), "");
  fclose(file);
}

TEST(MallocTrim, ReturnsMemory) {
  std::vector<void*> blocks(20000);
  for (void*& p : blocks) {
    p = malloc(opaque<std::size_t>(5000));
    memset(p, 1, 5000);
  }
  const std::size_t full = resident_bytes();
  for (void* p : blocks) free(p);
  const int released = malloc_trim(0);
  EXPECT_TRUE(released == 0 || released == 1);
  EXPECT_LT(resident_bytes(), full - 60 * kMiB);
  const int again = malloc_trim(1 << 20);
  EXPECT_TRUE(again == 0 || again == 1);
  void* p = malloc(opaque<std::size_t>(5000));
  ASSERT_NE(p, nullptr);
  memset(p, 1, 5000);
  free(p);
}

TEST(Mallopt, NeverFailsAProgram) {
  GCM_ONLY_OURS("changing glibc's tunables changes the tests after this one");
  const int params[] = {M_MXFAST, M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_ARENA_TEST, M_ARENA_MAX};
  for (int param : params) EXPECT_EQ(mallopt(param, 64), 1) << param;
  void* p = malloc(opaque<std::size_t>(300));
  ASSERT_NE(p, nullptr);
  free(p);
}

TEST(XmlCheck, FindsWhatIsBroken) {
  EXPECT_EQ(xml_error("<a x=\"1\"><b/><c>t</c></a>\n"), "");
  EXPECT_NE(xml_error("<a><b></a></b>"), "");
  EXPECT_NE(xml_error("<a>"), "");
  EXPECT_NE(xml_error("<a/><b/>"), "");
  EXPECT_NE(xml_error("<a x=1/>"), "");
  EXPECT_NE(xml_error(""), "");
}

}  // namespace
