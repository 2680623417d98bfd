#include "core/base/options.h"

#include <cstring>

#include "platform/file.h"
#include "platform/message.h"

namespace gcm {
namespace {

Options g_options;

bool Equal(const char* a, const char* b) { return strcmp(a, b) == 0; }

bool ParseNumber(const char* text, uint64_t max, uint64_t* value) {
  const char* p = text;
  uint64_t v;
  if (!ParseDecimal(&p, &v) || *p != '\0' || v > max) return false;
  *value = v;
  return true;
}

bool ParseFlag(const char* text, bool* value) {
  uint64_t v;
  if (!ParseNumber(text, 1, &v)) return false;
  *value = v == 1;
  return true;
}

bool ParsePath(const char* text, char (&path)[512]) {
  size_t length = strlen(text);
  if (length >= sizeof(path)) return false;
  memcpy(path, text, length + 1);
  return true;
}

// Each parser returns false when the value cannot be understood.
bool SetMode(const char* v, Options* o) {
  if (Equal(v, "collect")) {
    o->mode = Mode::kCollect;
  } else if (Equal(v, "off")) {
    o->mode = Mode::kOff;
  } else {
    return false;
  }
  return true;
}
bool SetPercent(const char* v, Options* o) {
  if (Equal(v, "off")) {
    o->percent = Options::kOff;
    return true;
  }
  return ParseNumber(v, 1'000'000, &o->percent);
}
bool SetLimit(const char* v, Options* o) {
  if (Equal(v, "auto")) {
    o->limit = Options::kAutoLimit;
  } else if (Equal(v, "off")) {
    o->limit = SIZE_MAX;
  } else {
    size_t size;
    if (!ParseSize(v, &size) || size == 0) return false;
    o->limit = size;
  }
  return true;
}
bool SetInterval(const char* v, Options* o) { return ParseNumber(v, 1'000'000'000, &o->interval); }
bool SetScavenge(const char* v, Options* o) {
  if (Equal(v, "off")) {
    o->scavenge = Options::kOff;
    return true;
  }
  return ParseDuration(v, &o->scavenge);
}
bool SetHugePages(const char* v, Options* o) {
  o->huge_pages = Equal(v, "on")    ? HugePageChoice::kOn
                  : Equal(v, "off") ? HugePageChoice::kOff
                                    : HugePageChoice::kAuto;
  return o->huge_pages != HugePageChoice::kAuto || Equal(v, "auto");
}
bool SetAlign(const char* v, Options* o) {
  uint64_t n;
  if (Equal(v, "word")) {
    o->align = 8;
    return true;
  }
  if (!ParseNumber(v, 8, &n) || (n != 8 && n != 4 && n != 1)) return false;
  o->align = static_cast<unsigned>(n);
  return true;
}
bool SetForeign(const char* v, Options* o) {
  o->ignore_foreign = Equal(v, "ignore");
  return o->ignore_foreign || Equal(v, "abort");
}
bool SetPoison(const char* v, Options* o) { return ParseFlag(v, &o->poison); }
bool SetVerbose(const char* v, Options* o) { return ParseFlag(v, &o->verbose); }
bool SetStress(const char* v, Options* o) { return ParseNumber(v, UINT64_MAX - 1, &o->stress); }
bool SetCheckmark(const char* v, Options* o) { return ParseFlag(v, &o->checkmark); }
bool SetDirty(const char* v, Options* o) {
  constexpr DirtySource kSources[] = {DirtySource::kAuto, DirtySource::kUffd,
                                      DirtySource::kSoftDirty, DirtySource::kMprotect,
                                      DirtySource::kNone};
  for (DirtySource source : kSources) {
    if (!Equal(v, NameOf(source))) continue;
    o->dirty = source;
    return true;
  }
  return false;
}
bool SetWorkers(const char* v, Options* o) {
  uint64_t n;
  if (!ParseNumber(v, 1024, &n)) return false;
  o->workers = static_cast<unsigned>(n);
  return true;
}
bool SetTrace(const char* v, Options* o) {
  o->trace_stderr = Equal(v, "1");
  o->trace_path[0] = '\0';
  if (o->trace_stderr || Equal(v, "0") || Equal(v, "off")) return true;
  return ParsePath(v, o->trace_path);
}
bool SetTraceJson(const char* v, Options* o) {
  return Equal(v, "off") || ParsePath(v, o->trace_json_path);
}
bool SetStats(const char* v, Options* o) { return Equal(v, "off") || ParsePath(v, o->stats_path); }

struct Variable {
  const char* name;
  bool (*set)(const char* value, Options* options);
  const char* fallback;  // what is used when the value is bad
};
constexpr Variable kVariables[] = {
    {"MODE", SetMode, "collect"},     {"PERCENT", SetPercent, "100"},
    {"LIMIT", SetLimit, "auto"},      {"INTERVAL", SetInterval, "120"},
    {"SCAVENGE", SetScavenge, "10s"}, {"ALIGN", SetAlign, "4"},
    {"FOREIGN", SetForeign, "abort"}, {"POISON", SetPoison, "0"},
    {"VERBOSE", SetVerbose, "0"},     {"STRESS", SetStress, "0"},
    {"TRACE", SetTrace, "off"},       {"TRACE_JSON", SetTraceJson, "off"},
    {"STATS", SetStats, "off"},       {"DIRTY", SetDirty, "auto"},
    {"CHECKMARK", SetCheckmark, "0"}, {"WORKERS", SetWorkers, "a quarter of the processors"},
    {"THP", SetHugePages, "auto"},
};
// Names of the contract that this version knows, and that change nothing in it yet.
constexpr const char* kWithoutEffect[] = {"STACKS", "REPORT", "CONTROL"};

void ReadEntry(const char* name, size_t length, const char* value, Options* out) {
  Message line;
  for (const Variable& v : kVariables) {
    if (strlen(v.name) != length || memcmp(v.name, name, length) != 0) continue;
    Options before = *out;
    if (v.set(value, out)) return;
    *out = before;
    line.Text("gcmalloc: GCMALLOC_").Text(v.name).Text("=").Text(value);
    if (Equal(v.name, "MODE") && (Equal(value, "guard") || Equal(value, "report"))) {
      line.Text(": this version does not have that mode");
    } else {
      line.Text(": cannot understand the value");
    }
    line.Text(", using ").Text(v.fallback).Write(2);
    return;
  }
  line.Text("gcmalloc: GCMALLOC_").Text(name, length);
  for (const char* known : kWithoutEffect) {
    if (strlen(known) == length && memcmp(known, name, length) == 0) {
      line.Text("=")
          .Text(value)
          .Text(": has no effect in this version, the default is used")
          .Write(2);
      return;
    }
  }
  line.Text("=").Text(value).Text(": unknown name, ignored").Write(2);
}

}  // namespace

Options& options() { return g_options; }

void ReadEnvironment(char** environment, Options* out) {
  constexpr char kPrefix[] = "GCMALLOC_";
  constexpr size_t kPrefixLength = sizeof(kPrefix) - 1;
  if (environment == nullptr) return;
  for (char** entry = environment; *entry != nullptr; ++entry) {
    // Looked at here first: it is another variable nearly always, and what is not called of libc
    // when a program starts need not be mapped.
    if (**entry != kPrefix[0] || strncmp(*entry, kPrefix, kPrefixLength) != 0) continue;
    const char* name = *entry + kPrefixLength;
    const char* equals = strchr(name, '=');
    if (equals == nullptr || equals[1] == '\0') continue;  // empty: as if not set
    ReadEntry(name, static_cast<size_t>(equals - name), equals + 1, out);
  }
}

bool ParseSize(const char* text, size_t* size) {
  const char* p = text;
  uint64_t value;
  if (!ParseDecimal(&p, &value)) return false;
  unsigned shift = 0;
  switch (*p) {
    case 'K':
    case 'k':
      shift = 10;
      break;
    case 'M':
    case 'm':
      shift = 20;
      break;
    case 'G':
    case 'g':
      shift = 30;
      break;
    case 'T':
    case 't':
      shift = 40;
      break;
    default:
      break;
  }
  if (shift != 0) ++p;
  if (p[0] == 'i' && p[1] == 'B' && shift != 0) ++p;
  if (*p == 'B') ++p;
  if (*p != '\0' || value > (UINT64_MAX >> shift)) return false;
  *size = value << shift;
  return true;
}

bool ParseDuration(const char* text, uint64_t* nanoseconds) {
  const char* p = text;
  uint64_t value, unit;
  if (!ParseDecimal(&p, &value)) return false;
  if (*p == '\0' || Equal(p, "s")) {
    unit = 1'000'000'000;
  } else if (Equal(p, "ms")) {
    unit = 1'000'000;
  } else if (Equal(p, "us")) {
    unit = 1'000;
  } else if (Equal(p, "m")) {
    unit = 60'000'000'000;
  } else if (Equal(p, "h")) {
    unit = 3'600'000'000'000;
  } else {
    return false;
  }
  if (value > UINT64_MAX / unit / 2) return false;
  *nanoseconds = value * unit;
  return true;
}

}  // namespace gcm
