#include "core/gc/kernel_values.h"

#include <signal.h>

#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "tests/unit/support.h"

namespace gcm {
namespace {

constexpr int kSignal = 40;

class KernelValuesTest : public testing::Test {
 protected:
  void SetUp() override {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, kSignal);
    pthread_sigmask(SIG_BLOCK, &set, &before_);
    Marked();
    Marked();  // what an earlier test has left is gone
  }
  void TearDown() override {
    TakeSignals();
    for (uintptr_t h : blocks_) heap().Free(PointerTo(test::Reveal(h)), "test");
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

  uintptr_t NewBlock() {
    blocks_.push_back(test::Hide(heap().AllocateZeroed(24)));
    return test::Reveal(blocks_.back());
  }
  // The blocks that a scan marks.
  size_t Marked() {
    auto pages = std::make_unique<PageMap>();
    auto marking = std::make_unique<Marking>();
    auto marker = std::make_unique<Marker>();
    test::ResetMarks();
    marker->Begin(marking.get(), pages.get());
    kernel_values::Scan(marker.get(), world());
    EXPECT_TRUE(marker->Drain(UINT64_MAX));
    const size_t objects = marker->counts().objects;
    marker->End();
    return objects;
  }
  void Queue(uintptr_t value) {
    sigval v;
    v.sival_ptr = PointerTo(value);
    ASSERT_EQ(pthread_sigqueue(pthread_self(), kSignal, v), 0);
  }
  void TakeSignals() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, kSignal);
    timespec none{};
    while (sigtimedwait(&set, nullptr, &none) == kSignal) {
    }
  }

  sigset_t before_;
  std::vector<uintptr_t> blocks_;  // hidden: what stays of it in freed memory keeps nothing alive
};

TEST_F(KernelValuesTest, AreKeptWhileTheSignalIsPending) {
  uintptr_t block = NewBlock();
  ASSERT_TRUE(kernel_values::NoteQueued(kSignal, block));
  Queue(block);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(Marked(), 1u);
  TakeSignals();
  EXPECT_EQ(Marked(), 1u) << "the scan that finds it gone keeps it";
  EXPECT_EQ(Marked(), 0u);
}

TEST_F(KernelValuesTest, AnotherSignalKeepsNothing) {
  ASSERT_TRUE(kernel_values::NoteQueued(kSignal + 1, NewBlock()));
  Queue(0);
  EXPECT_EQ(Marked(), 1u);
  EXPECT_EQ(Marked(), 0u);
}

TEST_F(KernelValuesTest, AsManyAsThereAre) {
  Queue(0);
  for (int i = 0; i < 20000; ++i) ASSERT_TRUE(kernel_values::NoteQueued(kSignal, NewBlock()));
  for (uintptr_t h : blocks_) ASSERT_TRUE(kernel_values::NoteQueued(kSignal, test::Reveal(h)));
  EXPECT_EQ(Marked(), 20000u);
  EXPECT_EQ(Marked(), 20000u);
  TakeSignals();
  Marked();
  EXPECT_EQ(Marked(), 0u);
}

TEST_F(KernelValuesTest, NumbersAreNotKept) {
  Queue(0);
  for (uintptr_t value : {uintptr_t{0}, uintptr_t{1}, ~uintptr_t{0}, AddressOf(this)}) {
    EXPECT_TRUE(kernel_values::NoteQueued(kSignal, value));
  }
  EXPECT_EQ(Marked(), 0u);
}

TEST_F(KernelValuesTest, ThreadsNoteAtOnce) {
  Queue(0);
  for (int i = 0; i < 4000; ++i) NewBlock();
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      // Two threads note each value.
      for (size_t i = t / 2; i < blocks_.size(); i += 2)
        kernel_values::NoteQueued(kSignal, test::Reveal(blocks_[i]));
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(Marked(), 4000u);
}

TEST_F(KernelValuesTest, NotificationsStayUntilTheyAreReplacedOrDropped) {
  for (int round = 0; round < 3; ++round) {
    for (int queue = 1000; queue < 1020; ++queue) {
      kernel_values::Notification n;
      n.signal = round == 2 ? kSignal : 0;
      n.value = NewBlock();
      n.more[0] = NewBlock();
      ASSERT_TRUE(kernel_values::NoteNotification(queue, n));
    }
    EXPECT_EQ(Marked(), round == 0 ? 40u : 80u) << "what is replaced is kept for one more scan";
    EXPECT_EQ(Marked(), 40u);
  }
  Queue(0);
  for (int queue = 1000; queue < 1020; ++queue) kernel_values::DropNotification(queue);
  EXPECT_EQ(Marked(), 40u);
  EXPECT_EQ(Marked(), 20u) << "the values may be those of the pending signals";
  TakeSignals();
  Marked();
  EXPECT_EQ(Marked(), 0u);
}

TEST_F(KernelValuesTest, AForkedChildHasNone) {
  Queue(0);
  ASSERT_TRUE(kernel_values::NoteQueued(kSignal, NewBlock()));
  kernel_values::Notification n;
  n.value = NewBlock();
  ASSERT_TRUE(kernel_values::NoteNotification(1000, n));
  EXPECT_EQ(Marked(), 2u);
  kernel_values::AfterForkInChild();
  EXPECT_EQ(Marked(), 0u);
}

}  // namespace
}  // namespace gcm
