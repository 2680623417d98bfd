#include "platform/message.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <thread>

namespace gcm {
namespace {

std::string Text(const Message& m) { return {m.data(), m.size()}; }

TEST(Message, FormatsNumbers) {
  Message m;
  m.Decimal(0).Char(' ').Decimal(UINT64_MAX).Char(' ').Hex(0).Char(' ').Hex(0xdeadbeef);
  m.Char(' ').Hex(UINT64_MAX);
  EXPECT_EQ(Text(m), "0 18446744073709551615 0x0 0xdeadbeef 0xffffffffffffffff");
}

TEST(Message, FormatsFractions) {
  struct { uint64_t value; int digits; const char* text; } cases[] = {
      {1234, 3, "1.234"}, {1, 3, "0.001"}, {0, 3, "0.000"}, {1000, 3, "1.000"}, {1010, 3, "1.010"},
      {7, 0, "7"}, {123, 1, "12.3"}, {UINT64_MAX, 9, "18446744073.709551615"}};
  for (auto& c : cases) {
    Message m;
    EXPECT_EQ(Text(m.Fixed(c.value, c.digits)), c.text);
  }
}

TEST(Message, CutsWhatDoesNotFitAndEndsInANewline) {
  Message m;
  for (int i = 0; i < 1000; ++i) m.Text("0123456789");
  m.Decimal(5).Char('x').Hex(7).Fixed(3, 2);
  EXPECT_LT(m.size(), 2048u);
  EXPECT_EQ(Text(m).substr(0, 20), "01234567890123456789");
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ASSERT_TRUE(m.Write(ends[1]));
  char buffer[4096];
  ssize_t n = read(ends[0], buffer, sizeof(buffer));
  EXPECT_EQ(n, static_cast<ssize_t>(m.size() + 1));
  EXPECT_EQ(buffer[n - 1], '\n');
  close(ends[0]);
  close(ends[1]);
}

TEST(Message, ClearStartsAnew) {
  Message m;
  m.Text("abc").Clear();
  EXPECT_EQ(Text(m.Text("de", 1)), "d");
}

TEST(Message, FailedWritesKeepErrno) {
  Message m;
  m.Text("x");
  errno = 1234;
  EXPECT_FALSE(m.Write(-1));
  EXPECT_EQ(errno, 1234);
}

TEST(WriteAll, GoesOnAfterShortWrites) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  std::string sent(1 << 20, 'a');
  for (size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>('a' + i % 23);
  std::string got;
  std::thread reader([&] {
    char buffer[10000];
    for (ssize_t n; (n = read(ends[0], buffer, sizeof(buffer))) > 0;) got.append(buffer, static_cast<size_t>(n));
  });
  EXPECT_TRUE(WriteAll(ends[1], sent.data(), sent.size()));
  close(ends[1]);
  reader.join();
  close(ends[0]);
  EXPECT_TRUE(got == sent);
}

TEST(Complain, WritesOneLine) {
  testing::internal::CaptureStderr();
  Complain("what is wrong");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "gcmalloc: what is wrong\n");
}

TEST(FatalDeathTest, NamesTheReasonAndAborts) {
  EXPECT_EXIT(Fatal("a broken law"), testing::KilledBySignal(SIGABRT), "gcmalloc: a broken law\n");
}

}  // namespace
}  // namespace gcm
