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


# Look-ups for each replacement: so many that a tenth of the full number of replacements is left.
TENTH_LOOKUPS = 16
IN_C = (OURS, OFF, BDWGC, INCREMENTAL, GLIBC)
# One marker, so that rates are those of a core; only bdwgc reads it.
ONE_MARKER = {"GC_MARKERS": "1"}


def workloads(size, seconds, depth):
    """Name to Workload; `size` is that of the graph in MiB."""
    size_text, seconds_text = f"{size:g}", f"{seconds:g}"
    graph = ("--size", size_text, "--seconds", seconds_text)
    mark = ("--size", size_text)
    blocks = f"{size:g} MiB of blocks without pointers, of "
    return {
        "graph": Workload("graph", f"{size:g} MiB of linked 64-byte nodes; random ones are replaced at full speed",
                          graph, IN_C + (GO,)),
        "graph-tenth": Workload("graph", f"the same with {TENTH_LOOKUPS} look-ups for each replacement",
                                graph + ("--lookups", str(TENTH_LOOKUPS)), (OURS, OFF)),
        "trees": Workload("trees", f"binary trees of depth {depth}", ("--depth", str(depth)), IN_C + (GO,)),
        "table": Workload("table", f"a table of pointers to small blocks, {size / 4:g} MiB in all; random slots are overwritten",
                          ("--size", f"{size / 4:g}", "--seconds", seconds_text), IN_C),
        "leak": Workload("leak", f"{size / 64:g} MiB live, 64 MiB/s lost at a steady rate, nine of ten blocks freed",
                         ("--size", f"{size / 64:g}", "--seconds", seconds_text), IN_C),
        "mark-linked": Workload("markrate", f"full collections of {size:g} MiB of linked 64-byte nodes", mark,
                                (OURS, BDWGC), ONE_MARKER),
        "mark-64k": Workload("markrate", "full collections of " + blocks + "64 KiB",
                             mark + ("--linked", "0", "--block", "64"), (OURS, BDWGC), ONE_MARKER),
        "mark-1m": Workload("markrate", "full collections of " + blocks + "1 MiB",
                            mark + ("--linked", "0", "--block", "1024"), (OURS, BDWGC), ONE_MARKER),
        "limits": Workload("limits", "what a core of this machine can do", mark, (MACHINE,)),
    }
