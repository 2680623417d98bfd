"""What is run: the micro benchmarks, the patterns, the real programs. Tables; no I/O."""

from dataclasses import dataclass
from typing import Dict, Optional

from allocators import ALLOCATORS, MICRO, PATTERNS, PROGRAMS
from programs import PROGRAM_TABLE, Program


@dataclass(frozen=True)
class Workload:
    """One row. `counted` is the share of its work that callgrind counts instructions of, 0 for none."""
    name: str
    family: str
    title: str
    counted: float = 0.0
    program: Optional[Program] = None


# (name, title, share that is counted). Where threads wait for one another by turns, a count says nothing: callgrind runs
# one thread at a time.
_PATTERNS = (
    ("larson", "server: random replacement, tables handed from thread to thread", 0.015),
    ("sh6", "mixed lifetimes, runs of one size, two threads", 0.005),
    ("sh8", "mixed lifetimes, random sizes, an eighth freed by the other thread", 0.02),
    ("xmalloc", "one thread allocates, another frees", 0.03),
    ("cache-scratch", "passive false sharing", 0),
    ("cache-thrash", "active false sharing", 0),
    ("mstress", "threads come and go, blocks change hands and stay", 0.03),
    ("rptest", "sizes up to 16000, half of the frees by the neighbour", 0.05),
    ("alloc-test", "random slots, Pareto; all memory written", 0.02),
    ("glibc-simple", "batches of one size", 0.01),
    ("glibc-thread", "random replacement in a small working set, two threads", 0.01),
    ("malloc-large", "twenty blocks of 5 to 25 MiB, replaced at random", 0.1),
    ("mleak", "thread births, and what they leave behind", 0.02),
    ("cfrac", "factoring by continued fractions: small numbers as blocks", 0.003),
    ("espresso", "logic minimization: covers of small cubes", 0.008),
)

WORKLOADS: Dict[str, Workload] = {w.name: w for w in (
    [Workload("micro", MICRO, "operations one by one")]
    + [Workload(name, PATTERNS, title, counted) for name, title, counted in _PATTERNS]
    + [Workload(p.name, PROGRAMS, p.title, program=p) for p in PROGRAM_TABLE])}


# Without these nothing can be built; of the others each is skipped, by its name, where it cannot be installed.
BUILD_PACKAGES = ("libbenchmark-dev", "libgc-dev", "libjemalloc-dev")


def packages():
    """Debian's names of all that is run."""
    names = ["valgrind", *BUILD_PACKAGES] + [a.package for a in ALLOCATORS.values()] + [p.package for p in PROGRAM_TABLE]
    return sorted({name for name in names if name})
