// The forms in which statistics and cycles leave the process: trace line, JSON, OpenMetrics.
#include <fcntl.h>

#include <cstring>

#include "core/base/options.h"
#include "core/heap/heap.h"
#include "core/report/statistics.h"
#include "platform/clock.h"
#include "platform/file.h"
#include "platform/message.h"
#include "platform/syscall.h"

namespace gcm {
namespace {

constexpr uint64_t kMetricsInterval = 10 * clock::kSecond;

uint64_t MiB(uint64_t bytes) { return (bytes + kMiB / 2) / kMiB; }

// Milliseconds with three digits behind the point.
Message& Milliseconds(Message& m, uint64_t ns) { return m.Fixed(ns / 1000, 3); }

void AppendLine(const char* path, Message& line) {
  line.Char('\n');
  WriteSmallFile(path, WriteMode::kAppend, line.data(), line.size());
}

// Go's gctrace form. The first of each triple is the first stop of the world, the middle one what
// happened beside the program, the last all other stops.
void TraceLine(const CycleRecord& c, Message& m) {
  uint64_t now = Max<uint64_t>(c.start + c.duration, 1);
  static uint64_t spent = 0;
  spent += c.cpu;
  m.Text("gc ").Decimal(c.number).Text(" @").Fixed(c.start / clock::kMillisecond, 3).Text("s ");
  m.Decimal(spent * 100 / now).Text("%: ");
  const uint64_t beside = c.duration > c.pause_total ? c.duration - c.pause_total : 0;
  Milliseconds(m, c.pause_first).Char('+');
  Milliseconds(m, c.pause_count > 1 ? beside : 0).Char('+');
  Milliseconds(m, c.pause_total - c.pause_first).Text(" ms clock, ");
  Milliseconds(m, Min(c.cpu, c.pause_first)).Text("+0/");
  Milliseconds(m, c.cpu > c.pause_total ? c.cpu - c.pause_total : 0).Text("/0+");
  Milliseconds(m, c.pause_total - c.pause_first).Text(" ms cpu, ");
  m.Decimal(MiB(c.heap_before)).Text("->").Decimal(MiB(c.heap_after)).Text("->");
  m.Decimal(MiB(c.heap_marked)).Text(" MB, ").Decimal(MiB(c.heap_goal)).Text(" MB goal, ");
  m.Decimal(MiB(c.stacks_bytes)).Text(" MB stacks, ");
  m.Decimal(MiB(c.roots_bytes - c.stacks_bytes)).Text(" MB globals, ");
  m.Decimal(Max(c.workers, 1u)).Text(" P | reclaimed ");
  m.Decimal(MiB(c.reclaimed_bytes)).Text(" MB in ").Decimal(c.reclaimed_objects);
  m.Text(" blocks, ").Decimal(c.dirty_pages).Text(" dirty pages, ").Text(NameOf(c.dirty_source));
  if (strcmp(c.reason, "forced") == 0) m.Text(" (forced)");
  if (strcmp(c.reason, "limit") == 0) m.Text(" (limit)");
}

void TraceJson(const CycleRecord& c, Message& m) {
  m.Text("{\"cycle\":").Decimal(c.number);
  m.Text(",\"start_s\":").Fixed(c.start / clock::kMicrosecond, 6);
  m.Text(",\"reason\":\"").Text(c.reason);
  m.Text("\",\"mode\":\"collect\",\"dirty_source\":\"").Text(NameOf(c.dirty_source));
  m.Text("\",\"threads\":").Decimal(c.threads);
  m.Text(",\"minor\":").Text(c.minor ? "true" : "false");
  m.Text(",\"workers\":").Decimal(c.workers).Text(",\"pause_us\":");
  for (unsigned i = 0; i < c.pause_count; ++i) m.Char(i == 0 ? '[' : ',').Fixed(c.pauses[i], 3);
  m.Text("],\"mark_ms\":").Fixed(c.mark, 6).Text(",\"sweep_ms\":").Fixed(c.sweep, 6);
  m.Text(",\"cpu_ms\":").Fixed(c.cpu, 6);
  m.Text(",\"heap_before\":").Decimal(c.heap_before);
  m.Text(",\"heap_marked\":").Decimal(c.heap_marked);
  m.Text(",\"heap_goal\":").Decimal(c.heap_goal);
  m.Text(",\"roots_bytes\":").Decimal(c.roots_bytes);
  m.Text(",\"stacks_bytes\":").Decimal(c.stacks_bytes);
  m.Text(",\"dirty_pages\":").Decimal(c.dirty_pages);
  m.Text(",\"rescanned_bytes\":").Decimal(c.rescanned_bytes);
  m.Text(",\"marked_objects\":").Decimal(c.marked_objects);
  m.Text(",\"reclaimed_objects\":").Decimal(c.reclaimed_objects);
  m.Text(",\"reclaimed_bytes\":").Decimal(c.reclaimed_bytes);
  m.Text(",\"quarantined_bytes\":0,\"released_bytes\":").Decimal(c.released_bytes).Char('}');
}

struct Metric {
  const char* name;  // of the JSON member, and with "gcmalloc_" before it of the metric
  const char* unit;  // of OpenMetrics, a suffix of the name there; empty: none
  bool counter;
  uint64_t Statistics::*value;
  int digits;  // 0: an integer; 6, 9: nanoseconds as milliseconds, seconds
};
constexpr Metric kMetrics[] = {
    {"heap_mapped", "bytes", false, &Statistics::heap_mapped, 0},
    {"heap_used", "bytes", false, &Statistics::heap_used, 0},
    {"heap_live", "bytes", false, &Statistics::heap_live, 0},
    {"heap_released", "bytes", false, &Statistics::heap_released, 0},
    {"metadata_bytes", "bytes", false, &Statistics::metadata_bytes, 0},
    {"cycles", "", true, &Statistics::cycles, 0},
    {"gc_cpu_s", "seconds", true, &Statistics::gc_cpu, 9},
    {"allocated_bytes", "bytes", true, &Statistics::allocated_bytes, 0},
    {"allocated_objects", "", true, &Statistics::allocated_objects, 0},
    {"freed_bytes", "bytes", true, &Statistics::freed_bytes, 0},
    {"freed_objects", "", true, &Statistics::freed_objects, 0},
    {"reclaimed_bytes", "bytes", true, &Statistics::reclaimed_bytes, 0},
    {"reclaimed_objects", "", true, &Statistics::reclaimed_objects, 0},
};

void StatisticsJson(const Statistics& s, Message& m) {
  m.Text("{\"version\":\"" GCM_VERSION "\",\"mode\":\"");
  m.Text(options().mode == Mode::kOff ? "off" : "collect").Char('"');
  for (const Metric& metric : kMetrics) {
    m.Text(",\"").Text(metric.name).Text("\":").Fixed(s.*metric.value, metric.digits);
  }
  m.Text(",\"pause_us\":{\"p50\":").Fixed(s.pause_p50, 3).Text(",\"p99\":").Fixed(s.pause_p99, 3);
  m.Text(",\"p999\":").Fixed(s.pause_p999, 3).Text(",\"max\":").Fixed(s.pause_max, 3);
  m.Text(",\"total\":")
      .Fixed(s.pause_total, 3)
      .Text("},\"quarantined_bytes\":0,\"hidden_pointers\":0}");
}

bool EndsWith(const char* text, const char* end) {
  size_t n = strlen(text), k = strlen(end);
  return n >= k && memcmp(text + n - k, end, k) == 0;
}

// "heap_live" and "bytes" -> gcmalloc_heap_live_bytes; the unit is not repeated.
void MetricName(const Metric& metric, Message& m) {
  m.Text("gcmalloc_");
  size_t length = strlen(metric.name);
  if (EndsWith(metric.name, "_s")) length -= 2;
  if (metric.unit[0] != '\0' && EndsWith(metric.name, metric.unit)) {
    length -= strlen(metric.unit) + 1;
  }
  m.Text(metric.name, length);
  if (metric.unit[0] != '\0') m.Char('_').Text(metric.unit);
}

// The lines of a whole file.
struct Lines {
  char text[8 * kKiB];
  size_t size = 0;

