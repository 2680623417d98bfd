#include "platform/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <vector>

namespace gcm {
namespace {

// A file with the given contents, removed at the end.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& contents) {
    int fd = mkstemp(path_);
    EXPECT_EQ(write(fd, contents.data(), contents.size()), static_cast<ssize_t>(contents.size()));
    close(fd);
  }
  ~TemporaryFile() { unlink(path_); }
  const char* path() const { return path_; }

 private:
  char path_[32] = "/tmp/gcmalloc_test_XXXXXX";
};

std::vector<std::string> LinesOf(const std::string& contents, size_t size) {
  TemporaryFile temporary(contents);
  File file = File::OpenForReading(temporary.path());
  std::vector<char> buffer(size);
  LineReader reader(&file, buffer.data(), size);
  std::vector<std::string> lines;
  size_t length = 0;
  while (char* line = reader.Next(&length)) {
    EXPECT_EQ(line[length], '\0');
    EXPECT_GE(line, buffer.data());
    EXPECT_LT(line + length, buffer.data() + size);
    lines.emplace_back(line, length);
    if (lines.size() > 10000) break;
  }
  return lines;
}
using Lines = std::vector<std::string>;

TEST(LineReader, GivesLines) {
  EXPECT_EQ(LinesOf("", 100), Lines{});
  EXPECT_EQ(LinesOf("\n", 100), Lines{""});
  EXPECT_EQ(LinesOf("a\nbc\n", 100), (Lines{"a", "bc"}));
  EXPECT_EQ(LinesOf("a\n\n\nbc", 100), (Lines{"a", "", "", "bc"}));
}

TEST(LineReader, WorksWithBuffersOfAnySize) {
  std::string contents;
  Lines expected;
  for (int i = 0; i < 300; ++i) {
    expected.push_back(std::string(static_cast<size_t>(i % 20), static_cast<char>('a' + i % 26)));
    contents += expected.back() + "\n";
  }
  for (size_t size : {22, 23, 24, 31, 64, 100, 10000}) EXPECT_EQ(LinesOf(contents, size), expected) << size;
  contents.pop_back();  // the last line without a newline
  for (size_t size : {22, 23, 64, 10000}) EXPECT_EQ(LinesOf(contents, size), expected) << size;
}

// What is behind the cut belongs to no line.
TEST(LineReader, CutsLongLines) {
  Lines lines = LinesOf("short\n" + std::string(100, 'x') + "\nafter\n", 32);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0], "short");
  EXPECT_EQ(lines[1].substr(0, 20), std::string(20, 'x'));
  EXPECT_EQ(lines[2], "after");
}

TEST(LineReader, SurvivesLinesOfEveryLengthAroundItsBuffer) {
  for (size_t n = 10; n < 80; ++n) {
    Lines lines = LinesOf(std::string(n, 'x') + "\nend\n", 32);
    ASSERT_GE(lines.size(), 2u) << n;
    EXPECT_EQ(lines.back(), "end") << n;
  }
}

TEST(File, TellsErrors) {
  errno = 77;
  File none = File::OpenForReading("/does/not/exist");
  EXPECT_FALSE(none.ok());
  char byte;
  EXPECT_EQ(none.Read(&byte, 1), -EBADF);
  EXPECT_EQ(errno, 77);
  char buffer[16];
  LineReader reader(&none, buffer, sizeof(buffer));
  size_t length;
  EXPECT_EQ(reader.Next(&length), nullptr);
}

TEST(File, ClosesItsDescriptorAndSetsCloseOnExec) {
  int fd;
  {
    File file = File::OpenForReading("/dev/null");
    ASSERT_TRUE(file.ok());
    fd = file.fd();
    EXPECT_EQ(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    File moved = std::move(file);
    EXPECT_EQ(moved.fd(), fd);
    EXPECT_NE(fcntl(fd, F_GETFD), -1);
  }
  EXPECT_EQ(fcntl(fd, F_GETFD), -1);
}

TEST(File, AppendsTruncatesAndReadsAt) {
  TemporaryFile temporary("0123456789");
  {
    File file = File::OpenForAppending(temporary.path());
    EXPECT_EQ(write(file.fd(), "ab", 2), 2);
  }
  char buffer[32] = {};
  {
    File file = File::OpenForReading(temporary.path());
    EXPECT_EQ(file.ReadAt(buffer, 4, 9), 3);
    EXPECT_STREQ(buffer, "9ab");
  }
  EXPECT_EQ(ReadSmallFile(temporary.path(), buffer, sizeof(buffer)), 12);
  EXPECT_EQ(ReadSmallFile(temporary.path(), buffer, 5), 4);
  EXPECT_STREQ(buffer, "0123");
  EXPECT_LT(ReadSmallFile("/does/not/exist", buffer, sizeof(buffer)), 0);
  { File file = File::Create(temporary.path()); }
  EXPECT_EQ(ReadSmallFile(temporary.path(), buffer, sizeof(buffer)), 0);
}

TEST(Parse, Decimal) {
  struct { const char* text; bool good; uint64_t value; const char* rest; } cases[] = {
      {"0", true, 0, ""}, {"42 x", true, 42, " x"}, {"18446744073709551615", true, UINT64_MAX, ""},
      {"18446744073709551616", false, 0, nullptr}, {"99999999999999999999", false, 0, nullptr},
      {"", false, 0, nullptr}, {"x", false, 0, nullptr}, {"-1", false, 0, nullptr}, {"007", true, 7, ""}};
  for (auto& c : cases) {
    const char* cursor = c.text;
    uint64_t value = 5;
    EXPECT_EQ(ParseDecimal(&cursor, &value), c.good) << c.text;
    EXPECT_EQ(value, c.good ? c.value : 5) << c.text;
    EXPECT_STREQ(cursor, c.good ? c.rest : c.text);
  }
}

TEST(Parse, Hex) {
  struct { const char* text; bool good; uint64_t value; const char* rest; } cases[] = {
      {"0", true, 0, ""}, {"7fFf-", true, 0x7fff, "-"}, {"ffffffffffffffff", true, UINT64_MAX, ""},
      {"00000000000000000001", true, 1, ""}, {"", false, 0, nullptr}, {"g", false, 0, nullptr}};
  for (auto& c : cases) {
    const char* cursor = c.text;
    uint64_t value = 5;
    EXPECT_EQ(ParseHex(&cursor, &value), c.good) << c.text;
    EXPECT_EQ(value, c.good ? c.value : 5) << c.text;
    EXPECT_STREQ(cursor, c.good ? c.rest : c.text);
  }
}

// As ParseDecimal: a number that does not fit is none.
TEST(Parse, HexDoesNotWrap) {
  const char* cursor = "10000000000000001";
  uint64_t value = 5;
  EXPECT_FALSE(ParseHex(&cursor, &value));
}

}  // namespace
}  // namespace gcm
