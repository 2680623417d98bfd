#!/usr/bin/env python3
"""Collectors side by side: every workload under every allocator, in rounds that interleave them.

Interleaved, so that what else happens on the machine meets all alike. Writes OUTPUT.md (tables and
the goals), OUTPUT.svg (drawing) and OUTPUT.json (all records). Exit status: 0; 1 when a run under
gcmalloc failed or lost data; 2 when nothing could be run; 130 when interrupted (what is done is
written). Others may fail: the tables say so.
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
import machine
import tables
from allocators import ALLOCATORS, GO, GRAPH_FACTOR, MACHINE, OFF, OURS, workloads
from figures import summarize
from goal import section_of
from rounds import Screen, turned, unwind_on_signals, write_files
from runner import Runner
from terminal import View

RUN_LIMIT_SECONDS = 120
MEMORY_SHARE = 0.8


def parse_arguments(arguments):
    """The command line."""
    parser = argparse.ArgumentParser(description="Runs workloads under gcmalloc, bdwgc, glibc and Go, side by side.")
    parser.add_argument("--lib", default="out/libgcmalloc.so", help="the library (default: %(default)s)")
    parser.add_argument("--programs", default="out/bench", help="folder of the workloads (default: %(default)s)")
    parser.add_argument("--output", default="out/bench-gc", help="where the results go, without ending (default: %(default)s)")
    parser.add_argument("--size", type=float, default=1024, help="MiB of the live graph; others follow (default: %(default)g)")
    parser.add_argument("--seconds", type=float, default=2.5,
                        help=f"of each measured phase, the graph's being {GRAPH_FACTOR} times as long (default: %(default)g)")
    parser.add_argument("--depth", type=int, default=18, help="of the binary trees (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--only", metavar="WORKLOAD", action="append", help="by the beginning of its name; may be repeated")
    parser.add_argument("--allocators", metavar="A,B", help=f"of {','.join(ALLOCATORS)} (default: all)")
    options = parser.parse_args(arguments)
    options.known = workloads(options.size, options.seconds, options.depth)
    options.chosen = options.allocators.split(",") if options.allocators else list(ALLOCATORS)
    for name in options.chosen:
        if name not in ALLOCATORS:
            parser.error(f"no such allocator: {name}")
    for beginning in options.only or []:
        if not any(name.startswith(beginning) for name in options.known):
            parser.error(f"no such workload: {beginning} (there are {' '.join(options.known)})")
    if options.rounds < 1 or options.size < 4 or options.seconds <= 0:
        parser.error("--rounds, --size (4 at least) and --seconds are positive")
    return options


def plan(options, runner):
    """The (workload, allocator) pairs of a round: those asked for, Go where its programs are."""
    pairs = []
    for name, workload in options.known.items():
        if options.only and not any(name.startswith(beginning) for beginning in options.only):
            continue
        for allocator in workload.allocators:
            if allocator != MACHINE and allocator not in options.chosen:
                continue
            if allocator == GO and not os.path.exists(runner.program(workload, allocator)):
                continue
            pairs.append((name, allocator))
    return pairs


class Bench:
    """All rounds; `records` grows as they go."""

    def __init__(self, options, runner, screen):
        self._options, self._runner, self._screen = options, runner, screen
        self._pairs = plan(options, runner)
        self._durations = {}
        self._failed = set()  # not run again: it may have taken long, and would not count
        self.records = []

    def _round(self, number):
        return [p for p in turned(self._pairs, number) if number < self._options.known[p[0]].rounds]

    def run(self):
        """Runs everything."""
        begin = time.monotonic()
        runs = [(number, pair) for number in range(self._options.rounds) for pair in self._round(number)]
        for index, (number, pair) in enumerate(runs):
            if pair not in self._failed:
                later = [other for _, other in runs[index + 1:] if other not in self._failed]
                self._one(number, pair, later, begin)

    def _guess(self, pair):
        return self._durations.get(pair, GRAPH_FACTOR * self._options.seconds)

    def _one(self, number, pair, later, begin):
        name, allocator = pair
        guess, rest = self._guess(pair), sum(map(self._guess, later))

        def observe(elapsed, resident):
            left = max(0.0, guess - elapsed) + rest
            spent = time.monotonic() - begin
            self._screen.show(View(stage=f"{name} {allocator}", elapsed=elapsed, resident=resident,
                                   overall=spent / (spent + left), left=left))
        observe(0.0, 0)
        started = time.monotonic()
        record = self._runner.run(self._options.known[name], allocator, observe)
        self._durations[pair] = time.monotonic() - started
        record.update(workload=name, allocator=allocator, round=number)
        self.records.append(record)
        if record["failure"]:
            self._failed.add(pair)
        speed = record["printed"].get("ops_per_s")
        result = " ".join((record["failure"] or "").split()) or (f"{tables.rate(speed):>7} operations/s" if speed else "")
        self._screen.line(f"round {number + 1}  {name:<12} {allocator:<13}{self._durations[pair]:6.1f} s  {result}".rstrip())


def summaries_of(records):
    """{(workload, allocator): Summary}"""
    cells = {}
    for record in records:
        cells.setdefault((record["workload"], record["allocator"]), []).append(record)
    return {pair: summarize(found, pair[1] == OURS) for pair, found in cells.items()}


def write(options, records, facts):
    """The three files."""
    summaries = summaries_of(records)
    subtitle = "; ".join(value for name, value in facts if name in ("processor", "commit", "date"))
    texts = {".json": json.dumps({"facts": facts, "records": records}),
             ".md": tables.report(options.known, summaries, options.size, facts),
             ".svg": charts.draw("Collectors side by side", subtitle, options.known, summaries)}
    write_files(options.output, texts)
    print(f"\n{section_of(texts['.md'])}\n\nwritten: {', '.join(options.output + ending for ending in texts)}")


def words(options):
    """The run in words."""
    return f"{options.rounds} rounds, {options.size:g} MiB, {options.seconds:g} s, depth {options.depth}"


def versions():
    """Of what is compared."""
    go = machine.output("go", "version").replace("go version ", "")
    return machine.versions(["libgc1"]) + ([go] if go else [])


def main(arguments):
    """Runs; returns the exit status."""
    sys.stdout.reconfigure(errors="replace")
    options = parse_arguments(arguments)
    for path in (options.lib, os.path.join(options.programs, "spawn")):
        if not os.path.exists(path):
            print(f"run.py: {path} is missing (run make bench-gc)", file=sys.stderr)
            return 2
    unwind_on_signals()
    facts = machine.facts(words(options), versions())
    limit = RUN_LIMIT_SECONDS * max(1, options.size / 1024) + 4 * options.seconds
    status, screen = 0, Screen(sys.stdout)
    with tempfile.TemporaryDirectory(prefix="gcmalloc-bench-") as folder:
        runner = Runner(os.path.realpath(options.lib), options.programs, folder, limit, MEMORY_SHARE * machine.free_bytes())
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
    write(options, bench.records, facts + [("load when it ended", machine.load())])
    return status or (1 if any(r["failure"] and r["allocator"] in (OURS, OFF) for r in bench.records) else 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
