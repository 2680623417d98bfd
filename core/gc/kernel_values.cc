#include "core/gc/kernel_values.h"

#include <atomic>

#include "core/base/metadata.h"
#include "platform/memory.h"
#include "platform/mutex.h"
#include "platform/process.h"
#include "platform/signal.h"
#include "platform/test_skip.h"

namespace gcm::kernel_values {
namespace {

// A chain of open hash tables, each twice as large as the one before. Entries are added without a
// lock, in signal handlers, too, and removed only with the world stopped.
struct Entry {
  std::atomic<uintptr_t> key;     // ~value; 0: free
  std::atomic<uint64_t> signals;  // bit n - 1: signal n; that of 64 is 0's, too, who never pends
};
struct Table {
  std::atomic<Table*> next;
  size_t size;      // entries, a power of two
  Entry entries[];  // in zeroed pages
};
constexpr size_t kFirstSize = 256;
constexpr size_t kProbes = 16;
std::atomic<Table*> g_tables{nullptr};

constexpr size_t BytesOf(size_t size) { return sizeof(Table) + size * sizeof(Entry); }
constexpr uint64_t BitOf(int signal) { return uint64_t{1} << ((signal - 1) & 63); }

// Mapped by a system call alone: metadata's lock may be held by who was interrupted.
Table* NextTable(std::atomic<Table*>* link, size_t size) {
  Table* table = link->load(std::memory_order_acquire);  // pairs with: the exchange below
  if (table != nullptr) return table;
  const size_t bytes = RoundUp(BytesOf(size), memory::PageSize());
  uintptr_t place = memory::Map(bytes, "gcmalloc: values in the kernel");
  if (place == 0) return nullptr;
  auto* fresh = PointerTo<Table>(place);
  fresh->size = size;
  // pairs with: the acquire above
  if (link->compare_exchange_strong(table, fresh, std::memory_order_acq_rel)) return fresh;
  memory::Release(place, bytes);
  return table;
}

// The entry of a table for the key, taken if there is none yet; nullptr if the table is full there.
Entry* FindEntry(Table* table, uintptr_t key) {
  size_t at = static_cast<size_t>(key * 0x9E3779B97F4A7C15u >> 32);
  for (size_t i = 0; i < kProbes; ++i) {
    Entry* entry = &table->entries[(at + i) & (table->size - 1)];
    uintptr_t found = entry->key.load(std::memory_order_relaxed);
    if (found == key) return entry;
    if (found != 0) continue;
    if (entry->key.compare_exchange_strong(found, key, std::memory_order_relaxed) || found == key)
      return entry;
  }
  return nullptr;
}

struct Record {
  Record* next;
  std::atomic<int> queue;  // -1: free
  Notification what;       // complemented; read with the world stopped
};
Mutex g_lock;  // of the writers of the list
Record* g_notifications = nullptr;

bool IsOfHeap(uintptr_t value) { return heap().pages().arena().SpanAround(value) != nullptr; }

Record* FindRecord(int queue) {
  for (Record* r = g_notifications; r != nullptr; r = r->next) {
    if (r->queue.load(std::memory_order_relaxed) == queue) return r;
  }
  return nullptr;
}

// What the notification held may be on its way to the program.
void Retire(const Record& record) {
  NoteQueued(record.what.signal, ~record.what.value);
  for (uintptr_t word : record.what.more) NoteQueued(0, ~word);
}

// Set for good by the first signal to a thread: while there was none, one look tells all.
std::atomic<bool> g_to_threads{false};

// The signals that are pending somewhere in the process; all when that cannot be read.
uint64_t PendingSignals(const World& world) {
  uint64_t pending = process::PendingSignals(process::ThreadId());
  if (!g_to_threads.load(std::memory_order_relaxed)) return pending;
  for (size_t i = 0; i < world.thread_count(); ++i) {
    pending |= process::PendingSignals(world.thread(i).tid);
  }
  return pending;
}

template <typename Fn>
void ForEachEntry(Fn fn) {
  // pairs with: the exchange in NextTable
  Table* table = g_tables.load(std::memory_order_acquire);
  while (table != nullptr) {
    for (size_t i = 0; i < table->size; ++i) fn(table->entries[i]);
    table = table->next.load(std::memory_order_acquire);  // pairs with: the exchange in NextTable
  }
}

}  // namespace

bool NoteQueued(int signal, uintptr_t value, Target target) {
  if (!IsOfHeap(value)) return true;
  if (target == Target::kThread) g_to_threads.store(true, std::memory_order_relaxed);
  const uintptr_t key = ~value;
  size_t size = kFirstSize;
  for (std::atomic<Table*>* link = &g_tables;; size *= 2) {
    Table* table = NextTable(link, size);
    if (table == nullptr) return false;
    link = &table->next;
    while (Entry* entry = FindEntry(table, key)) {
      entry->signals.fetch_or(BitOf(signal), std::memory_order_relaxed);
      // A collection that saw the entry before it had its signal has freed it.
      if (entry->key.load(std::memory_order_relaxed) == key) return true;
    }
  }
}

bool NoteNotification(int queue, const Notification& notification) {
  LockGuard guard(g_lock);
  Record* record = FindRecord(queue);
  if (record != nullptr) Retire(*record);
  if (record == nullptr) record = FindRecord(-1);
  const bool fresh = record == nullptr;
  if (fresh) record = static_cast<Record*>(metadata::Allocate(sizeof(Record)));
  if (record == nullptr) return false;
  record->what.signal = notification.signal;
  StoreRelaxed(&record->what.value, ~notification.value);
  for (size_t i = 0; i < Notification::kMore; ++i) {
    StoreRelaxed(&record->what.more[i], ~notification.more[i]);
  }
  record->queue.store(queue, std::memory_order_relaxed);
  if (fresh) {
    record->next = g_notifications;
    StoreRelaxed(&g_notifications, record);
  }
  return true;
}

void DropNotification(int queue) {
  LockGuard guard(g_lock);
  Record* record = FindRecord(queue);
  if (record == nullptr) return;
  Retire(*record);
  record->queue.store(-1, std::memory_order_relaxed);
}

bool HasNotifications() {
  for (Record* r = LoadRelaxed(&g_notifications); r != nullptr; r = r->next) {
    if (r->queue.load(std::memory_order_relaxed) >= 0) return true;
  }
  return false;
}

void Scan(Marker* marker, const World& world) {
  for (Record* r = Skips(Skip::mq_notify) ? nullptr : LoadRelaxed(&g_notifications); r != nullptr;
       r = r->next) {
    if (r->queue.load(std::memory_order_relaxed) < 0) continue;
    marker->MarkWord(~LoadRelaxed(&r->what.value));
    for (const uintptr_t& word : r->what.more) marker->MarkWord(~LoadRelaxed(&word));
  }
  if (Skips(Skip::sigqueue)) return;
  bool any = false;
  ForEachEntry([&](Entry& entry) {
    const uintptr_t key = entry.key.load(std::memory_order_relaxed);
    if (key == 0) return;
    marker->MarkWord(~key);
    any = true;
  });
  if (!any) return;
  const uint64_t pending = PendingSignals(world);
  ForEachEntry([&](Entry& entry) {
    const uint64_t signals = entry.signals.load(std::memory_order_relaxed) & pending;
    entry.signals.store(signals, std::memory_order_relaxed);
    if (signals == 0) entry.key.store(0, std::memory_order_relaxed);
  });
}

void AfterForkInChild() {
  g_lock.Reset();
  for (Record* r = g_notifications; r != nullptr; r = r->next) {
    r->queue.store(-1, std::memory_order_relaxed);
  }
  ForEachEntry([](Entry& entry) {
    entry.signals.store(0, std::memory_order_relaxed);
    entry.key.store(0, std::memory_order_relaxed);
  });
}

}  // namespace gcm::kernel_values
