"""Statistics over the runs of a workload under an allocator. Pure."""

import math
import statistics
from dataclasses import dataclass, field
from typing import Dict, List, Optional


def median(values):
    """The median of what is a number; None when nothing is."""
    known = [v for v in values if v is not None]
    return statistics.median(known) if known else None


def deviation(values):
    """The median absolute deviation from the median: how far a run is from the others, half of the time."""
    middle = median(values)
    return None if middle is None else median([abs(v - middle) for v in values if v is not None])


def geometric_mean(ratios):
    """Of numbers above 0; None when there are none."""
    known = [r for r in ratios if r]
    return math.exp(sum(map(math.log, known)) / len(known)) if known else None


def ratio(above, below):
    """above / below, None where one of them is missing."""
    return above / below if above is not None and below else None


@dataclass
class Summary:
    """Medians over the runs that did not fail; the scatter of the times; reasons of those that did."""
    runs: int = 0
    wall: Optional[float] = None
    cpu: Optional[float] = None
    wall_scatter: float = 0.0
    cpu_scatter: float = 0.0
    peak: Optional[float] = None
    end: Optional[float] = None
    faults: Optional[float] = None
    instructions: Optional[int] = None
    times: Dict[str, float] = field(default_factory=dict)
    failures: List[str] = field(default_factory=list)


def _cpu(record):
    user, system = record.get("user_s"), record.get("system_s")
    return None if user is None or system is None else user + system


def summarize(records):
    """A Summary of records (runner.py) of one workload under one allocator."""
    good = [r for r in records if not r["failure"]]
    walls, cpus = [r.get("wall_s") for r in good], [_cpu(r) for r in good]
    names = [name for r in good for name in r.get("times", {})]
    return Summary(
        runs=len(good), wall=median(walls), cpu=median(cpus), wall_scatter=deviation(walls) or 0.0,
        cpu_scatter=deviation(cpus) or 0.0, peak=median([r.get("peak_bytes") for r in good]),
        end=median([r.get("end_bytes") for r in good]), faults=median([r.get("faults") for r in good]),
        instructions=next((r["instructions"] for r in records if r.get("instructions")), None),
        times={name: median([r["times"].get(name) for r in good]) for name in dict.fromkeys(names)},
        failures=[r["failure"] for r in records if r["failure"]])


def compare_outputs(records):
    """Marks as failed what printed something else than most runs of its workload did."""
    seen = {}
    for record in records:
        if not record["failure"] and record.get("output"):
            seen.setdefault(record["workload"], {}).setdefault(record["output"], []).append(record)
    for outputs in seen.values():
        usual = max(outputs, key=lambda output: len(outputs[output]))
        for output, found in outputs.items():
            for record in found if output != usual else []:
                record["failure"] = "its output differs from that of the other runs"
