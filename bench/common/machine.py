"""Facts about the machine and the run, as far as they can be found out."""

import os
import subprocess
import time

from traces import read_text


def output(*command):
    """What a command prints, or ''."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace").strip()


def field(text, name):
    """The value of a `name : value` line, or ''."""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def free_bytes():
    """Memory that programs can still have."""
    words = field(read_text("/proc/meminfo"), "MemAvailable").split()
    return int(words[0]) * 1024 if words else 1 << 40


def load():
    """Runnable processes, on average of the last minutes."""
    return " ".join(read_text("/proc/loadavg").split()[:3])


def commit():
    """The commit that is checked out, and whether it is what was built."""
    here = os.path.dirname(os.path.abspath(__file__))
    name = output("git", "-C", here, "rev-parse", "--short", "HEAD")
    changed = output("git", "-C", here, "status", "--porcelain", "--untracked-files=no")
    return f"{name or 'unknown'}{' with changes' if changed else ''}"


def versions(packages):
    """Those of the C library and of installed Debian packages, in words."""
    found = [(name, output("dpkg-query", "-W", "-f", "${Version}", name)) for name in packages]
    return [os.confstr("CS_GNU_LIBC_VERSION") or "libc"] + [f"{name} {version}" for name, version in found if version]


def facts(run, what):
    """(name, value) of all that a reader needs to place the figures: the `run` in words, and the versions of `what` ran."""
    memory = field(read_text("/proc/meminfo"), "MemTotal").split()
    huge = read_text("/sys/kernel/mm/transparent_hugepage/enabled").strip()
    ours = " ".join(f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith("GCMALLOC_"))
    found = [
        ("processor", f"{field(read_text('/proc/cpuinfo'), 'model name') or os.uname().machine}, "
                      f"{len(os.sched_getaffinity(0))} cores"),
        ("memory", f"{int(memory[0]) / 1048576:.1f} GiB" if memory else "unknown"),
        ("kernel", f"{os.uname().sysname} {os.uname().release}, pages of {os.sysconf('SC_PAGE_SIZE')} bytes, huge pages: {huge}"),
        ("commit", commit()),
        ("date", time.strftime("%Y-%m-%d %H:%M %Z")),
        ("versions", ", ".join(what)),
        ("run", run),
        ("load when it began", load())]
    return found + ([("settings of the caller", ours)] if ours else [])
