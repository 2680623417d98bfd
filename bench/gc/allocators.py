"""What is compared: allocators, and workloads with their arguments. Tables; no I/O."""

from dataclasses import dataclass, field
from typing import Dict, Tuple

OURS, OFF, BDWGC, INCREMENTAL, GLIBC, GO = "gcmalloc", "gcmalloc-off", "bdwgc", "bdwgc-inc", "glibc", "go"


@dataclass(frozen=True)
class Allocator:
    """How a workload meets an allocator: which of its variants runs, and in what environment."""
    variant: str
    what: str
    environment: Dict[str, str] = field(default_factory=dict)
    preload: bool = False


ALLOCATORS = {
    OURS: Allocator("", "malloc without free, gcmalloc preloaded", {"GCMALLOC_DIRTY": "auto"}, True),
    OFF: Allocator("-free", "malloc and free, gcmalloc preloaded, GCMALLOC_MODE=off", {"GCMALLOC_MODE": "off"}, True),
    BDWGC: Allocator("-bdwgc", "GC_MALLOC, linked with libgc"),
    INCREMENTAL: Allocator("-bdwgc", "the same, GC_ENABLE_INCREMENTAL=1", {"GC_ENABLE_INCREMENTAL": "1"}),
    GLIBC: Allocator("-free", "malloc and free"),
    GO: Allocator("-go", "the same work in Go"),
}
MACHINE = "machine"  # stands where a workload has no allocator


@dataclass(frozen=True)
class Workload:
    """A program with arguments, and whom it is run with."""
    program: str
    title: str
    arguments: Tuple[str, ...]
    allocators: Tuple[str, ...]
    environment: Dict[str, str] = field(default_factory=dict)
    rounds: int = 1 << 30  # what varies little between rounds has fewer


# Look-ups for each replacement: so many that about a tenth of bdwgc's replacements at full speed is left.
TENTH_LOOKUPS = 40
# At a tenth of the rate a heap takes minutes to grow by its own size; this lets collections fall into the phase.
# Building the heap would have dozens of them: it has none (--quiet).
TENTH = {"GCMALLOC_PERCENT": "10"}
# The graph's phase lasts longer: its live heap has to be lost about once or twice for collections to fall into it.
GRAPH_FACTOR = 4
IN_C = (OURS, OFF, BDWGC, INCREMENTAL, GLIBC)
# One marker, so that rates are those of a core; only bdwgc reads it.
ONE_MARKER = {"GC_MARKERS": "1"}


def workloads(size, seconds, depth):
    """Name to Workload; `size` is that of the graph in MiB."""
    seconds_text = f"{seconds:g}"
    mark = ("--size", f"{size:g}")
    graph = mark + ("--seconds", f"{seconds * GRAPH_FACTOR:g}")
    blocks = f"{size:g} MiB of blocks without pointers, of "
    return {
        "graph": Workload("graph", f"{size:g} MiB of linked 64-byte nodes; random ones are replaced at full speed",
                          graph, IN_C + (GO,)),
        "graph-tenth": Workload("graph", f"the same with {TENTH_LOOKUPS} look-ups for each replacement, and "
                                "GCMALLOC_PERCENT=10, so that collections fall into the phase",
                                graph + ("--lookups", str(TENTH_LOOKUPS), "--quiet", "1"), (OURS, OFF), TENTH),
        "trees": Workload("trees", f"binary trees of depth {depth}", ("--depth", str(depth)), IN_C + (GO,)),
        "table": Workload("table", f"a table of pointers to small blocks, {size / 4:g} MiB in all; random slots are overwritten",
                          ("--size", f"{size / 4:g}", "--seconds", seconds_text), IN_C),
        "leak": Workload("leak", f"{size / 64:g} MiB live, 64 MiB/s lost at a steady rate, nine of ten blocks freed",
                         ("--size", f"{size / 64:g}", "--seconds", seconds_text), IN_C, rounds=2),
        "mark-linked": Workload("markrate", f"full collections of {size:g} MiB of linked 64-byte nodes", mark,
                                (OURS, BDWGC), ONE_MARKER, 2),
        "mark-64k": Workload("markrate", "full collections of " + blocks + "64 KiB",
                             mark + ("--linked", "0", "--block", "64"), (OURS, BDWGC), ONE_MARKER, 2),
        "mark-1m": Workload("markrate", "full collections of " + blocks + "1 MiB",
                            mark + ("--linked", "0", "--block", "1024"), (OURS, BDWGC), ONE_MARKER, 2),
        "limits": Workload("limits", "what a core of this machine can do", mark, (MACHINE,), rounds=2),
    }
