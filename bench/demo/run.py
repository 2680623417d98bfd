#!/usr/bin/env python3
"""The main job on real input: an unmodified program that leaks, under glibc and under gcmalloc.

Runs the program on a short slice of its input under glibc (what the live data needs), on all
of it under glibc, and on all of it under gcmalloc. Shows memory over time while
it runs, then a table, and writes the curves as an SVG. Exit status: 0 when output and exit
status are the same under both, 1 when they are not, 2 when nothing could be run.
"""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "common"))

import report
import svg
import traces
import workloads
from measure import Command, Feed, measure
from plot import Series
from progress import Progress, seconds_left
from screen import LineScreen, LiveScreen
from terminal import View, can_redraw, choose_style

HANG_FACTOR, HANG_SECONDS = 10, 60
OUTPUT_WORTH_TRUSTING = 1 << 16
STDERR_TAIL_LINES = 12
SMALL_REPEATS = 3
SMALL, FIRST, SECOND = "need", "glibc", "gcmalloc"


class CannotRun(Exception):
    """Nothing can be measured, for the reason given."""


def parse_arguments(arguments):
    """The command line."""
    parser = argparse.ArgumentParser(description="Runs a leaking program under glibc and under gcmalloc, side by side.")
    parser.add_argument("--lib", default="out/libgcmalloc.so", help="the library (default: %(default)s)")
    parser.add_argument("--svg", metavar="FILE", help="where the drawing goes (default: none)")
    parser.add_argument("--workload", choices=sorted(workloads.WORKLOADS), help=f"default: {workloads.DEFAULT}")
    parser.add_argument("--program", metavar="CMD", help="any shell command instead of a workload")
    parser.add_argument("--stdin", metavar="FILE", help="input of --program (default: none)")
    parser.add_argument("--small", metavar="CMD",
                        help="the same program on a short slice of its input: measures the need of its live data")
    parser.add_argument("--list", action="store_true", help="list the workloads")
    parser.add_argument("--packages", action="store_true", help="print the Debian packages that the workload needs")
    options = parser.parse_args(arguments)
    if options.program and options.workload:
        parser.error("--program and --workload exclude each other")
    if not options.program and (options.stdin or options.small):
        parser.error("--stdin and --small go with --program")
    return options


def program_job(options):
    """The Job for --program."""
    feed = None
    if options.stdin:
        if not os.path.isfile(options.stdin):
            raise CannotRun(f"no such file: {options.stdin}")
        size = os.path.getsize(options.stdin)
        feed = Feed(os.path.abspath(options.stdin), size) if size else None
    small = Command(["/bin/sh", "-c", options.small]) if options.small else None
    return workloads.Job(options.program, Command(["/bin/sh", "-c", options.program], feed=feed), small,
                         f"`{options.small}`" if options.small else "")


def workload_job(name, folder):
    """The Job for a workload, its input written below `folder`."""
    workload = workloads.WORKLOADS[name or workloads.DEFAULT]
    missing = workloads.missing_tools(workload)
    if missing:
        raise CannotRun(f"{' and '.join(missing)} not found: apt-get install {' '.join(workload.packages)}")
    return workload.prepare(folder)


def environment(command, library=None, trace=None, stats=None):
    """What the command sees; with a library also the settings that the caller made for it."""
    merged = dict(os.environ if command.env is None else command.env)
    merged.pop("LD_PRELOAD", None)
    if library:
        merged.update((k, v) for k, v in os.environ.items() if k.startswith("GCMALLOC_"))
        merged.update(LD_PRELOAD=library, GCMALLOC_TRACE_JSON=trace, GCMALLOC_STATS=stats)
    return merged


