#!/usr/bin/env python3
"""Allocators side by side: every workload under every allocator, in rounds that interleave them.

Interleaved, so that what else happens on the machine meets all alike. Writes OUT.md (goals, tables), OUT.svg (drawing)
and OUT.json (all samples). Exit status: 0; 1 when a run under gcmalloc failed; 2 when nothing could be run; 130 when
interrupted (what is done is written). Others may fail: the report says so.
"""

import argparse
import json
import os
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "common"))

import charts
import instructions
import machine
import tables
from allocators import ALLOCATORS, FAMILIES, OFF, OURS, OURS_LINKED
from figures import compare_outputs, summarize
from goal import section_of
from rounds import Screen, turned, unwind_on_signals, write_files
from runner import Runner
from terminal import View
from units import MIB
from workloads import BUILD_PACKAGES, WORKLOADS, packages

RUN_LIMIT_SECONDS = 120
MEMORY_SHARE = 0.8
GUESS_SECONDS, MICRO_GUESS_SECONDS, COUNT_GUESS_SECONDS = 0.8, 5.0, 1.5


def parse_arguments(arguments):
    """The command line."""
    parser = argparse.ArgumentParser(description="Runs programs under gcmalloc and the other mallocs, side by side.")
    parser.add_argument("--lib", default="out/libgcmalloc.so", help="the library (default: %(default)s)")
    parser.add_argument("--programs", default="out/bench-malloc", help="folder of what was built (default: %(default)s)")
    parser.add_argument("--out", default="out/bench", help="where the results go, without ending (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="of each workload under each allocator (default: %(default)s)")
    parser.add_argument("--only", metavar="NAME", nargs="+", action="extend", help="workloads, by the beginning of the name")
    parser.add_argument("--family", choices=FAMILIES, action="append", help="may be repeated (default: all)")
    parser.add_argument("--allocators", metavar="NAME", nargs="+", help=f"of {' '.join(ALLOCATORS)} (default: all)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the patterns' work (default: %(default)g)")
    parser.add_argument("--no-instructions", action="store_true", help="do not count with callgrind")
    parser.add_argument("--packages", choices=("build", "run"), help="print the Debian packages that this needs")
    options = parser.parse_args(arguments)
    options.chosen = [part for name in options.allocators or ALLOCATORS for part in name.split(",")]
    for name in options.chosen:
        if name not in ALLOCATORS:
            parser.error(f"no such allocator: {name} (there are {' '.join(ALLOCATORS)})")
    for beginning in options.only or []:
        if not any(name.startswith(beginning) for name in WORKLOADS):
            parser.error(f"no such workload: {beginning} (there are {' '.join(WORKLOADS)})")
    if options.runs < 1 or options.scale <= 0:
        parser.error("--runs and --scale are positive")
    return options


def plan(options):
    """The (workload, allocator) pairs that were asked for."""
    pairs = []
    for name, workload in WORKLOADS.items():
        wanted = not options.only or any(name.startswith(beginning) for beginning in options.only)
        if wanted and workload.family in (options.family or FAMILIES):
            pairs += [(name, a) for a in ALLOCATORS if a in options.chosen and workload.family in ALLOCATORS[a].families]
    return pairs


def measures(record):
    """A run in a few words."""
    cpu, peak = record["user_s"] + record["system_s"], record["peak_bytes"] / MIB
    return f"{record['wall_s']:7.3f} s  CPU {cpu:7.3f} s  peak {peak:7.1f} MiB"


class Bench:
    """All rounds; `records` grows as they go."""

    def __init__(self, options, runner, screen):
        self._options, self._runner, self._screen = options, runner, screen
        self._pairs = plan(options)
        self._durations = {}
        self._failed = set()  # not run again: it may have taken long, and would not count
        self._begin = 0.0
        self.records, self.skipped = [], []

    def run(self):
        """Looks who can be run, then runs everything, then counts."""
        self._begin = time.monotonic()
        self._look()
        runs = [(number, pair) for number in range(self._options.runs if self._pairs else 0)
                for pair in turned(self._pairs, number) if number < ALLOCATORS[pair[1]].rounds]
        counts = [] if self._options.no_instructions else [p for p in self._pairs if WORKLOADS[p[0]].counted]
        for index, (number, pair) in enumerate(runs):
            if pair not in self._failed:
                later = sum(self._guess(other) for _, other in runs[index + 1:] if other not in self._failed)
                self._one(number, pair, later + COUNT_GUESS_SECONDS * len(counts))
        for index, pair in enumerate(counts):
            self._show(f"callgrind {' '.join(pair)}", 0.0, 0, COUNT_GUESS_SECONDS * (len(counts) - index))
            self._count(pair)

    def _look(self):
        """Leaves out what is missing, and what would not measure what it says."""
        refused = {}
        for name, allocator in self._pairs:
            self._show(f"looking at {name}", 0.0, 0, None)
            why = self._runner.missing(WORKLOADS[name], allocator)
            if why:
                refused[(name, allocator)] = why
        self._pairs = [pair for pair in self._pairs if pair not in refused]
        together = {}
        for (name, allocator), why in refused.items():
            together.setdefault((name, why), []).append(allocator)
        self.skipped = [(name, who, why) for (name, why), who in together.items()]
        for name, who, why in self.skipped:
            self._screen.line(f"skipped  {name} under {', '.join(who)}: {why}")

    def _guess(self, pair):
        return self._durations.get(pair, MICRO_GUESS_SECONDS if pair[0] == "micro" else GUESS_SECONDS)

    def _show(self, stage, elapsed, resident, left):
        spent = time.monotonic() - self._begin
        self._screen.show(View(stage=stage, elapsed=elapsed, resident=resident, left=left,
                               overall=None if left is None else spent / max(1e-9, spent + left)))

    def _one(self, number, pair, later):
        name, allocator = pair
        guess = self._guess(pair)

        def observe(elapsed, resident):
            self._show(f"{name} {allocator}", elapsed, resident, max(0.0, guess - elapsed) + later)
        observe(0.0, 0)
        started = time.monotonic()
        record = self._runner.run(WORKLOADS[name], allocator, observe)
        self._durations[pair] = time.monotonic() - started
        record.update(workload=name, allocator=allocator, round=number)
        self.records.append(record)
        if record["failure"]:
            self._failed.add(pair)
        result = " ".join((record["failure"] or "").split()) or measures(record)
        self._screen.line(f"round {number + 1}  {name:<14} {allocator:<16} {result}")

    def _count(self, pair):
        mine = [r for r in self.records if (r["workload"], r["allocator"]) == pair]
        if mine and pair not in self._failed:
            mine[0]["instructions"] = instructions.count(self._runner, WORKLOADS[pair[0]], pair[1])


def summaries_of(records):
    """{(workload, allocator): Summary}"""
    compare_outputs(records)
    cells = {}
    for record in records:
        cells.setdefault((record["workload"], record["allocator"]), []).append(record)
    return {pair: summarize(found) for pair, found in cells.items()}


def write(options, bench, facts):
    """The three files."""
    summaries = summaries_of(bench.records)
    known = dict(facts)
    subtitle = "; ".join((known["processor"], known["kernel"].partition(",")[0], f"commit {known['commit']}", known["date"]))
    texts = {".json": json.dumps({"facts": facts, "skipped": bench.skipped, "records": bench.records}),
             ".md": tables.report(WORKLOADS, summaries, bench.skipped, facts),
             ".svg": charts.draw("Allocators side by side", subtitle, WORKLOADS, summaries)}
    write_files(options.out, texts)
    print(f"\n{section_of(texts['.md'])}\n\nwritten: {', '.join(options.out + ending for ending in texts)}")


def main(arguments):
    """Runs; returns the exit status."""
    sys.stdout.reconfigure(errors="replace")
    options = parse_arguments(arguments)
    if options.packages:
        print(" ".join(BUILD_PACKAGES if options.packages == "build" else packages()))
        return 0
    for path in (options.lib, os.path.join(options.programs, "spawn")):
        if not os.path.exists(path):
            print(f"run.py: {path} is missing (run make bench)", file=sys.stderr)
            return 2
    unwind_on_signals()
    facts = machine.facts(f"{options.runs} runs, patterns scaled by {options.scale:g}", machine.versions(packages()))
    status, screen = 0, Screen(sys.stdout)
    with tempfile.TemporaryDirectory(prefix="gcmalloc-bench-") as folder:
        limits = RUN_LIMIT_SECONDS, MEMORY_SHARE * machine.free_bytes()
        runner = Runner(options.lib, options.programs, folder, *limits, options.scale)
        bench = Bench(options, runner, screen)
        try:
            bench.run()
        except KeyboardInterrupt:
            status = 130
        finally:
            screen.close()
    if not bench.records:
        print("run.py: nothing was run", file=sys.stderr)
        return status or 2
    write(options, bench, facts + [("load when it ended", machine.load())])
    return status or (1 if any(r["failure"] and r["allocator"] in (OURS, OFF, OURS_LINKED) for r in bench.records) else 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
