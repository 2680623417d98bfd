// The race of golang/go#10212 as a program: observers look up arbitrary words without rest while
// the arena grows, with its steps pulled apart.
//
// Law: for a word, any word, a look-up says whose page it is, or nothing; it never faults. What lies
// directly below used() and directly at lo() was grown before the bound told of it: its memory, mark
// bits and card can be read. An entry found leads to a span that holds the word, with its fields.
// Built with -DGCM_TEST_PUBLISH_EARLY the program must die of SIGSEGV, on each path.
//
// arena_race [--seconds S] [--path reservation|elsewhere|both] [--touch lookups|tables]
//            [--first shown|hidden] [--observers N] [--growers N] [--seed N]
// --touch lookups reads nothing but the page entries; --first hidden grows an arena once before it
// is shown to the observers, so that what they can find is a later growth's.
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#include "core/heap/arena.h"
#include "core/heap/span.h"

namespace {

using gcm::Arena;
using gcm::kGiB;
using gcm::kKiB;
using gcm::kMiB;
using gcm::kPageSize;
using gcm::Range;
using gcm::Span;

enum class Path { kReservation, kElsewhere, kBoth };

constexpr size_t kMaxGrows = 40;
constexpr size_t kMaxForeign = 2 * kMaxGrows + 4;
// ThreadSanitizer has no shadow for addresses that low.
constexpr uintptr_t kLowHint = GCM_TSAN ? 0 : (uintptr_t{0x0ac0} << 32) + 61 * kMiB;
constexpr size_t kMaxArenas = 400;  // none is destroyed, and each takes some hundred mappings

struct Settings {
  double seconds = 5;
  Path path = Path::kBoth;
  bool touch_tables = true;
  bool hide_first = false;
  unsigned observers = 3;
  unsigned growers = 2;
  uint64_t seed = 1;
} g_settings;

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 1) {}
  uint64_t Next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    return state_ ^= state_ << 17;
  }
  uint64_t Below(uint64_t n) { return Next() % n; }

 private:
  uint64_t state_;
};

double Now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

[[noreturn]] void Fail(const char* what, uintptr_t word) {
  printf("arena_race: %s, word %#zx\n", what, word);
  fflush(stdout);
  _exit(1);
}

// Mappings of somebody else, which the kernel places or which lie where they are wanted. Made by
// the bare call: nobody watches over what is never touched.
uintptr_t MapForeign(size_t size, uintptr_t at) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (at != 0 ? MAP_FIXED_NOREPLACE : 0);
  long result = syscall(SYS_mmap, at, size, PROT_NONE, flags, -1, 0);
  return result == -1 ? 0 : static_cast<uintptr_t>(result);
}

// An arena under observation, and what observers are told of its surroundings.
struct Field {
  Arena arena;
  Path path;
  double until;
  size_t grows = 0;  // all that is not atomic: under g_growing
  Range foreign[kMaxForeign];
  std::atomic<size_t> foreign_count{0};
  bool unmapped[kMaxForeign] = {};
  Span* spans;

  void AddForeign(size_t size, uintptr_t at) {
    size_t n = foreign_count.load(std::memory_order_relaxed);
    if (n == kMaxForeign) return;
    uintptr_t place = MapForeign(size, at);
    if (place == 0) return;
    foreign[n] = {place, place + size};
    foreign_count.store(n + 1, std::memory_order_release);
  }
  void DropForeign(size_t i) {
    if (unmapped[i]) return;
    unmapped[i] = true;
    syscall(SYS_munmap, foreign[i].lo, foreign[i].size());
  }
};

std::mutex g_growing;
std::atomic<Field*> g_field{nullptr};
std::atomic<bool> g_stop{false};
size_t g_arenas = 0;
size_t g_grown = 0, g_from_reservation = 0, g_elsewhere = 0, g_below = 0, g_above = 0;

// Between the steps of growing: nothing, a yield, some spinning, or a sleep.
void Delay() {
  thread_local Random random(g_settings.seed + static_cast<uint64_t>(syscall(SYS_gettid)));
  switch (random.Below(4)) {
    case 0:
      return;
    case 1:
      sched_yield();
      return;
    case 2:
      for (uint64_t i = random.Below(20000); i > 0; --i) asm volatile("");
      return;
    default:
      usleep(static_cast<useconds_t>(random.Below(200)));
  }
}

Field* NewField(Random& random) {
  auto* field = new Field;
  field->path = g_settings.path;
  if (field->path == Path::kBoth) field->path = random.Below(2) != 0 ? Path::kReservation : Path::kElsewhere;
  double life = g_settings.seconds / static_cast<double>(kMaxArenas);
  field->until = Now() + (life > 0.01 ? life : 0.01);
  field->spans = static_cast<Span*>(aligned_alloc(64, kMaxGrows * sizeof(Span)));
  memset(static_cast<void*>(field->spans), 0, kMaxGrows * sizeof(Span));
  // Lies above the arena, for growth to jump upwards when it is given back.
  if (field->path == Path::kElsewhere) field->AddForeign(random.Below(2) != 0 ? 9 * kMiB : 40 * kGiB, 0);
  gcm::ArenaConfig config;
  config.first_reservation = field->path == Path::kReservation ? 64 * kMiB : kMiB;
  config.between_steps = Delay;
  // Half of them begin far below everything else: then growth elsewhere raises the bound.
  if (field->path == Path::kElsewhere && random.Below(2) != 0) {
    config.hint = kLowHint + (kLowHint != 0 ? g_arenas * kGiB : 0);
  }
  if (!field->arena.Init(config)) Fail("Init was refused", 0);
  ++g_arenas;
  return field;
}

