#!/usr/bin/env python3
"""Allocators side by side: patterns, real programs and single calls under every allocator, in rounds that interleave
them, so that what else happens on the machine meets all alike.

Writes OUTPUT.md (tables and the goals), OUTPUT.svg (drawing) and OUTPUT.json (all records). Exit status: 0; 1 when a
run under gcmalloc failed or printed something else; 2 when nothing could be run; 130 when interrupted (what is done is
written). Others may fail: the tables say so.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "common"))

import chart
import machine
import programs
import report
from allocators import ALLOCATORS
from figures import different_outputs, summarize
from lines import Screen
from patterns import PATTERNS
from programs import PROGRAMS
from runner import Runner
from statistics import median
from terminal import View

FAMILIES = ("patterns", "programs", "micro")
# Of these the instructions are counted: threads make the others' numbers vary.
COUNTED, COUNTED_SCALE = ("glibc_simple", "cfrac", "espresso"), 1
GUESS_SECONDS = 2.0
LIMIT_SECONDS = 120
PACKAGES = ("libjemalloc2", "libmimalloc2.0", "libtcmalloc-minimal4", "libgc1")


def parse_arguments(arguments):
    """The command line."""
    parser = argparse.ArgumentParser(description="Runs patterns, programs and single calls under gcmalloc and other allocators.")
    parser.add_argument("--lib", default="out/libgcmalloc.so", help="the library (default: %(default)s)")
    parser.add_argument("--programs", default="out/bench/malloc", help="folder of what was built (default: %(default)s)")
    parser.add_argument("--output", default="out/bench", help="where the results go, without ending (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--scale", type=float, default=100, help="percent of the patterns' work (default: %(default)g)")
    parser.add_argument("--family", action="append", choices=FAMILIES, help="may be repeated (default: all)")
    parser.add_argument("--only", metavar="WORKLOAD", action="append", help="by the beginning of its name; may be repeated")
    parser.add_argument("--allocators", metavar="A,B", help=f"of {','.join(ALLOCATORS)} (default: all)")
    options = parser.parse_args(arguments)
    options.families = options.family or list(FAMILIES)
    options.chosen = options.allocators.split(",") if options.allocators else list(ALLOCATORS)
    for name in options.chosen:
        if name not in ALLOCATORS:
            parser.error(f"no such allocator: {name}")
    known = [*PATTERNS, *PROGRAMS]
    for beginning in options.only or []:
        if not any(name.startswith(beginning) for name in known):
            parser.error(f"no such workload: {beginning} (there are {' '.join(known)})")
    if options.rounds < 1 or options.scale <= 0:
        parser.error("--rounds and --scale are positive")
    return options


def wanted(options):
    """Names of the workloads that were asked for."""
    names = [*(PATTERNS if "patterns" in options.families else ()), *(PROGRAMS if "programs" in options.families else ())]
    return [n for n in names if not options.only or any(n.startswith(b) for b in options.only)]


def plan(options, runner, skipped):
    """The (workload, allocator) pairs of a round. What cannot run is added to `skipped`, with the reason."""
    pairs = []
    for workload in wanted(options):
        if workload in skipped:
            continue
        for allocator in options.chosen:
            why = runner.why_not(workload, allocator)
            if why is None and not runner.is_inside(workload, allocator):
                why = "the library does not get into the process"
            if why is None:
                pairs.append((workload, allocator))
            elif why == "not installed":
                skipped[allocator] = why
            elif why != "patterns only":
                skipped[f"{workload} under {allocator}"] = why
    return pairs


def turned(pairs, number):
    """The order of a round: each begins elsewhere, so that nobody always runs after the same."""
    start = number * 7 % len(pairs)
    return pairs[start:] + pairs[:start]


class Bench:
    """All rounds; `records` grows as they go."""

    def __init__(self, options, runner, screen, pairs):
        self._options, self._runner, self._screen, self._pairs = options, runner, screen, pairs
        self._durations, self._failed = {}, set()
        self.records = []

    def run(self):
        """Runs everything."""
        begin = time.monotonic()
        runs = [(number, pair) for number in range(self._options.rounds) for pair in turned(self._pairs, number)]
        for index, (number, pair) in enumerate(runs):
            if pair not in self._failed:
                self._one(number, pair, [other for _, other in runs[index + 1:] if other not in self._failed], begin)

    def _guess(self, pair):
        return self._durations.get(pair, GUESS_SECONDS)

    def _one(self, number, pair, later, begin):
        workload, allocator = pair
        guess, rest = self._guess(pair), sum(map(self._guess, later))

        def observe(elapsed):
            left = max(0.0, guess - elapsed) + rest
            spent = time.monotonic() - begin
            self._screen.show(View(stage=f"{workload} {allocator}", elapsed=elapsed, overall=spent / (spent + left), left=left))
        observe(0.0)
        started = time.monotonic()
        record = self._runner.run(workload, allocator, observe)
        self._durations[pair] = time.monotonic() - started
        record.update(workload=workload, allocator=allocator, round=number)
        self.records.append(record)
        if record["failure"]:
            self._failed.add(pair)
        result = " ".join((record["failure"] or f"{record['peak_bytes'] / 1048576:8.1f} MiB").split())
        self._screen.line(f"round {number + 1}  {workload:<14} {allocator:<16}{self._durations[pair]:6.2f} s  {result}".rstrip())


def count_instructions(options, runner, screen):
    """{(workload, allocator): instructions per operation}, of those that can be counted."""
    counts = {}
    for workload in COUNTED:
        for allocator in options.chosen if workload in wanted(options) else ():
            if runner.why_not(workload, allocator):
                continue
            environment = runner.environment(workload, allocator)
            preload = environment.pop("BENCH_PRELOAD", "")
            command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
            # The library is for the program, not for the tool's own launcher.
            command += [runner.command(workload, allocator)[0], f"{COUNTED_SCALE:g}"]
            try:
                done = subprocess.run(command, env=dict(environment, **({"LD_PRELOAD": preload} if preload else {})),
                                      stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
            except (OSError, subprocess.SubprocessError):
                continue
            found = re.search(r"Collected : (\d+)", done.stderr)
            printed = re.search(r'"operations": (\d+)', done.stdout)
            if found and printed:
                counts[(workload, allocator)] = int(found.group(1)) / int(printed.group(1))
                screen.line(f"counted  {workload:<14} {allocator:<16}{counts[(workload, allocator)]:8.0f} instructions")
    return counts


def run_micro(options, runner, screen, skipped):
    """{(benchmark, allocator): nanoseconds}, medians over the rounds."""
    program = os.path.join(options.programs, "micro")
    if not os.path.exists(program):
        skipped["single calls"] = "not built"
        return {}
    samples = {}
    for number in range(options.rounds):
        for allocator in turned(options.chosen, number):
            if ALLOCATORS[allocator].variant or runner.why_not("", allocator):
                continue
            environment = runner.environment("", allocator)
            preload = environment.pop("BENCH_PRELOAD", "")
            screen.line(f"round {number + 1}  single calls   {allocator}")
            done = subprocess.run([program, "--benchmark_format=json", "--benchmark_min_time=0.02"], stdout=subprocess.PIPE,
                                  env=dict(environment, **({"LD_PRELOAD": preload} if preload else {})), stderr=subprocess.DEVNULL,
                                  stdin=subprocess.DEVNULL, timeout=4 * LIMIT_SECONDS, check=False)
            try:
                found = json.loads(done.stdout)["benchmarks"]
            except (ValueError, KeyError):
                skipped[f"single calls under {allocator}"] = f"status {done.returncode}"
                continue
            for b in found:
                samples.setdefault((b["name"], allocator), []).append(1e9 / b["items_per_second"])
    return {key: median(values) for key, values in samples.items()}


def write(options, records, counts, micro, skipped, facts):
    """The three files."""
    groups = {}
    for record in records:
        groups.setdefault((record["workload"], record["allocator"]), []).append(record)
    cells = {pair: summarize(found) for pair, found in groups.items()}
    os.makedirs(os.path.dirname(os.path.abspath(options.output)), exist_ok=True)
    subtitle = "; ".join(value for name, value in facts if name in ("processor", "commit", "date"))
    named = lambda values: [[*key, value] for key, value in values.items()]
    texts = {".json": json.dumps({"facts": facts, "records": records, "instructions": named(counts), "micro": named(micro),
                                  "skipped": skipped}),
             ".md": report.report(records, cells, counts, micro, skipped, facts),
             ".svg": chart.draw("Allocators side by side", subtitle, [*PATTERNS, *PROGRAMS], cells)}
    for ending, content in texts.items():
        with open(options.output + ending, "w", encoding="utf-8") as file:
            file.write(content)
    if "## Goals" in texts[".md"]:
        print("\n" + texts[".md"].split("## Goals", 1)[1].split("\n## ", 1)[0].strip())
    print(f"\nwritten: {', '.join(options.output + ending for ending in texts)}")


def interrupt(_number, _frame):
    """Signal handler: unwinds, so that the child ends and what is done is written."""
    raise KeyboardInterrupt


def main(arguments):
    """Runs; returns the exit status."""
    sys.stdout.reconfigure(errors="replace")
    options = parse_arguments(arguments)
    for path in (options.lib, os.path.join(options.programs, "..", "spawn")):
        if not os.path.exists(path):
            print(f"run.py: {path} is missing (run make bench)", file=sys.stderr)
            return 2
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    facts = machine.facts(f"{options.rounds} rounds, scale {options.scale:g} %", PACKAGES)
    status, screen, counts, micro, bench = 0, Screen(sys.stdout), {}, {}, None
    with tempfile.TemporaryDirectory(prefix="gcmalloc-bench-") as folder:
        runner = Runner(options.lib, options.programs, folder, LIMIT_SECONDS, options.scale)
        try:
            skipped = programs.prepare(folder, [w for w in wanted(options) if w in PROGRAMS])
            pairs = plan(options, runner, skipped)
            bench = Bench(options, runner, screen, pairs)
            if pairs:
                bench.run()
            counts = count_instructions(options, runner, screen)
            if "micro" in options.families and not options.only:
                micro = run_micro(options, runner, screen, skipped)
        except KeyboardInterrupt:
            status = 130
        finally:
            screen.close()
    records = bench.records if bench else []
    if not records and not micro:
        print("run.py: nothing was run", file=sys.stderr)
        return status or 2
    write(options, records, counts, micro, skipped, facts + [("load when it ended", machine.load())])
    bad = any(r["failure"] and r["allocator"].startswith("gcmalloc") for r in records) or different_outputs(records)
    return status or (1 if bad else 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
