"""Instructions that a pattern executes, counted by callgrind on a small share of its work.

They are of the whole process, from the dynamic linker to the end, and of one run: a count hardly varies. Cycles start at
moments that callgrind shifts, and run beside the program where it knows no beside: gcmalloc is counted without them.
"""

import re
import subprocess

from allocators import ALLOCATORS

LIMIT_SECONDS = 120
NO_CYCLES = {"GCMALLOC_PERCENT": "off", "GCMALLOC_INTERVAL": "0"}


def parse(text):
    """The number that callgrind collected, or None."""
    found = re.search(r"Collected : (\d+)", text)
    return int(found.group(1)) if found else None


def count(runner, workload, allocator):
    """Instructions, or None where callgrind cannot count them."""
    valgrind = runner.tool("valgrind")
    if not valgrind or not workload.counted:
        return None
    environment = dict(runner.environment(workload, allocator), **NO_CYCLES)
    if ALLOCATORS[allocator].library:
        environment["LD_PRELOAD"] = runner.library(allocator)
    command = [valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null", runner.binary(workload, allocator), "--scale",
               f"{workload.counted:g}"]
    try:
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, timeout=LIMIT_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return parse(done.stderr.decode(errors="replace")) if done.returncode == 0 else None