// What makes the next growth go elsewhere: something directly behind, and a gap of some size.
void Surround(Field* field, Random& random) {
  Arena& arena = field->arena;
  const Arena::Extent& last = arena.extent(arena.extent_count() - 1);
  if (last.end != last.ready) return;
  constexpr size_t kGaps[] = {64 * kKiB, 3 * kMiB, 5 * kMiB, 70 * kMiB, 33 * kGiB};
  field->AddForeign(64 * kKiB, last.end);
  field->AddForeign(kGaps[random.Below(5)], 0);
  if (field->grows == kMaxGrows / 4) field->DropForeign(0);
  if (random.Below(4) == 0) field->DropForeign(random.Below(field->foreign_count.load(std::memory_order_relaxed)));
}

void Grow(Field* field, Random& random) {
  Arena& arena = field->arena;
  if (field->path == Path::kElsewhere) Surround(field, random);
  const size_t extents = arena.extent_count();
  const uintptr_t lo = arena.lo(), used = arena.used();
  size_t size = (1 + random.Below(field->path == Path::kElsewhere ? 16 : 24)) * 64 * kKiB;
  Range fresh = arena.Grow(size);
  if (fresh.size() < size) Fail("Grow was refused", size);
  if (arena.lo() > lo || arena.used() < used) Fail("a bound moved inwards", arena.lo());
  if (!arena.Contains(fresh.lo) || !arena.Contains(fresh.hi - 1)) Fail("grown, and not inside", fresh.lo);
  ++(arena.extent_count() == extents ? g_from_reservation : g_elsewhere);
  if (arena.lo() < lo && used != 0) ++g_below;
  if (arena.used() > used && used != 0) ++g_above;
  Span* span = &field->spans[field->grows++];
  span->start = fresh.lo;
  span->pages = fresh.size() / kPageSize;
  arena.tables().SetSpan(fresh.lo, fresh.hi, span);
  ++g_grown;
}

void Grower(unsigned number) {
  Random random(g_settings.seed * 7919 + number);
  while (!g_stop.load(std::memory_order_relaxed)) {
    bool idle = false;
    {
      std::lock_guard<std::mutex> guard(g_growing);
      Field* field = g_field.load(std::memory_order_relaxed);
      if (field == nullptr || (field->grows == kMaxGrows && Now() > field->until && g_arenas < kMaxArenas)) {
        if (field != nullptr) {
          for (size_t i = 0; i < field->foreign_count.load(std::memory_order_relaxed); ++i) field->DropForeign(i);
        }
        field = NewField(random);
        if (g_settings.hide_first) Grow(field, random);
        g_field.store(field, std::memory_order_release);
      } else if (field->grows < kMaxGrows) {
        Grow(field, random);
      } else {
        idle = true;
      }
    }
    if (idle) usleep(500);
    if (random.Below(3) == 0) sched_yield();
  }
}

struct alignas(64) Counts {
  uint64_t looked_up = 0, inside = 0, found = 0, foreign_inside = 0, touched = 0;
} g_counts[64];

uintptr_t PickWord(const Field* field, Random& random, bool* foreign) {
  const Arena& arena = field->arena;
  uint64_t r = random.Next();
  size_t count = field->foreign_count.load(std::memory_order_acquire);
  *foreign = false;
  switch (random.Below(8)) {
    case 0:  // about the upper bound
      return arena.used() + r % (8 * kMiB) - 4 * kMiB;
    case 1:
      return arena.lo() + r % (8 * kMiB) - 4 * kMiB;
    case 2:  // where the next growth of a reservation will be
      return arena.used() + r % kMiB;
    case 3: {
      uintptr_t lo = arena.lo(), used = arena.used();
      return used <= lo ? r : lo + r % (used - lo);
    }
    case 4:
    case 5:
      if (count != 0) {
        Range f = field->foreign[random.Below(count)];
        *foreign = true;
        return f.lo + r % f.size();
      }
      return r;
    case 6: {
      constexpr uintptr_t kSpecial[] = {0, 1, 8, 4096, uintptr_t{1} << 26, (uintptr_t{1} << 47) - 1,
                                        uintptr_t{1} << 47, ~uintptr_t{0}, ~uintptr_t{0} << 47};
      return kSpecial[r % 9];
    }
    default:  // any 64 bits, of any magnitude
      return r >> random.Below(64);
  }
}

void CheckFound(const Span* span, uintptr_t word) {
  if (word < span->start || word - span->start >= span->pages * kPageSize) Fail("the wrong span", word);
}

