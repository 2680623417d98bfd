"""What is compared: allocators, and how a program meets them. Tables; no I/O but looking for files."""

import ctypes.util
import glob
import os
from dataclasses import dataclass, field
from typing import Dict

OURS, OFF, GLIBC, BDWGC = "gcmalloc", "gcmalloc-off", "glibc", "bdwgc"
LINKED = ("gcmalloc-linked", "jemalloc-linked")


@dataclass(frozen=True)
class Allocator:
    """`library`: what is preloaded, a name of the dynamic linker's, "" for none. `variant`: which program of a
    pattern runs; only patterns have variants."""
    what: str
    library: str = ""
    variant: str = ""
    environment: Dict[str, str] = field(default_factory=dict)
    plain: bool = False  # a malloc without a collector: a peer


ALLOCATORS = {
    OURS: Allocator("gcmalloc preloaded, collecting", "gcmalloc"),
    OFF: Allocator("the same, GCMALLOC_MODE=off", "gcmalloc", environment={"GCMALLOC_MODE": "off"}),
    GLIBC: Allocator("the C library's malloc", plain=True),
    "jemalloc": Allocator("libjemalloc2 preloaded", "libjemalloc.so.2", plain=True),
    "mimalloc": Allocator("libmimalloc2.0 preloaded", "libmimalloc.so.2.0", plain=True),
    "tcmalloc": Allocator("libtcmalloc-minimal4 preloaded", "libtcmalloc_minimal.so.4", plain=True),
    LINKED[0]: Allocator("patterns linked with libgcmalloc.a", variant="-gcmalloc"),
    LINKED[1]: Allocator("patterns linked with libjemalloc", variant="-jemalloc"),
    BDWGC: Allocator("patterns that call GC_MALLOC and GC_FREE", variant="-bdwgc"),
}
PEERS = [name for name, a in ALLOCATORS.items() if a.plain]


def find_library(name, ours):
    """The file that is to be preloaded; None: it is not installed."""
    if name == "gcmalloc":
        return os.path.realpath(ours)
    found = [p for folder in ("/usr/lib/*-linux-gnu*", "/usr/lib", "/usr/lib64", "/usr/local/lib")
             for p in sorted(glob.glob(os.path.join(folder, name)))]
    return os.path.realpath(found[0]) if found else ctypes.util.find_library(name)
