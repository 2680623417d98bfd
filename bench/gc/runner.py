"""Runs one workload under one allocator, and collects what it shows."""

import os
import subprocess

from allocators import ALLOCATORS, MACHINE
from traces import parse_trace, read_text
from watched import ended_badly, neutral_environment, parse_object, watch


class Runner:
    """Knows the library and the programs; its runs use one folder, one after another."""

    def __init__(self, library, programs, folder, limit_seconds, limit_bytes):
        self._programs, self._folder = programs, folder
        self._limit_seconds, self._limit_bytes = limit_seconds, limit_bytes
        self._preload = os.path.join(folder, "preload.so")  # LD_PRELOAD cannot hold a path with blanks or colons
        os.symlink(library, self._preload)

    def program(self, workload, allocator):
        """The path of the variant that runs."""
        variant = "" if allocator == MACHINE else ALLOCATORS[allocator].variant
        return os.path.join(self._programs, workload.program + variant)

    def environment(self, workload, allocator, trace):
        """The caller's, without what steers allocators; gcmalloc sees the caller's settings for it."""
        merged = neutral_environment()
        merged.update(workload.environment)
        if allocator == MACHINE:
            return merged
        chosen = ALLOCATORS[allocator]
        merged.update(chosen.environment)
        if chosen.preload:
            merged.update(BENCH_PRELOAD=self._preload, GCMALLOC_TRACE_JSON=trace)
            merged.update((k, v) for k, v in os.environ.items() if k.startswith("GCMALLOC_") and k != "GCMALLOC_MODE")
        return merged

    def run(self, workload, allocator, observe):
        """A dictionary: measures of `spawn`, what the workload `printed`, `cycles` of the trace, and
        `failure`, None when all went well. `observe(elapsed, resident)` is called now and then."""
        trace, errors = (os.path.join(self._folder, name) for name in ("trace.json", "stderr"))
        for path in (trace, errors):
            if os.path.exists(path):
                os.unlink(path)
        reader, writer = os.pipe()
        command = [os.path.join(self._programs, "spawn"), str(writer), self.program(workload, allocator),
                   *workload.arguments]
        with open(errors, "wb") as stderr, os.fdopen(reader, "rb") as measures:
            process = subprocess.Popen(command, env=self.environment(workload, allocator, trace), pass_fds=[writer],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
                                       start_new_session=True)
            os.close(writer)
            reason = watch(process, observe, self._limit_seconds, self._limit_bytes)
            record = parse_object(measures.read())
            output = process.stdout.read()
            process.stdout.close()
        record["printed"] = parse_object(output)
        record["cycles"] = parse_trace(read_text(trace))
        record["failure"] = reason or failure(record, read_text(errors))
        return record


def failure(record, stderr):
    """Why the figures of a run do not count, or None."""
    ended = ended_badly(record, stderr, not record["printed"])
    if ended is None and record["printed"].get("intact") is False:
        return "DATA LOST: the structure was not intact at the end"
    return ended
