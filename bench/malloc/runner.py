"""Runs one workload under one allocator, and collects what it shows."""

import hashlib
import json
import os
import re
import shutil
import subprocess

import libraries
from allocators import ALLOCATORS, BDWGC, LIBRARY, MICRO, PATTERNS
from traces import read_text
from watched import end, ended_badly, neutral_environment, parse_object, watch

# Debian's before others that may be first in the caller's PATH: those would bring libraries of their own.
TOOL_PATH = "/usr/bin:/bin:"
LEAST_SCALE = "0.0001"


class Runner:
    """Knows the library and the programs; its runs use one folder, one after another."""

    def __init__(self, library, programs, folder, limit_seconds, limit_bytes, scale=1.0):
        self._programs, self._folder, self._scale = os.path.abspath(programs), folder, scale
        self._limits = limit_seconds, limit_bytes
        self._preload = os.path.join(folder, LIBRARY)  # LD_PRELOAD cannot hold a path with blanks or colons
        os.symlink(os.path.realpath(library), self._preload)
        self._prepared = set()

    def library(self, allocator):
        """The path of what is preloaded; None where nothing is, or where it is missing."""
        name = ALLOCATORS[allocator].library
        return self._preload if name == LIBRARY else libraries.find(name) if name else None

    def tool(self, name):
        """The path of a real program, or None."""
        return shutil.which(name, path=TOOL_PATH + os.environ.get("PATH", ""))

    def binary(self, workload, allocator):
        """The path of what runs, or None."""
        if workload.program:
            return self.tool(workload.program.tool)
        path = os.path.join(self._programs, workload.name + ALLOCATORS[allocator].variant)
        return path if os.path.exists(path) else None

    def environment(self, workload, allocator):
        """The caller's, without what steers allocators; gcmalloc sees the caller's settings for it."""
        merged, chosen = neutral_environment(), ALLOCATORS[allocator]
        if "gcmalloc" in (chosen.library or chosen.variant):
            merged.update((k, v) for k, v in os.environ.items() if k.startswith("GCMALLOC_") and k != "GCMALLOC_MODE")
        merged.update(chosen.environment)
        merged.update(workload.program.environment if workload.program else {})
        return merged

    def missing(self, workload, allocator):
        """What keeps the two from being run together, in words, or None. Starts the program for a moment."""
        chosen = ALLOCATORS[allocator]
        if chosen.library and not self.library(allocator):
            return f"{chosen.library} is not installed (package {chosen.package})"
        if workload.program:
            for name in (workload.program.tool, *workload.program.needs):
                if not self.tool(name):
                    return f"{name} is not installed (package {workload.program.package})"
        binary = self.binary(workload, allocator)
        if not binary:
            return f"{workload.name}{chosen.variant} is not built"
        probe = {MICRO: ("--benchmark_list_tests",), PATTERNS: ("--scale", LEAST_SCALE)}.get(workload.family)
        environment = self.environment(workload, allocator)
        if chosen.library:
            environment["LD_PRELOAD"] = self.library(allocator)
        found = libraries.bound_to([binary, *(probe or workload.program.probe)], environment, chosen.symbol, self._folder)
        wanted = self.library(allocator) or (libraries.find("libgc.so.1") if allocator == BDWGC else binary)
        return libraries.objection(found, wanted)

    def command(self, workload, allocator):
        """What is run, its inputs written before."""
        binary = self.binary(workload, allocator)
        if workload.family == MICRO:
            return [binary, "--benchmark_format=json"]
        if workload.family == PATTERNS:
            return [binary, "--scale", f"{self._scale:g}"]
        if workload.name not in self._prepared:
            workload.program.prepare(self._folder)
            self._prepared.add(workload.name)
        return [binary] + [argument.replace("{folder}", self._folder) for argument in workload.program.arguments]

    def run(self, workload, allocator, observe):
        """A dictionary: measures of `spawn`, `output` (a digest) or what the workload `printed`, and `failure`, None when
        all went well. `observe(elapsed, resident)` is called now and then."""
        output, errors = (os.path.join(self._folder, name) for name in ("stdout", "stderr"))
        reader, writer = os.pipe()
        environment = self.environment(workload, allocator)
        if ALLOCATORS[allocator].library:
            environment["BENCH_PRELOAD"] = self.library(allocator)
        command = [os.path.join(self._programs, "spawn"), str(writer)] + self.command(workload, allocator)
        with open(output, "wb") as stdout, open(errors, "wb") as stderr, os.fdopen(reader, "rb") as measures:
            process = subprocess.Popen(command, env=environment, pass_fds=[writer], stdin=subprocess.DEVNULL, stdout=stdout,
                                       stderr=stderr, start_new_session=True)
            os.close(writer)
            seconds, reason = self._drive(workload, process)
            reason = watch(process, observe, *self._limits) or reason
            record = parse_object(measures.read())
        if seconds is not None:
            record["wall_s"] = seconds
        self._read(workload, output, record)
        record["failure"] = "; ".join(filter(None, (reason, failure(record, read_text(errors))))) or None
        return record

    def _drive(self, workload, process):
        """(seconds, why it went wrong) of the clients of a server."""
        if not (workload.program and workload.program.drive):
            return None, None
        try:
            return workload.program.drive(self._folder, lambda: process.poll() is None), None
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            end(process)
            return None, str(error)
        except BaseException:
            end(process)
            process.wait()
            raise

    def _read(self, workload, output, record):
        with open(output, "rb") as file:
            data = file.read()
        if workload.family == PATTERNS:
            record["printed"] = parse_object(data)
            record["end_bytes"] = record["printed"].get("end_bytes")
            record["output"] = record["printed"].get("checksum", "")
        elif workload.family == MICRO:
            record["times"] = micro_times(data)
            record["output"] = "times" if record["times"] else ""
        else:
            record["output"] = "" if workload.program.drive else hashlib.sha256(data).hexdigest()[:16]


def micro_times(data):
    """Name to nanoseconds an iteration, of Google Benchmark's JSON."""
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    factor = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}
    times = {}
    for entry in found.get("benchmarks", []):
        if entry.get("error_occurred"):
            continue
        name = re.sub(r"/(iterations:\d+|real_time)", "", entry["name"])
        key = "real_time" if entry["name"].endswith("real_time") else "cpu_time"
        times[name] = entry[key] * factor[entry["time_unit"]]
    return times


def failure(record, stderr):
    """Why the figures of a run do not count, or None."""
    silent = "times" in record and not record["times"] or "printed" in record and not record["printed"]
    return ended_badly(record, stderr, silent)