class Demonstration:
    """The three runs of a job, shown on a screen."""

    def __init__(self, job, library, folder, screen):
        self._job, self._library, self._folder, self._screen = job, library, folder, screen
        self._preload = self.file("preload.so")  # LD_PRELOAD cannot hold a path with blanks or colons
        os.symlink(library, self._preload)
        self.series = []
        self._first = None
        self._view = View(series=self.series)

    def file(self, name):
        """A path in the temporary folder."""
        return os.path.join(self._folder, name)

    def run(self):
        """Runs everything; returns the Outcome."""
        small = self._small_run()
        self._first = self._full_run(FIRST, Progress(expected_output=self._output_from(small)))
        known_output = self._first.output_bytes
        progress = Progress(expected_output=known_output if known_output >= OUTPUT_WORTH_TRUSTING else None,
                            expected_seconds=self._first.seconds)
        second = self._full_run(SECOND, progress, self._library)
        self._screen.final(self._view)
        figures = traces.load(self.file("trace.json"), self.file("stats.json"))
        return report.Outcome(self._first, second, small, figures, self._job.small_text, self._job.small_share)

    def _small_run(self):
        """The middle one of a few short runs, which the kernel's page counts scatter a little."""
        command = self._job.small
        if command is None:
            return None
        runs = [measure(command, environment(command), self.file(f"{SMALL}.err"), fine=True)
                for _ in range(SMALL_REPEATS)]
        return sorted(runs, key=lambda result: result.peak)[SMALL_REPEATS // 2]

    def _output_from(self, small):
        """Bytes of output to expect of the full run, judged by the short one."""
        if small is None or not self._job.small_share:
            return None
        return small.output_bytes / self._job.small_share or None

    def _full_run(self, stage, progress, library=None):
        command = self._job.full
        series = Series(stage, [])
        self.series.append(series)
        limit = max(HANG_SECONDS, HANG_FACTOR * self._first.seconds) if library else None

        def observe(run):
            series.samples = run.result.samples
            self._show(stage, run, progress.fraction(run))

        settings = (self._preload, self.file("trace.json"), self.file("stats.json")) if library else ()
        return measure(command, environment(command, *settings), self.file(f"{stage}.err"),
                       library=library, limit=limit, observe=observe)

    def _show(self, stage, run, fraction):
        view, first = self._view, self._first
        view.stage, view.elapsed, view.fraction = stage, run.elapsed(), fraction
        view.resident = run.result.samples[-1][1] if run.result.samples else 0
        left = seconds_left(fraction, view.elapsed, first.seconds if first else None)
        still_to_come = 0.0 if first or left is None else view.elapsed + left
        view.left = None if left is None else left + still_to_come
        view.overall = None if fraction is None else (fraction + (1 if first else 0)) / 2
        view.expected_seconds = first.seconds if first else view.elapsed + (left or 0.0)
        self._screen.update(view)


def print_failures(found, stderr_path):
    """Says what went wrong, with the end of what the program wrote to standard error."""
    print()
    for sentence in found:
        print(f"FAILED: {sentence}")
    tail = traces.read_text(stderr_path).splitlines()[-STDERR_TAIL_LINES:]
    if tail:
        print("standard error under gcmalloc ended with:")
        print("\n".join(f"  {line}" for line in tail))


def write_svg(path, title, outcome, series, found):
    """Writes the drawing and says where."""
    summary = f"{outcome.saving()} memory at the peak, {outcome.slowdown()} the time"
    folder = os.path.dirname(path)
    if folder:
        os.makedirs(folder, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(svg.draw("A program that leaks, under glibc and under gcmalloc",
                            f"{title}: {'FAILED: ' + found[0] if found else summary}", series,
                            (outcome.glibc.peak, outcome.gcmalloc.peak), outcome.need(), report.GOAL_RATIO))
    print(f"\nmemory over time as a drawing: {path}")


def demonstrate(options, folder):
    """Runs the job that the options name; returns the exit status."""
    if not os.path.isfile(options.lib):
        raise CannotRun(f"the library is missing: {options.lib} (run make first)")
    library = os.path.realpath(options.lib)
    job = program_job(options) if options.program else workload_job(options.workload, folder)
    is_terminal = sys.stdout.isatty()
    style = choose_style(os.environ, is_terminal)
    live = can_redraw(os.environ, is_terminal, shutil.get_terminal_size())
    screen = (LiveScreen if live else LineScreen)(sys.stdout, style, job.title)
    try:
        demonstration = Demonstration(job, library, folder, screen)
        outcome = demonstration.run()
    finally:
        screen.close()
    lines = report.table(outcome)
    print("\n" + "\n".join(lines if style.unicode else [line.replace("\u2264", "<=") for line in lines]))
    found = report.failures(outcome)
    if options.svg:
        write_svg(options.svg, job.title, outcome, demonstration.series, found)
    if found:
        print_failures(found, demonstration.file(f"{SECOND}.err"))
    return 1 if found else 0


def interrupt(_number, _frame):
    """Signal handler: unwinds, so that the children end and the cursor comes back."""
    raise KeyboardInterrupt


def main(arguments):
    """Runs; returns the exit status."""
    sys.stdout.reconfigure(errors="replace")
    options = parse_arguments(arguments)
    if options.list:
        for workload in workloads.WORKLOADS.values():
            print(f"{workload.name:<12}{workload.leak} (packages: {' '.join(workload.packages)})")
        return 0
    if options.packages:
        print(" ".join(workloads.WORKLOADS[options.workload or workloads.DEFAULT].packages))
        return 0
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    try:
        with tempfile.TemporaryDirectory(prefix="gcmalloc-run-") as folder:
            return demonstrate(options, folder)
    except CannotRun as reason:
        print(f"run.py: {reason}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        print(f"run.py: the input could not be made: {shlex.join(map(str, error.cmd))}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads: nothing to flush
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
