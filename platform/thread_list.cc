// The threads of the process, as the kernel knows them, without our own.
//
// While the process runs, a descriptor of ours could be seen, closed or replaced. So the list of
// the last walk serves as long as it is still true, which takes no descriptor to find out: as many
// threads as it has, and all of them there. (One that was born while another ended is missed for
// the moment only: once all of the list are stopped, none of them ends, and the count shows it.)

#include <cstring>

#include "platform/apart.h"
#include "platform/directory.h"
#include "platform/file.h"
#include "platform/memory.h"
#include "platform/message.h"
#include "platform/own_thread.h"
#include "platform/proc.h"
#include "platform/process.h"
#include "platform/syscall.h"
#include "platform/test_skip.h"

namespace gcm::process {
namespace {

constexpr char kTasks[] = "/proc/self/task";
constexpr uint64_t kOwnLinks = 2;  // of the directory; one more for each thread

struct Thread {
  int tid;
  int number;  // in /proc
};

struct List {
  Thread* threads = nullptr;
  size_t count = 0;
  size_t capacity = 0;
  uint64_t device = 0;      // of the /proc that the numbers are from
  bool translates = false;  // its numbers are not the process's own
};
List g_list;

bool Append(Thread thread) {
  if (g_list.count == g_list.capacity) {
    const size_t capacity = Max<size_t>(g_list.capacity * 2, 512);
    uintptr_t wider = memory::Map(capacity * sizeof(Thread), "gcmalloc: threads");
    if (wider == 0) return false;
    if (g_list.capacity != 0) {
      memcpy(PointerTo(wider), g_list.threads, g_list.count * sizeof(Thread));
      memory::Release(AddressOf(g_list.threads), g_list.capacity * sizeof(Thread));
    }
    g_list.threads = PointerTo<Thread>(wider);
    g_list.capacity = capacity;
  }
  g_list.threads[g_list.count++] = thread;
  return true;
}

// The last number of the line "NSpid:", and how many there are. False if there is no such line:
// the kernel knows no namespaces.
bool ReadNumbers(const char* path, int* last, unsigned* count) {
  char status[2048];
  if (ReadSmallFile(path, status, sizeof(status)) <= 0) return false;
  const char* p = strstr(status, "\nNSpid:");
  if (p == nullptr) return false;
  p += 7;
  *count = 0;
  for (;;) {
    while (*p == '\t' || *p == ' ') ++p;
    uint64_t number;
    if (!ParseDecimal(&p, &number)) return *count != 0;
    *last = static_cast<int>(number);
    ++*count;
  }
}

void ReadStatusOf(int number, int* tid) {
  Message path;
  path.Text(kTasks).Char('/').Decimal(static_cast<uint64_t>(number)).Text("/status", 8);
  unsigned count;
  if (!ReadNumbers(path.data(), tid, &count)) *tid = 0;  // it has ended
}

bool IsStillTrue() {
  uint64_t links, device;
  if (Skips(Skip::thread_list)) return false;
  if (!proc::CountLinks(kTasks, &links, &device) || device != g_list.device) return false;
  if (g_list.count == 0 || links != g_list.count + OwnThread::Count() + kOwnLinks) return false;
  const int pid = Pid();
  for (size_t i = 0; i < g_list.count; ++i) {
    if (Syscall(SYS_tgkill, pid, g_list.threads[i].tid, 0) != 0) return false;
  }
  return true;
}

// The process keeps its namespace, but /proc may be mounted anew, and a forked child may have
// another one than its parent.
void LearnNumbering() {
  uint64_t links;
  if (!proc::CountLinks(kTasks, &links, &g_list.device)) g_list.device = 0;
  int last;
  unsigned count = 1;
  ReadNumbers("/proc/thread-self/status", &last, &count);
  g_list.translates = count > 1 && !Skips(Skip::numbers);
}

struct Reading {
  directory::Walk walk = directory::Walk::kFailed;
  bool full = false;

  void Do() {
    g_list.count = 0;
    const int self = apart::IsHere() ? ThreadId() : 0;
    walk = directory::ForEachNumber(kTasks, [&](int number) {
      Thread thread{number, number};
      if (g_list.translates) ReadStatusOf(number, &thread.tid);
      if (thread.tid == 0 || thread.tid == self || OwnThread::IsOne(thread.tid)) return;
      if (!Append(thread)) full = true;
    });
  }
};

bool Read() {
  LearnNumbering();
  Reading reading;
  reading.Do();
  if (reading.walk == directory::Walk::kNoDescriptor) {
    apart::Run([](void* data) { static_cast<Reading*>(data)->Do(); }, &reading);
  }
  return reading.walk == directory::Walk::kDone && !reading.full && g_list.count != 0;
}

}  // namespace

bool ForEachThread(void (*fn)(void* data, int tid), void* data) {
  if (!IsStillTrue() && !Read()) {
    g_list.count = 0;
    return false;
  }
  for (size_t i = 0; i < g_list.count; ++i) {
    fn(data, g_list.threads[i].tid);
  }
  return true;
}

unsigned ThreadCount() {
  uint64_t links, device;
  if (!proc::CountLinks(kTasks, &links, &device) || links < kOwnLinks) return 0;
  const uint64_t own = OwnThread::Count();
  return links - kOwnLinks > own ? static_cast<unsigned>(links - kOwnLinks - own) : 0;
}

bool HasThread(int tid) { return Syscall(SYS_tgkill, Pid(), tid, 0) == 0; }

int NumberInProc(int tid) {
  for (size_t i = 0; g_list.translates && i < g_list.count; ++i) {
    if (g_list.threads[i].tid == tid) return g_list.threads[i].number;
  }
  return tid;
}

char ThreadState(int tid) {
  Message path;
  path.Text(kTasks).Char('/').Decimal(static_cast<uint64_t>(NumberInProc(tid))).Text("/stat", 6);
  char text[512];
  if (ReadSmallFile(path.data(), text, sizeof(text)) <= 0) return 0;
  const char* p = strrchr(text, ')');
  return p != nullptr && p[1] == ' ' ? p[2] : '\0';
}

uint64_t PendingSignals(int tid) {
  Message path;
  path.Text(kTasks).Char('/').Decimal(static_cast<uint64_t>(NumberInProc(tid))).Text("/status", 8);
  File file = File::OpenForReading(path.data());
  char buffer[256];  // longer lines (the groups) are cut
  LineReader lines(&file, buffer, sizeof(buffer));
  uint64_t pending = 0, mask;
  int found = 0;
  size_t length;
  while (file.ok() && found < 2) {
    const char* p = lines.Next(&length);
    if (p == nullptr) break;
    if (strncmp(p, "SigPnd:\t", 8) != 0 && strncmp(p, "ShdPnd:\t", 8) != 0) continue;
    if (!ParseHex(&(p += 8), &mask)) break;
    pending |= mask;
    ++found;
  }
  return found == 2 ? pending : ~uint64_t{0};
}

void ForEachDescriptor(const char* target, void (*fn)(void* data, int fd), void* data) {
  const size_t length = strlen(target);
  directory::ForEachNumber("/proc/thread-self/fd", [&](int fd) {
    Message path;
    path.Text("/proc/thread-self/fd/").Decimal(static_cast<uint64_t>(fd)).Char('\0');
    char link[64];
    long n = proc::ReadLink(path.data(), link, sizeof(link));
    if (n == static_cast<long>(length) && memcmp(link, target, length) == 0) fn(data, fd);
  });
}

}  // namespace gcm::process
