"""Where the allocators' libraries are, and whether a program really takes its malloc from one.

The proof is the dynamic linker's own word: started with LD_DEBUG=bindings it tells for every symbol whereto it bound it.
It is asked once for each workload and allocator, before the series: without it a row might silently measure glibc.
"""

import glob
import os
import re
import subprocess
import sysconfig

from watched import neutral_environment

FOLDERS = [f"/usr/lib/{sysconfig.get_config_var('MULTIARCH') or 'x86_64-linux-gnu'}", "/usr/lib/x86_64-linux-gnu",
           "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"]
PROBE_SECONDS = 60


def find(name):
    """The path of a library of the system, or None."""
    return next((os.path.join(folder, name) for folder in FOLDERS if os.path.exists(os.path.join(folder, name))), None)


def targets(text, symbol):
    """The files that the symbol was bound to, of the linker's output."""
    pattern = r"binding file .+? \[\d+\] to (.+?) \[\d+\]: normal symbol [`']" + re.escape(symbol) + r"'"
    return set(re.findall(pattern, text))


def bound_to(command, environment, symbol, folder):
    """The files that the symbol was bound to in the command and in what it started."""
    prefix = os.path.join(folder, "bindings")
    merged = dict(environment, LD_DEBUG="bindings", LD_BIND_NOW="1", LD_DEBUG_OUTPUT=prefix)
    try:
        subprocess.run(command, env=merged, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       timeout=PROBE_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        pass
    found = set()
    for path in glob.glob(glob.escape(prefix) + ".*"):
        with open(path, encoding="utf-8", errors="replace") as file:
            found |= targets(file.read(), symbol)
        os.unlink(path)
    return found


def objection(found, wanted):
    """Why a row would not measure what it says, or None. `wanted` is the one file that all may be bound to."""
    others = {os.path.realpath(path) for path in found} - {os.path.realpath(wanted)}
    if not found:
        return "the program takes its malloc from no shared library"
    if others:
        return f"malloc is {', '.join(sorted(map(os.path.basename, others)))}'s"
    return None
