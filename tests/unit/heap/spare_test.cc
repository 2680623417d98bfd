// What a cache keeps although nobody uses it: spare spans, and blocks at hand.
#include <gtest/gtest.h>

#include <vector>

#include "core/heap/heap.h"

namespace gcm {
namespace {

// A program that goes up and down does not take and give spans all the time.
TEST(Spare, SomeEmptySpansStay) {
  const unsigned c = ClassFor(700);
  const int slots = kSizeClasses.classes[c].slots;
  std::vector<void*> blocks;
  const auto churn = [&](int n) {
    for (int i = 0; i < n; ++i) blocks.push_back(heap().Allocate(700));
    for (void* p : blocks) heap().Free(p, "test");
    blocks.clear();
  };
  heap().FlushCache();
  const size_t before = heap().pages().in_use_pages();
  churn(400 * slots);
  const size_t kept = heap().pages().in_use_pages();
  // A current span, blocks at hand, and a part of what was in use.
  EXPECT_LE(kept, before + 16 + 64) << "not all of them";
  for (int i = 0; i < 2 * slots; ++i) blocks.push_back(heap().Allocate(700));
  EXPECT_LE(heap().pages().in_use_pages(), kept) << "nothing new is needed";
  churn(0);
  heap().FlushCache();
  EXPECT_LE(heap().pages().in_use_pages(), before + kSizeClasses.classes[c].pages);
}

// Each block at hand keeps its span.
TEST(Spare, WhatAThreadHasAtHandCanBeGivenBack) {
  heap().FlushCache();
  const size_t before = heap().pages().in_use_pages();
  std::vector<void*> blocks;
  for (int i = 0; i < 1000; ++i) blocks.push_back(heap().Allocate(1000));
  for (size_t i = 0; i < blocks.size(); i += 16) heap().Free(blocks[i], "test");  // a span each
  for (size_t i = 0; i < blocks.size(); ++i)
    if (i % 16 != 0) heap().Free(blocks[i], "test");
  EXPECT_GT(heap().pages().in_use_pages(), before + 2 * 4);
  heap().FlushCache();
  EXPECT_LE(heap().pages().in_use_pages(), before + 4);  // the current span, of 16 KiB
  void* p = heap().Allocate(1000);
  heap().Free(p, "test");
  EXPECT_DEATH(heap().Free(p, "test"), "double free");
  EXPECT_DEATH(heap().Free(blocks[0], "test"), "no block is there|double free");
}

}  // namespace
}  // namespace gcm
