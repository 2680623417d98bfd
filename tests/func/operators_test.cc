// All forms of operator new and operator delete.
//
// Law: the throwing forms loop on the new_handler until there is memory or something is thrown; the nothrow
// forms return NULL, also when the handler throws bad_alloc; every delete form frees what any new form gave.
#include <malloc.h>
#include <stdio.h>
#include <sys/resource.h>

#include <memory>
#include <new>
#include <string>
#include <vector>

#include "support.h"

namespace {

using namespace gcm::test;

int handler_calls = 0;

struct HandlerScope {
  explicit HandlerScope(std::new_handler handler) : previous(std::set_new_handler(handler)) { handler_calls = 0; }
  ~HandlerScope() { std::set_new_handler(previous); }
  std::new_handler previous;
};

struct OwnFailure : std::bad_alloc {
  const char* what() const noexcept override { return "own"; }
};

TEST(OperatorNew, PlainAndArrayForms) {
  for (std::size_t size : kSizes) {
    void* p = ::operator new(opaque(size));
    void* q = ::operator new[](opaque(size));
    void* r = ::operator new(opaque(size), std::nothrow);
    void* s = ::operator new[](opaque(size), std::nothrow);
    for (void* block : {p, q, r, s}) {
      ASSERT_NE(block, nullptr);
      ASSERT_TRUE(is_aligned(block, 16));
      ASSERT_GE(malloc_usable_size(block), size);
      memset(block, 0x3C, size);
    }
    ::operator delete(p);
    ::operator delete[](q);
    ::operator delete(r, std::nothrow);
    ::operator delete[](s, std::nothrow);
    p = ::operator new(opaque(size));
    q = ::operator new[](opaque(size));
    ::operator delete(p, size);
    ::operator delete[](q, size);
  }
}

TEST(OperatorNew, AlignedForms) {
  for (std::size_t alignment = 1; alignment <= kMiB; alignment *= 2) {
    const std::align_val_t a{alignment};
    for (std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{24}, std::size_t{100}, std::size_t{4000},
                             std::size_t{100000}}) {
      void* blocks[] = {::operator new(opaque(size), a), ::operator new[](opaque(size), a),
                        ::operator new(opaque(size), a, std::nothrow),
                        ::operator new[](opaque(size), a, std::nothrow),
                        ::operator new(opaque(size), a), ::operator new[](opaque(size), a)};
      for (void* block : blocks) {
        ASSERT_NE(block, nullptr);
        ASSERT_TRUE(is_aligned(block, alignment)) << alignment;
        memset(block, 0x3C, size);
      }
      ::operator delete(blocks[0], a);
      ::operator delete[](blocks[1], a);
      ::operator delete(blocks[2], a, std::nothrow);
      ::operator delete[](blocks[3], a, std::nothrow);
      ::operator delete(blocks[4], size, a);
      ::operator delete[](blocks[5], size, a);
    }
  }
}

TEST(OperatorNew, ZeroSizesAreUnique) {
  std::vector<void*> blocks;
  for (int i = 0; i < 50; ++i) blocks.push_back(::operator new(opaque<std::size_t>(0)));
  for (std::size_t i = 1; i < blocks.size(); ++i) EXPECT_NE(blocks[i], blocks[i - 1]);
  for (void* p : blocks) ::operator delete(p);
}

TEST(OperatorDelete, OfNullDoesNothing) {
  // A fresh null for each call: the compiler holds a deleted pointer for dangling.
  auto none = [] { return opaque<void*>(nullptr); };
  ::operator delete(none());
  ::operator delete[](none());
  ::operator delete(none(), std::size_t{8});
  ::operator delete[](none(), std::size_t{8});
  ::operator delete(none(), std::align_val_t{64});
  ::operator delete[](none(), std::align_val_t{64});
  ::operator delete(none(), std::nothrow);
  ::operator delete[](none(), std::nothrow);
}

TEST(OperatorDelete, KeepsErrno) {
  void* p = ::operator new(opaque(20 * kMiB));
  errno = 17;
  ::operator delete(p);
  EXPECT_EQ(errno, 17);
}

TEST(OperatorNew, TooLargeThrowsBadAlloc) {
  for (std::size_t size : {kMaxObject + 1, SIZE_MAX, SIZE_MAX - 4096, kMaxObject}) {
    EXPECT_THROW((void)opaque(::operator new(opaque(size))), std::bad_alloc);
    EXPECT_THROW((void)opaque(::operator new[](opaque(size))), std::bad_alloc);
    if (!ours()) continue;  // libstdc++'s aligned forms round SIZE_MAX up to 0
    EXPECT_THROW((void)opaque(::operator new(opaque(size), std::align_val_t{64})), std::bad_alloc);
    EXPECT_THROW((void)opaque(::operator new[](opaque(size), std::align_val_t{4096})), std::bad_alloc);
  }
}

TEST(OperatorNew, NothrowReturnsNull) {
  for (std::size_t size : {kMaxObject + 1, SIZE_MAX, SIZE_MAX - 4096, kMaxObject}) {
    EXPECT_EQ(::operator new(opaque(size), std::nothrow), nullptr);
    EXPECT_EQ(::operator new[](opaque(size), std::nothrow), nullptr);
    if (!ours()) continue;
    EXPECT_EQ(::operator new(opaque(size), std::align_val_t{64}, std::nothrow), nullptr);
    EXPECT_EQ(::operator new[](opaque(size), std::align_val_t{64}, std::nothrow), nullptr);
  }
}

