"""A process that is watched until it ends, and what it leaves behind."""

import json
import os
import signal
import subprocess
import time

from proctree import ProcessTree

# Rarely: the machine has few cores, and a look disturbs what is measured.
POLL_SECONDS = 0.25
STDERR_TAIL = 400
# What steers allocators and collectors: nobody's settings reach another.
STEERING = ("GCMALLOC_", "GC_", "GLIBC_TUNABLES", "MALLOC_", "MIMALLOC_", "TCMALLOC_",
            "GOGC", "GOMEMLIMIT", "GODEBUG", "LD_PRELOAD")


def neutral_environment():
    """The caller's, without what steers allocators."""
    return {k: v for k, v in os.environ.items() if not k.startswith(STEERING)}


def watch(process, observe, limit_seconds, limit_bytes):
    """Waits for the end; kills what takes too long or too much, and says why. `observe(elapsed, resident)` is called
    now and then."""
    begin, tree, reason = time.monotonic(), ProcessTree(process.pid), None
    try:
        while True:
            try:
                process.wait(POLL_SECONDS)
                return reason
            except subprocess.TimeoutExpired:
                pass
            elapsed, resident = time.monotonic() - begin, tree.sample()
            observe(elapsed, resident)
            if elapsed > limit_seconds:
                reason = f"killed after {elapsed:.0f} s"
            elif resident > limit_bytes:
                reason = f"killed at {resident >> 20} MiB"
            if reason:
                end(process)
    except BaseException:
        end(process)
        process.wait()
        raise


def end(process):
    """Kills the process and all that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def parse_object(data):
    """The object on the last line, {} when there is none."""
    lines = data.decode(errors="replace").splitlines()
    try:
        found = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def ended_badly(record, stderr, silent):
    """Why the figures of a run do not count, by how it ended and what it said, or None. `silent`: it printed nothing
    where it should have."""
    tail = f": {stderr.strip()[-STDERR_TAIL:]}" if stderr.strip() else ""
    status = record.get("status")
    if status is None:
        return "did not end by itself" + tail
    if status < 0:
        return f"ended by signal {-status}" + tail
    if status:
        return f"exit status {status}" + tail
    return "printed nothing" + tail if silent else None
