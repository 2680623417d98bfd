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


def bindings(text, symbol):
    """(who, whereto) of every binding of the symbol, of the linker's output."""
    pattern = r"binding file (.+?) \[\d+\] to (.+?) \[\d+\]: normal symbol [`']" + re.escape(symbol) + r"'"
    return {(os.path.realpath(who), os.path.realpath(whereto)) for who, whereto in re.findall(pattern, text)}


def bound_to(command, environment, symbol, folder):
    """The bindings of the symbol in the command and in what it started."""
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
            found |= bindings(file.read(), symbol)
        os.unlink(path)
    return found


def objection(found, wanted):
    """Why a row would not measure what it says, or None. `wanted` is the one file that all may be bound to; or to a program
    that is itself bound there: the address of malloc is that of an entry in its procedure linkage table then."""
    wanted = os.path.realpath(wanted)
    led_there = {who for who, whereto in found if whereto == wanted}
    others = {whereto for _, whereto in found} - {wanted} - led_there
    if not found:
        return "the program takes its malloc from no shared library"
    if others:
        return f"malloc is that of {', '.join(sorted(map(os.path.basename, others)))}"
    return None