TEST(OperatorNew, TheHandlerIsCalledUntilItIsRemoved) {
  HandlerScope scope([] {
    if (++handler_calls == 3) std::set_new_handler(nullptr);
  });
  EXPECT_THROW((void)opaque(::operator new(opaque(SIZE_MAX / 2 + 9))), std::bad_alloc);
  EXPECT_EQ(handler_calls, 3);
}

TEST(OperatorNew, TheHandlerIsCalledUntilItThrows) {
  HandlerScope scope([] {
    if (++handler_calls == 4) throw OwnFailure();
  });
  for (int form = 0; form < 4; ++form) {
    handler_calls = 0;
    try {
      const std::size_t size = opaque(SIZE_MAX - 100);
      if (form == 0) (void)opaque(::operator new(size));
      if (form == 1) (void)opaque(::operator new[](size));
      if (form == 2) (void)opaque(::operator new(size, std::align_val_t{64}));
      if (form == 3) (void)opaque(::operator new[](size, std::align_val_t{64}));
      ADD_FAILURE() << "no exception in form " << form;
    } catch (const OwnFailure& failure) {
      EXPECT_STREQ(failure.what(), "own") << "the handler's own exception must come through";
    }
    EXPECT_EQ(handler_calls, 4) << form;
  }
}

TEST(OperatorNew, TheHandlerMayThrowAnything) {
  HandlerScope scope([] { throw std::string("something else"); });
  EXPECT_THROW((void)opaque(::operator new(opaque(SIZE_MAX - 100))), std::string);
}

TEST(OperatorNew, NothrowSurvivesAHandlerThatThrows) {
  HandlerScope scope([] {
    if (++handler_calls == 2) throw OwnFailure();
  });
  for (int form = 0; form < 4; ++form) {
    handler_calls = 0;
    const std::size_t size = opaque(SIZE_MAX - 100);
    void* p = &handler_calls;
    if (form == 0) p = ::operator new(size, std::nothrow);
    if (form == 1) p = ::operator new[](size, std::nothrow);
    if (form == 2) p = ::operator new(size, std::align_val_t{64}, std::nothrow);
    if (form == 3) p = ::operator new[](size, std::align_val_t{64}, std::nothrow);
    EXPECT_EQ(p, nullptr) << form;
    EXPECT_EQ(handler_calls, 2) << form;
  }
  void* p = ::operator new(opaque<std::size_t>(100), std::nothrow);
  EXPECT_NE(p, nullptr) << "the heap must work after an exception passed through it";
  ::operator delete(p);
}

std::vector<void*>* reserve_blocks = nullptr;

// The handler frees a block, and the allocation succeeds.
GCM_ROUTINE(new_handler_frees) {
  std::vector<void*> blocks;
  blocks.reserve(4096);
  for (void* p = nullptr; (p = malloc(opaque(16 * kMiB))) != nullptr;) {
    GCM_REQUIRE(blocks.size() < 4096);
    blocks.push_back(p);
  }
  GCM_REQUIRE(blocks.size() >= 8);
  reserve_blocks = &blocks;
  std::set_new_handler([] {
    ++handler_calls;
    free(reserve_blocks->back());
    reserve_blocks->pop_back();
  });
  void* p = ::operator new(opaque(16 * kMiB));
  GCM_REQUIRE(p != nullptr);
  GCM_REQUIRE(handler_calls >= 1);
  static_cast<volatile char*>(p)[0] = 1;
  ::operator delete(p);
  for (void* block : blocks) free(block);
  return 0;
}

// The handler raises the limit the third time it is called, and the allocation succeeds.
GCM_ROUTINE(new_handler_raises_limit) {
  std::set_new_handler([] {
    if (++handler_calls < 3) return;
    struct rlimit limit = {};
    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_AS, &limit);
  });
  void* p = ::operator new(opaque(2 * kGiB));
  GCM_REQUIRE(p != nullptr);
  GCM_REQUIRE(handler_calls == 3);
  static_cast<volatile char*>(p)[2 * kGiB - 1] = 1;
  ::operator delete(p);
  return 0;
}

TEST(OperatorNew, SucceedsOnceTheHandlerFreed) { EXPECT_EQ(in_new_process("new_handler_frees", kGiB), 0); }

TEST(OperatorNew, SucceedsOnceTheHandlerRaisedTheLimit) {
  EXPECT_EQ(in_new_process("new_handler_raises_limit", kGiB), 0);
}

struct alignas(256) Wide {
  char bytes[300] = {};
};

TEST(OperatorNew, ServesTheStandardLibrary) {
  auto wide = std::make_unique<Wide[]>(10);
  EXPECT_TRUE(is_aligned(wide.get(), 256));
  std::vector<std::string> texts;
  for (int i = 0; i < 5000; ++i) texts.push_back(std::string(static_cast<std::size_t>(i % 300), 'x'));
  for (int i = 0; i < 5000; ++i) ASSERT_EQ(texts[static_cast<std::size_t>(i)].size(), static_cast<std::size_t>(i % 300));
  auto shared = std::make_shared<std::vector<int>>(1000, 7);
  std::weak_ptr<std::vector<int>> weak = shared;
  shared.reset();
  EXPECT_TRUE(weak.expired());
}

}  // namespace
