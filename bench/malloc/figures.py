"""From records of runs to the figures of the tables. Pure."""

import math
from dataclasses import dataclass, field
from statistics import median
from typing import List, Optional


@dataclass
class Summary:
    """Medians over the rounds that succeeded; None where nothing was measured."""
    rounds: int = 0
    wall: Optional[float] = None  # seconds
    cpu: Optional[float] = None
    peak: Optional[float] = None  # bytes
    end: Optional[float] = None   # resident when all is freed
    faults: Optional[float] = None
    failures: List[str] = field(default_factory=list)


def _median(values):
    found = [v for v in values if v is not None]
    return median(found) if found else None


def summarize(records):
    """The Summary of one workload under one allocator."""
    good = [r for r in records if not r["failure"]]
    return Summary(
        rounds=len(good), wall=_median([r.get("wall_s") for r in good]),
        cpu=_median([r["user_s"] + r["system_s"] for r in good]), peak=_median([r.get("peak_bytes") for r in good]),
        end=_median([r["printed"].get("end_bytes") for r in good]), faults=_median([r.get("faults") for r in good]),
        failures=[r["failure"] for r in records if r["failure"]])


def geometric_mean(values):
    """Of positive values; None without any."""
    found = [v for v in values if v]
    return math.exp(sum(map(math.log, found)) / len(found)) if found else None


def ratio(a, b):
    """a / b, or None."""
    return a / b if a is not None and b else None


def different_outputs(records):
    """Workloads whose programs printed different things: {workload: {sum: [allocator, ...]}}."""
    sums = {}
    for r in records:
        if r["sum"] and not r["failure"]:
            sums.setdefault(r["workload"], {}).setdefault(r["sum"], set()).add(r["allocator"])
    return {w: {s: sorted(a) for s, a in found.items()} for w, found in sums.items() if len(found) > 1}