// The page that a bound was moved over last: ready, with its tables.
uint64_t TouchPage(const Arena& arena, uintptr_t address) {
  uint64_t sum = *gcm::PointerTo<const volatile uint64_t>(address & ~uintptr_t{7});
  sum += arena.tables().MarkBits(address & ~(kPageSize - 1))->load(std::memory_order_relaxed);
  return sum + arena.tables().Card(address).load(std::memory_order_relaxed);
}

void Observer(unsigned number) {
  Random random(g_settings.seed * 104729 + 17 * number);
  Counts& counts = g_counts[number];
  uint64_t sum = 0;
  while (!g_stop.load(std::memory_order_relaxed)) {
    const Field* field = g_field.load(std::memory_order_acquire);
    if (field == nullptr) continue;
    const Arena& arena = field->arena;
    for (int i = 0; i < 200; ++i) {
      bool foreign;
      uintptr_t word = PickWord(field, random, &foreign);
      bool inside = arena.Contains(word);
      const Span* of = arena.SpanOf(word);
      const Span* around = arena.SpanAround(word);
      if (of != nullptr) CheckFound(of, word);
      if (around != nullptr) CheckFound(around, word);
      if (of != nullptr && around == nullptr) Fail("found, and then not", word);
      ++counts.looked_up;
      counts.inside += inside;
      counts.found += around != nullptr;
      counts.foreign_inside += foreign && inside;
      if (!g_settings.touch_tables) continue;
      uintptr_t used = arena.used(), lo = arena.lo();
      if (used == 0 || lo == UINTPTR_MAX) continue;
      sum += TouchPage(arena, used - 1 - random.Below(kPageSize));
      sum += TouchPage(arena, lo + random.Below(kPageSize));
      ++counts.touched;
    }
    if (random.Below(64) == 0) sched_yield();
  }
  if (sum != 0) Fail("tables and fresh memory are not zero", sum);
}

bool ParseArguments(int argc, char** argv) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const char* name = argv[i];
    const char* value = argv[i + 1];
    if (strcmp(name, "--seconds") == 0) {
      g_settings.seconds = atof(value);
    } else if (strcmp(name, "--path") == 0) {
      if (strcmp(value, "reservation") == 0) {
        g_settings.path = Path::kReservation;
      } else if (strcmp(value, "elsewhere") == 0) {
        g_settings.path = Path::kElsewhere;
      } else if (strcmp(value, "both") != 0) {
        return false;
      }
    } else if (strcmp(name, "--touch") == 0) {
      g_settings.touch_tables = strcmp(value, "lookups") != 0;
    } else if (strcmp(name, "--first") == 0) {
      g_settings.hide_first = strcmp(value, "hidden") == 0;
    } else if (strcmp(name, "--observers") == 0) {
      g_settings.observers = static_cast<unsigned>(atoi(value)) % 64;
    } else if (strcmp(name, "--growers") == 0) {
      g_settings.growers = static_cast<unsigned>(atoi(value));
    } else if (strcmp(name, "--seed") == 0) {
      g_settings.seed = strtoull(value, nullptr, 0);
    } else {
      return false;
    }
  }
  return argc % 2 == 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (!ParseArguments(argc, argv)) {
    fprintf(stderr, "arena_race: see the head of arena_race.cc for the options\n");
    return 2;
  }
  std::vector<std::thread> threads;
  const double begin = Now();
  for (unsigned i = 0; i < g_settings.observers; ++i) threads.emplace_back(Observer, i);
  for (unsigned i = 0; i < g_settings.growers; ++i) threads.emplace_back(Grower, i);
  while (Now() - begin < g_settings.seconds) usleep(10000);
  g_stop.store(true);
  for (std::thread& t : threads) t.join();
  Counts all;
  for (const Counts& c : g_counts) {
    all.looked_up += c.looked_up;
    all.inside += c.inside;
    all.found += c.found;
    all.foreign_inside += c.foreign_inside;
    all.touched += c.touched;
  }
  printf("seed %llu: %zu arenas, grown %zu times (%zu from the reservation, %zu elsewhere; bound raised %zu, "
         "lowered %zu)\n",
         static_cast<unsigned long long>(g_settings.seed), g_arenas, g_grown, g_from_reservation, g_elsewhere,
         g_above, g_below);
  printf("looked up %llu words, %llu inside the bounds, %llu of them foreign, %llu found; touched %llu times\n",
         static_cast<unsigned long long>(all.looked_up), static_cast<unsigned long long>(all.inside),
         static_cast<unsigned long long>(all.foreign_inside), static_cast<unsigned long long>(all.found),
         static_cast<unsigned long long>(all.touched));
  // A run that did not see what it is for proves nothing.
  if (all.found == 0 || all.inside == 0) Fail("nothing was found", 0);
  if (g_settings.path != Path::kReservation && all.foreign_inside == 0) Fail("no foreign word inside", 0);
  if (g_settings.path != Path::kReservation && (g_elsewhere == 0 || g_below == 0 || (g_above == 0 && !GCM_TSAN))) Fail("nothing grew elsewhere", 0);
  if (g_settings.path != Path::kElsewhere && g_from_reservation == 0) Fail("the reservation did not grow", 0);
  return 0;
}
