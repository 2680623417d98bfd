// What threads do to one another: blocks freed by whom has not allocated them, and threads' births and deaths.
#include <benchmark/benchmark.h>

#include <pthread.h>

#include <atomic>
#include <cstdlib>
#include <thread>

namespace {

constexpr size_t kBatch = 1000;

// A thread that frees the batches it is shown. `shown` is the batch it has to free, null once it has.
class Freer {
 public:
  Freer() : thread_([this] { run(); }) {}
  ~Freer() {
    shown_.store(&end_, std::memory_order_release);
    thread_.join();
  }
  void show(void** batch) { shown_.store(batch, std::memory_order_release); }
  void wait() const {
    while (shown_.load(std::memory_order_acquire)) std::this_thread::yield();
  }

 private:
  void run() {
    for (;;) {
      void** batch = shown_.load(std::memory_order_acquire);
      if (batch == &end_) return;
      if (!batch) {
        std::this_thread::yield();
        continue;
      }
      for (size_t i = 0; i < kBatch; i++) free(batch[i]);
      shown_.store(nullptr, std::memory_order_release);
    }
  }
  void* end_ = nullptr;
  std::atomic<void**> shown_{nullptr};
  std::thread thread_;
};

void cross_thread_free(benchmark::State& state) {
  const size_t size = static_cast<size_t>(state.range(0));
  static void* blocks[2][kBatch];
  Freer freer;
  unsigned turn = 0;
  for (auto _ : state) {
    void** batch = blocks[turn++ % 2];
    for (size_t i = 0; i < kBatch; i++) {
      batch[i] = malloc(size);
      *static_cast<volatile char*>(batch[i]) = 1;
    }
    freer.wait();
    freer.show(batch);
  }
  freer.wait();
}
BENCHMARK(cross_thread_free)->Arg(64)->Arg(1024)->Iterations(3000)->UseRealTime();

void* live(void*) {
  void* block = malloc(64);
  benchmark::DoNotOptimize(block);
  free(block);
  return nullptr;
}

// A thread that allocates once: what its cache costs to make and to give up.
void thread_birth(benchmark::State& state) {
  for (auto _ : state) {
    pthread_t thread;
    if (pthread_create(&thread, nullptr, live, nullptr) != 0) {
      state.SkipWithError("pthread_create");
      break;
    }
    pthread_join(thread, nullptr);
  }
}
BENCHMARK(thread_birth)->Iterations(3000)->UseRealTime();

}  // namespace
