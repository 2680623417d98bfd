"""What is compared: allocators, and how a program meets each. Tables; no I/O."""

from dataclasses import dataclass, field
from typing import Dict, Optional, Tuple

MICRO, PATTERNS, PROGRAMS = FAMILIES = "micro", "patterns", "programs"
OURS, OFF, GLIBC, JEMALLOC, MIMALLOC, TCMALLOC = "collect", "off", "glibc", "jemalloc", "mimalloc", "tcmalloc"
OURS_LINKED, JEMALLOC_LINKED, BDWGC = "collect-linked", "jemalloc-linked", "bdwgc"
# The plain mallocs that gcmalloc is held against; the others of them than glibc, which is everybody's measure.
PLAIN = (GLIBC, JEMALLOC, MIMALLOC, TCMALLOC)
PEERS = (JEMALLOC, MIMALLOC, TCMALLOC)

FOREVER = 1 << 30


@dataclass(frozen=True)
class Allocator:
    """`library` is preloaded (`LIBRARY`: the one that is measured); `variant` is the ending of the programs that are
    built for it. `symbol` is what a program takes from it: the proof that it does is whereto that is bound."""
    what: str
    library: Optional[str] = None
    variant: str = ""
    package: str = ""
    symbol: str = "malloc"
    environment: Dict[str, str] = field(default_factory=dict)
    families: Tuple[str, ...] = FAMILIES
    rounds: int = FOREVER  # what no goal is about has fewer


LIBRARY = "libgcmalloc.so"
ALLOCATORS = {
    OURS: Allocator("gcmalloc, preloaded", LIBRARY),
    OFF: Allocator("gcmalloc, preloaded, GCMALLOC_MODE=off", LIBRARY, environment={"GCMALLOC_MODE": "off"}),
    # Preloaded like the others: a program may bring another malloc of its own (Debian's redis does).
    GLIBC: Allocator("glibc's malloc, libc preloaded", "libc.so.6"),
    JEMALLOC: Allocator("jemalloc, preloaded", "libjemalloc.so.2", package="libjemalloc2"),
    MIMALLOC: Allocator("mimalloc, preloaded", "libmimalloc.so.2", package="libmimalloc2.0"),
    TCMALLOC: Allocator("gperftools' tcmalloc (minimal), preloaded", "libtcmalloc_minimal.so.4",
                        package="libtcmalloc-minimal4"),
    OURS_LINKED: Allocator("gcmalloc, linked: libgcmalloc.a", variant="-gcmalloc", families=(MICRO, PATTERNS), rounds=2),
    JEMALLOC_LINKED: Allocator("jemalloc, linked: libjemalloc_pic.a", variant="-jemalloc", package="libjemalloc-dev",
                               families=(MICRO, PATTERNS), rounds=2),
    BDWGC: Allocator("bdwgc, linked: GC_MALLOC and GC_FREE", variant="-bdwgc", package="libgc-dev", symbol="GC_malloc",
                     families=(PATTERNS,), rounds=2),
}
