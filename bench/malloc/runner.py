"""Runs one workload under one allocator, and collects what it shows."""

import hashlib
import json
import os
import signal
import subprocess
import time

from allocators import ALLOCATORS, find_library
from patterns import PATTERNS
from programs import PROGRAMS

POLL_SECONDS = 0.2
STDERR_TAIL = 300
STEERING = ("GCMALLOC_", "GC_", "GLIBC_TUNABLES", "MALLOC_", "MIMALLOC_", "TCMALLOC_", "LD_PRELOAD")


class Runner:
    """Knows the library and the programs; its runs use one folder, one after another."""

    def __init__(self, library, programs, folder, limit_seconds, scale):
        self._programs, self._folder = os.path.abspath(programs), folder
        self._limit_seconds, self._scale = limit_seconds, scale
        self._preloads = {}
        for name, allocator in ALLOCATORS.items():
            found = find_library(allocator.library, library) if allocator.library else ""
            if found is not None:
                self._preloads[name] = found

    def why_not(self, workload, allocator):
        """Why the workload cannot run under the allocator; None: it can."""
        if allocator not in self._preloads:
            return "not installed"
        if ALLOCATORS[allocator].variant and workload in PROGRAMS:
            return "patterns only"
        if workload in PATTERNS and not os.path.exists(self.command(workload, allocator)[0]):
            return "not built"
        return None

    def command(self, workload, allocator):
        """What runs, with absolute paths."""
        if workload in PATTERNS:
            return [os.path.join(self._programs, workload + ALLOCATORS[allocator].variant), f"{self._scale:g}"]
        command = PROGRAMS[workload].command(self._folder)
        return [which(command[0])] + command[1:]

    def environment(self, workload, allocator):
        """The caller's, without what steers allocators; gcmalloc sees the caller's settings for it."""
        merged = {k: v for k, v in os.environ.items() if not k.startswith(STEERING)}
        merged["LC_ALL"] = "C"
        if workload in PROGRAMS:
            merged.update(PROGRAMS[workload].environment)
        if allocator.startswith("gcmalloc"):
            merged.update((k, v) for k, v in os.environ.items() if k.startswith("GCMALLOC_"))
        merged.update(ALLOCATORS[allocator].environment)
        if self._preloads[allocator]:
            merged["BENCH_PRELOAD"] = self._preloads[allocator]
        return merged

    def is_inside(self, workload, allocator):
        """Whether the allocator's library is in the process: asked of the dynamic linker."""
        library = self._preloads[allocator]
        if not library:
            return True
        environment = self.environment(workload, allocator)
        environment.pop("BENCH_PRELOAD")
        environment.update(LD_PRELOAD=library, LD_TRACE_LOADED_OBJECTS="1")
        done = subprocess.run(self.command(workload, allocator)[:1], env=environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20, check=False)
        return library.encode() in done.stdout

    def run(self, workload, allocator, observe):
        """A dictionary: measures of `spawn`, what a pattern `printed`, a `sum` of a program's output, and
        `failure`, None when all went well. `observe(elapsed)` is called now and then."""
        errors = os.path.join(self._folder, "stderr")
        output = os.path.join(self._folder, "stdout")
        reader, writer = os.pipe()
        command = [os.path.join(self._programs, "..", "spawn"), str(writer), *self.command(workload, allocator)]
        with open(errors, "wb") as stderr, open(output, "wb") as stdout, os.fdopen(reader, "rb") as measures:
            process = subprocess.Popen(command, env=self.environment(workload, allocator), pass_fds=[writer],
                                       stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True)
            os.close(writer)
            reason = self._watch(process, observe)
            record = parse_object(measures.read())
        with open(output, "rb") as file:
            text = file.read()
        record["printed"] = parse_object(text) if workload in PATTERNS else {}
        record["sum"] = hashlib.sha256(text).hexdigest() if workload in PROGRAMS else ""
        with open(errors, encoding="utf-8", errors="replace") as file:
            record["failure"] = reason or failure(workload, record, file.read())
        return record

    def _watch(self, process, observe):
        begin = time.monotonic()
        try:
            while True:
                try:
                    process.wait(POLL_SECONDS)
                    return None
                except subprocess.TimeoutExpired:
                    pass
                elapsed = time.monotonic() - begin
                observe(elapsed)
                if elapsed > self._limit_seconds:
                    end(process)
                    process.wait()
                    return f"killed after {elapsed:.0f} s"
        except BaseException:
            end(process)
            process.wait()
            raise


def which(name):
    """The program's path, links followed: a wrapper's interpreter would be measured instead."""
    for folder in os.environ.get("PATH", "/usr/bin:/bin").split(":"):
        path = os.path.join(folder, name)
        # A version manager's shims are scripts that run something else.
        if os.access(path, os.X_OK) and not os.path.isdir(path) and is_binary(path):
            return path
    return name


def is_binary(path):
    """Whether it is an ELF file."""
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


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


def failure(workload, record, stderr):
    """Why the figures of a run do not count, or None."""
    tail = f": {stderr.strip()[-STDERR_TAIL:]}" if stderr.strip() else ""
    status = record.get("status")
    if status is None:
        return "did not end by itself" + tail
    if status < 0:
        return f"ended by signal {-status}" + tail
    if status:
        return f"exit status {status}" + tail
    if workload in PATTERNS and record["printed"].get("intact") is not True:
        return "blocks did not hold what was written to them" + tail
    return None
