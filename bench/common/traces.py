"""Reads what gcmalloc says about its collections: the JSON trace and the statistics file.

Both may be missing, empty or cut short by a crash; whatever cannot be read is left out, and
figures without a source are None. Several processes may append to one trace (each restarts its
cycle count); the statistics file holds only the process that exited last, so sums come from the
trace where there is one.
"""

import json
from dataclasses import dataclass
from typing import Optional

from units import percentile


@dataclass
class GcFigures:
    """Totals over all collections of a run; None where nothing was written."""
    collections: Optional[int] = None
    reclaimed_bytes: Optional[int] = None
    reclaimed_objects: Optional[int] = None
    stops: Optional[int] = None
    pause_p50_us: Optional[float] = None
    pause_p99_us: Optional[float] = None
    pause_max_us: Optional[float] = None
    pause_total_us: Optional[float] = None
    gc_cpu_s: Optional[float] = None
    dirty_source: Optional[str] = None


def read_text(path):
    """Content of a file, '' when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def parse_trace(text):
    """The JSON objects of a trace, one a line; lines that are not one are skipped."""
    cycles = []
    for line in text.splitlines():
        try:
            cycle = json.loads(line)
        except ValueError:
            continue
        if isinstance(cycle, dict):
            cycles.append(cycle)
    return cycles


def parse_stats(text):
    """The statistics object, {} when there is none."""
    try:
        stats = json.loads(text)
    except ValueError:
        return {}
    return stats if isinstance(stats, dict) else {}


def _number(mapping, key):
    value = mapping.get(key)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def stops(cycles):
    """Every stop of the world in every cycle, in microseconds."""
    pauses = []
    for cycle in cycles:
        entry = cycle.get("pause_us")
        pauses.extend(p for p in (entry if isinstance(entry, list) else [entry])
                      if isinstance(p, (int, float)))
    return pauses


def _from_trace(cycles):
    pauses = stops(cycles)
    return GcFigures(
        collections=len(cycles),
        reclaimed_bytes=sum(_number(c, "reclaimed_bytes") or 0 for c in cycles),
        reclaimed_objects=sum(_number(c, "reclaimed_objects") or 0 for c in cycles),
        stops=len(pauses),
        pause_p50_us=percentile(pauses, 50),
        pause_p99_us=percentile(pauses, 99),
        pause_max_us=max(pauses, default=None),
        pause_total_us=sum(pauses) if pauses else None,
        dirty_source=next((c["dirty_source"] for c in cycles
                           if isinstance(c.get("dirty_source"), str)), None))


def _from_stats(stats):
    pauses = stats.get("pause_us")
    pauses = pauses if isinstance(pauses, dict) else {}
    return GcFigures(
        collections=_number(stats, "cycles"),
        reclaimed_bytes=_number(stats, "reclaimed_bytes"),
        reclaimed_objects=_number(stats, "reclaimed_objects"),
        pause_p50_us=_number(pauses, "p50"),
        pause_p99_us=_number(pauses, "p99"),
        pause_max_us=_number(pauses, "max"),
        pause_total_us=_number(pauses, "total"))


def summarize(cycles, stats):
    """GcFigures from the trace; from the statistics when the trace holds no cycle."""
    figures = _from_trace(cycles) if cycles else _from_stats(stats)
    figures.gc_cpu_s = _number(stats, "gc_cpu_s")
    return figures


def load(trace_path, stats_path):
    """GcFigures of the run that wrote these two files."""
    return summarize(parse_trace(read_text(trace_path)), parse_stats(read_text(stats_path)))
