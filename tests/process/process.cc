// process_tests CASE: runs one case. --list names them all; --use-heap uses the heap and ends; --exit NAME ends in
// one of the ways of exit.cc.
#include "process.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "core/api/gcmalloc.h"
#include "exit.h"

extern "C" {
__attribute__((weak)) int gcmalloc_collect(void);
__attribute__((weak)) int gcmalloc_get_stats(struct gcmalloc_stats*);
}

namespace process_test {

const char* own_path = nullptr;
Case* Case::first = nullptr;

namespace {
constexpr int kFailed = 1, kSkipped = 77;
constexpr unsigned kAlarm = 40;

void say(const char* text) {
  ssize_t n = write(1, text, strlen(text));
  (void)n;
}
}  // namespace

void fail(const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text - 1, format, arguments);
  va_end(arguments);
  strcat(text, "\n");
  say(text);
  _exit(kFailed);
}

void skip(const char* why) {
  say(why);
  say("\n");
  _exit(kSkipped);
}

bool collect() { return gcmalloc_collect == nullptr || gcmalloc_collect() == 0; }

std::uint64_t reclaimed() {
  struct gcmalloc_stats stats = {};
  stats.size = sizeof stats;
  if (gcmalloc_get_stats == nullptr || gcmalloc_get_stats(&stats) != 0) return 0;
  return stats.reclaimed_objects;
}

struct Table::Block {
  std::uint64_t size, seed;
  unsigned char text[];
};

Table::Table(std::uint64_t seed, std::size_t slots) : slots_(slots), random_(seed * 2 + 1) {
  blocks_ = static_cast<Block**>(calloc(slots, sizeof(Block*)));
  MUST(blocks_ != nullptr);
  for (std::size_t i = 0; i < slots; ++i) step();
}

Table::~Table() {
  check();
  for (std::size_t i = 0; i < slots_; ++i) free(blocks_[i]);
  free(blocks_);
}

void Table::step() {
  random_ = random_ * 6364136223846793005u + 1442695040888963407u;
  Block*& slot = blocks_[(random_ >> 33) % slots_];
  std::size_t size = (random_ >> 40) % 700 + 16;
  if ((random_ >> 50) % 1000 == 0) size += 200000;
  if ((random_ & 0x10000) != 0) free(slot);  // else it is lost
  auto* block = static_cast<Block*>(malloc(sizeof(Block) + size));
  MUST(block != nullptr);
  block->size = size;
  block->seed = random_ >> 24 & 0xff;
  memset(block->text, static_cast<int>(block->seed), size);
  slot = block;
}

void Table::check() const {
  for (std::size_t i = 0; i < slots_; ++i) {
    const Block* block = blocks_[i];
    if (block == nullptr) continue;
    for (std::size_t at = 0; at < block->size; ++at) {
      if (block->text[at] != block->seed) fail("a block of %zu bytes has changed at %zu", block->size, at);
    }
  }
}

Table& inherited() {
  static Table* table = new Table(77);
  return *table;
}

__attribute__((noinline)) void lose(std::size_t count, std::size_t size) {
  for (std::size_t i = 0; i < count; ++i) {
    void* volatile p = malloc(size);
    MUST(p != nullptr);
    memset(p, 1, size);
    p = nullptr;
  }
}

void must_reclaim(int patience) {
  constexpr std::size_t kCount = 5000;
  const std::uint64_t before = reclaimed();
  lose(kCount, 600);
  for (int i = 0;; ++i) {
    const bool collected = collect();
    const std::uint64_t gain = reclaimed() - before;
    if (gcmalloc_collect == nullptr || gain >= kCount * 9 / 10) return;
    if (i + 1 >= patience) {
      fail("%llu of %zu lost blocks were reclaimed%s", static_cast<unsigned long long>(gain), kCount,
           collected ? "" : ": the cycle was skipped");
    }
  }
}

void exercise(bool reclaim) {
  inherited().check();
  Table mine(static_cast<std::uint64_t>(getpid()));
  for (int i = 0; i < 3000; ++i) mine.step();
  if (reclaim) must_reclaim();
  mine.check();
  inherited().check();
}

struct Busy::State {
  std::atomic<bool> stop{false};
  int count = 0;
  pthread_t threads[16];
  std::atomic<int> number{0};
};

Busy::Busy(int allocating, int collecting) : state_(new State) {
  auto allocate = [](void* data) -> void* {
    auto* state = static_cast<State*>(data);
    Table table(static_cast<std::uint64_t>(++state->number));
    for (unsigned n = 1; !state->stop; ++n) {
      table.step();
      if (n % 2000 == 0) table.check();
    }
    return nullptr;
  };
  auto collecting_thread = [](void* data) -> void* {
    auto* state = static_cast<State*>(data);
    while (!state->stop) {
      collect();
      usleep(200);
    }
    return nullptr;
  };
  for (int i = 0; i < allocating; ++i) MUST(pthread_create(&state_->threads[state_->count++], nullptr, allocate, state_) == 0);
  for (int i = 0; i < collecting; ++i)
    MUST(pthread_create(&state_->threads[state_->count++], nullptr, collecting_thread, state_) == 0);
}

Busy::~Busy() {
  state_->stop = true;
  for (int i = 0; i < state_->count; ++i) pthread_join(state_->threads[i], nullptr);
  delete state_;
}

void await(pid_t child, int expected) {
  int status = -1;
  while (waitpid(child, &status, 0) < 0) MUST(errno == EINTR);
  if (WIFEXITED(status) && WEXITSTATUS(status) == kSkipped) skip("the child skipped it");
  if (!WIFEXITED(status)) fail("a child was ended by signal %d%s", WTERMSIG(status), WTERMSIG(status) == 14 ? ": it hangs" : "");
  if (WEXITSTATUS(status) != expected) fail("a child exited with %d", WEXITSTATUS(status));
}

void in_child(const std::function<void()>& body) {
  const pid_t child = fork();
  MUST(child >= 0);
  if (child == 0) {
    alarm(kAlarm / 2);
    body();
    _exit(0);
  }
  await(child);
}

}  // namespace process_test

int main(int argc, char** argv) {
  using namespace process_test;
  own_path = argv[0];
  if (argc == 2 && strcmp(argv[1], "--list") == 0) {
    for (Case* c = Case::first; c != nullptr; c = c->next) puts(c->name);
    return 0;
  }
  const char* seconds = getenv("GCM_TEST_SECONDS");
  alarm(seconds != nullptr ? static_cast<unsigned>(atoi(seconds)) : kAlarm);
  if (argc == 2 && strcmp(argv[1], "--use-heap") == 0) {
    exercise();
    return 0;
  }
  if (argc == 3 && strcmp(argv[1], "--exit") == 0) return end_as(argv[2]);
  if (argc != 2) return 2;
  if (gcmalloc_collect == nullptr && getenv("GCM_TEST_ANY") == nullptr) fail("malloc is not gcmalloc's here");
  inherited();
  for (Case* c = Case::first; c != nullptr; c = c->next) {
    if (strcmp(c->name, argv[1]) != 0) continue;
    c->run();
    inherited().check();
    return 0;
  }
  fail("no case %s", argv[1]);
}
