"""Statistics over the rounds of a workload under an allocator. Pure.

A distribution is a list of (value, count). Rounds are pooled: a percentile is over all stops, or
all pieces of work, of all rounds. Rates, times and peaks are medians over the rounds; mark rates are
the best collection's, since the machine's limit that they are held against is the best stretch's.
"""

import statistics
from dataclasses import dataclass, field
from typing import Dict, List, Optional, Tuple

from traces import stops

PERCENTS = (50, 99, 99.9, 100)


def number(mapping, key):
    """A number, or None."""
    value = mapping.get(key)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def pairs(entry, scale=1.0):
    """A distribution from JSON; what is not a pair of numbers is left out."""
    found = []
    for pair in entry if isinstance(entry, list) else []:
        if isinstance(pair, list) and len(pair) == 2 and all(isinstance(n, (int, float)) for n in pair):
            found.append((pair[0] * scale, pair[1]))
    return found


def percentile(distribution, percent):
    """Nearest-rank percentile; None when there is nothing. 100 is the highest."""
    ordered = sorted(distribution)
    total = sum(count for _, count in ordered)
    seen = 0
    for value, count in ordered:
        seen += count
        if seen >= percent / 100 * total - 1e-9 * total:
            return value
    return None


def percentiles(distribution):
    """Those of PERCENTS."""
    return tuple(percentile(distribution, p) for p in PERCENTS)


def measured_cycles(record):
    """The collections that were not over when the measured phase began."""
    begin = number(record["printed"], "begin_s") or 0.0

    def end(cycle):
        return (number(cycle, "start_s") or 0.0) + ((number(cycle, "mark_ms") or 0) + (number(cycle, "sweep_ms") or 0)) / 1e3
    return [c for c in record["cycles"] if end(c) >= begin]


def pauses_us(record):
    """The stops of the world during the phase, in microseconds: from our trace, or as the workload saw them."""
    if record["cycles"]:
        return [(p, 1) for p in stops(measured_cycles(record))]
    return pairs(record["printed"].get("pause_ns"), 1e-3)


def stalls_us(record):
    """Durations of pieces of work, in microseconds."""
    return pairs(record["printed"].get("stall_ns"), 1e-3)


def mark_rates(record, allocator_is_ours):
    """For each full collection (objects/s, bytes/s, objects per CPU second, bytes per CPU second).

    Ours: what the trace says of marking, for each of its workers. Others: all of a collection, by
    one marker, of what the workload holds.
    """
    printed, found = record["printed"], []
    held = number(printed, "objects"), number(printed, "bytes")
    spent = pairs(printed.get("collections"))
    if not all(held) or not spent:
        return []
    cycles = [c for c in measured_cycles(record) if number(c, "mark_ms")]
    if not allocator_is_ours:
        return [(held[0] / wall, held[1] / wall, held[0] / cpu, held[1] / cpu) for wall, cpu in spent if wall > 0 and cpu > 0]
    cpu = statistics.median(c for _, c in spent)
    for cycle in cycles[-len(spent):]:
        seconds = cycle["mark_ms"] / 1e3 * max(1, number(cycle, "workers") or 1)
        objects, size = number(cycle, "marked_objects") or 0, number(cycle, "heap_marked") or 0
        found.append((objects / seconds, size / seconds, objects / cpu if cpu else 0, size / cpu if cpu else 0))
    return found


@dataclass
class Summary:
    """All rounds of a workload under an allocator; None where nothing was measured."""
    rounds: int = 0
    failures: List[str] = field(default_factory=list)
    ops_per_s: Optional[float] = None
    seconds: Optional[float] = None
    phase_cpu_s: Optional[float] = None
    wall_s: Optional[float] = None
    cpu_s: Optional[float] = None
    peak: Optional[float] = None
    live: Optional[float] = None
    cycles: Optional[float] = None
    stops: int = 0
    pauses: Tuple = (None,) * len(PERCENTS)
    stalls: Tuple = (None,) * len(PERCENTS)
    worst_stalls: List[float] = field(default_factory=list)
    dirty_source: str = ""
    rates: Tuple = (None,) * 4
    limits: Dict[str, float] = field(default_factory=dict)

    def ratio_to_live(self):
        """Peak memory against what is alive."""
        return self.peak / self.live if self.peak and self.live else None


def middle(values):
    """The median of what is there."""
    present = [v for v in values if v is not None]
    return statistics.median(present) if present else None


def summarize(records, ours=False):
    """The Summary of all records of one cell; runs that failed count only as failures."""
    good = [r for r in records if not r["failure"]]
    summary = Summary(rounds=len(good), failures=[r["failure"] for r in records if r["failure"]])
    if not good:
        return summary
    printed = [r["printed"] for r in good]
    for name in ("ops_per_s", "seconds"):
        setattr(summary, name, middle(number(p, name) for p in printed))
    summary.phase_cpu_s = middle(number(p, "cpu_s") for p in printed)
    summary.live = middle(number(p, "live_bytes") for p in printed)
    summary.wall_s = middle(number(r, "wall_s") for r in good)
    summary.cpu_s = middle((number(r, "user_s") or 0) + (number(r, "system_s") or 0) for r in good)
    summary.peak = middle(number(r, "peak_bytes") for r in good)
    pauses = [p for r in good for p in pauses_us(r)]
    summary.stops, summary.pauses = int(sum(n for _, n in pauses)), percentiles(pauses)
    summary.stalls = percentiles([s for r in good for s in stalls_us(r)])
    summary.worst_stalls = [max(v for v, _ in stalls_us(r)) for r in good if stalls_us(r)]
    if any(r["cycles"] for r in good):
        summary.cycles = middle(len(measured_cycles(r)) for r in good)
        summary.dirty_source = "/".join(sorted({str(c["dirty_source"]) for r in good for c in measured_cycles(r)
                                                if c.get("dirty_source")}))
    rates = [rate for r in good for rate in mark_rates(r, ours)]
    if rates:
        summary.rates = tuple(max(column) for column in zip(*rates))
    for name in ("objects_per_s", "bytes_per_s"):
        values = [number(p, name) for p in printed if number(p, name)]
        if values:
            summary.limits[name] = max(values)
    return summary