  void Add(Message& line) {
    line.Char('\n');
    if (size + line.size() > sizeof(text)) return;
    memcpy(text + size, line.data(), line.size());
    size += line.size();
  }
};

void OpenMetrics(const Statistics& s, Lines* out) {
  for (const Metric& metric : kMetrics) {
    Message m;
    m.Text("# TYPE ");
    MetricName(metric, m);
    m.Text(metric.counter ? " counter\n" : " gauge\n");
    if (metric.unit[0] != '\0') {
      m.Text("# UNIT ");
      MetricName(metric, m);
      m.Char(' ').Text(metric.unit).Char('\n');
    }
    MetricName(metric, m);
    m.Text(metric.counter ? "_total " : " ").Fixed(s.*metric.value, metric.digits);
    out->Add(m);
  }
  Message m;
  m.Text("# TYPE gcmalloc_pause_seconds summary\n# UNIT gcmalloc_pause_seconds seconds\n");
  m.Text("gcmalloc_pause_seconds{quantile=\"0.5\"} ").Fixed(s.pause_p50, 9);
  m.Text("\ngcmalloc_pause_seconds{quantile=\"0.99\"} ").Fixed(s.pause_p99, 9);
  m.Text("\ngcmalloc_pause_seconds{quantile=\"0.999\"} ").Fixed(s.pause_p999, 9);
  m.Text("\ngcmalloc_pause_seconds_sum ").Fixed(s.pause_total, 9);
  m.Text("\ngcmalloc_pause_seconds_count ").Decimal(s.cycles).Text("\n# EOF");
  out->Add(m);
}

}  // namespace

void Ledger::TraceToFiles(const CycleRecord& cycle) {
  const Options& o = options();
  if (!o.trace_stderr && o.trace_path[0] != '\0') {
    Message line;
    TraceLine(cycle, line);
    AppendLine(o.trace_path, line);
  }
  if (o.trace_json_path[0] != '\0') {
    Message line;
    TraceJson(cycle, line);
    AppendLine(o.trace_json_path, line);
  }
}

void Ledger::TraceToStandardError(const CycleRecord& cycle) {
  if (!options().trace_stderr) return;
  Message line;
  TraceLine(cycle, line);
  line.Write(2);
}

void Ledger::TraceSkipped(const char* why) {
  const Options& o = options();
  Message line;
  line.Text("gc skipped: ").Text(why);
  if (o.trace_stderr) {
    line.Write(2);
  } else if (o.trace_path[0] != '\0') {
    AppendLine(o.trace_path, line);
  }
}

// One writer for each interval.
bool Ledger::TakeTurn(bool final, bool metrics) {
  Unstoppable unstoppable;
  LockGuard guard(lock_);
  uint64_t now = clock::Now();
  if (!final && (!metrics || now - written_at_ < kMetricsInterval)) return false;
  written_at_ = now;
  return true;
}

void Ledger::WriteStatistics(bool final) {
  const char* path = options().stats_path;
  if (path[0] == '\0') return;
  bool metrics = EndsWith(path, ".prom");
  if (!TakeTurn(final, metrics)) return;
  Statistics s = Collect();
  Lines out;
  if (!metrics) {
    Message line;
    StatisticsJson(s, line);
    out.Add(line);
    WriteSmallFile(path, WriteMode::kReplace, out.text, out.size);
    return;
  }
  // Renamed into place, so that a reader never sees half of it.
  OpenMetrics(s, &out);
  Message temporary;
  temporary.Text(path).Text(".tmp").Char('\0');
  if (!WriteSmallFile(temporary.data(), WriteMode::kReplace, out.text, out.size)) return;
  Syscall(SYS_renameat2, AT_FDCWD, temporary.data(), AT_FDCWD, path, 0);
}

}  // namespace gcm
