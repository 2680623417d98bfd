// The library's start and end in a process: options, hooks for threads and forks, statistics at
// exit. malloc works before any of this has run, with default settings.
#include <pthread.h>
#include <unistd.h>

#include "core/base/options.h"
#include "core/gc/collector.h"
#include "core/heap/heap.h"
#include "core/report/statistics.h"
#include "platform/clock.h"
#include "platform/file.h"
#include "platform/message.h"
#include "platform/process.h"
#include "platform/test_skip.h"
#include "preload/family.h"
#include "preload/wrapped.h"

// Chez Scheme's kernel, in executables that have it (core/HOSTS.md). Where there is none, the
// address is null.
extern "C" __attribute__((weak)) void Sscheme_init(void (*abnormal_exit)());

namespace gcm {
namespace {

pthread_key_t g_key;
bool g_key_made = false;

// A thread's end: its cache goes to the others. The value is kept until no destructor of the
// program is left that could still allocate: each round that allocates sets it again.
void OnThreadEnd(void*) {
  ThreadCache* cache = t_cache;
  if (cache != &g_empty_cache) heap().registry().Detach(cache);
}

// The key is among the first 32, for which pthread_setspecific does not allocate.
void OnAttach() {
  if (g_key_made) pthread_setspecific(g_key, t_cache);
}

// A handler may fork where it has interrupted the heap in its own thread, which holds locks then.
// They cannot be waited for, and need not be: that code goes on in parent and child, and lets go
// of them.
GCM_TLS bool t_forks_inside = false;

// A collection beside the program is kept from beginning a step, or found waiting for such a lock.
GCM_TLS bool t_has_turn = false;
constexpr uint64_t kPatience = 50 * clock::kMillisecond;

}  // namespace

void BeforeFork() {
  t_forks_inside = Unstoppable::IsInside() && !Skips(Skip::inside);
  if (t_forks_inside) {
    t_has_turn = collector().TryTakeTurn(kPatience);
    return;
  }
  collector().TakeTurn();
  heap().LockAll();
}
void AfterForkInParent() {
  if (t_forks_inside) {
    if (t_has_turn) collector().EndTurn();
    return;
  }
  heap().UnlockAll();
  collector().EndTurn();
}
void AfterForkInChild() {
  if (WrappingAfterFork != nullptr) WrappingAfterFork();
  if (t_forks_inside) {
    if (t_has_turn) collector().EndTurn();
    return collector().AfterForkInside();
  }
  heap().AfterForkInChild();
  collector().AfterForkInChild();
  process::MarkParent();
  collector().EndTurn();
}

namespace {

// Where output cannot go is said at the start, once.
void CheckPath(const char* name, const char* path) {
  if (path[0] == '\0' || File::OpenForAppending(path).ok()) return;
  Message line;
  line.Text("gcmalloc: ")
      .Text(name)
      .Char('=')
      .Text(path)
      .Text(": cannot be opened, using off")
      .Write(2);
}

// In GCMALLOC_MODE=collect the first cycle decides (Collector::ChooseHugePages).
HugePages ChosenHugePages(const Options& o) {
  switch (o.huge_pages) {
    case HugePageChoice::kOn:
      return HugePages::kOn;
    case HugePageChoice::kOff:
      return HugePages::kOff;
    case HugePageChoice::kAuto:
      break;
  }
  return o.mode == Mode::kOff ? HugePages::kGrowth : HugePages::kSystem;
}

void SayWhatWasChosen() {
  const Options& o = options();
  if (!o.verbose) return;
  Message line;
  line.Text("gcmalloc: version " GCM_VERSION ", mode ");
  line.Text(o.mode == Mode::kOff ? "off" : "collect").Text(", percent ");
  if (o.percent == Options::kOff) {
    line.Text("off");
  } else {
    line.Decimal(o.percent);
  }
  line.Text(", limit ");
  if (o.limit == SIZE_MAX) {
    line.Text("off");
  } else if (o.limit == Options::kAutoLimit) {
    size_t limit = process::CgroupMemoryLimit();
    line.Text("auto (");
    if (limit == SIZE_MAX) {
      line.Text("none)");
    } else {
      line.Decimal(limit / 10 * 9).Text(" bytes)");
    }
  } else {
    line.Decimal(o.limit).Text(" bytes");
  }
  line.Text(", interval ").Decimal(o.interval).Text(" s, scavenge ");
  if (o.scavenge == Options::kOff) {
    line.Text("off");
  } else {
    line.Decimal(o.scavenge / 1'000'000).Text(" ms");
  }
  line.Text(", align ").Decimal(o.align).Text(", stress ").Decimal(o.stress);
  line.Text(", poison ").Decimal(o.poison ? 1 : 0).Write(2);
}

bool g_started = false;

void Start(char** environment) {
  if (g_started) return;
  g_started = true;
  ReadTestSkips(environment);
  // First of all handlers: in prepare it runs last, in the child first.
  pthread_atfork(BeforeFork, AfterForkInParent, AfterForkInChild);
  g_key_made = pthread_key_create(&g_key, OnThreadEnd) == 0;
  process::MarkParent();
  if (!process::IsPrivileged()) ReadEnvironment(environment, &options());
  const Options& o = options();
  HeapSettings settings;
  settings.scavenge_delay = o.scavenge;
  settings.huge_pages = ChosenHugePages(o);
  settings.poison = o.poison;
  settings.clean = o.checkmark;
  settings.stress = o.mode == Mode::kOff ? 0 : o.stress;
  heap().Configure(settings);
  heap().SetAttachHook(OnAttach);
  if (t_cache != &g_empty_cache) OnAttach();
  CheckPath("GCMALLOC_TRACE", o.trace_path);
  CheckPath("GCMALLOC_TRACE_JSON", o.trace_json_path);
  CheckPath("GCMALLOC_STATS", o.stats_path);
  if (StartWrapping != nullptr) StartWrapping();
  if (Sscheme_init != nullptr) collector().FollowShifted();
  collector().Start();
  SayWhatWasChosen();
}

__attribute__((constructor(101))) void OnLoad(int, char**, char** environment) {
  Start(environment != nullptr ? environment : environ);
}

__attribute__((destructor(101))) void OnExit() { ledger().WriteStatistics(true); }

}  // namespace
}  // namespace gcm
