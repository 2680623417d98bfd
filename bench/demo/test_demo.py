"""Tests of the parts that need no library and no leaking program; run: python3 bench/demo/test_demo.py"""

import os
import re
import sys
import tempfile
import unittest
import xml.dom.minidom

sys.dont_write_bytecode = True
sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "common"))

import plot
import proctree
import report
import run
import svg
import terminal
import traces
import units
from measure import Command, Feed, Result, measure
from progress import Progress, seconds_left

MIB = units.MIB
RISING = plot.Series("glibc", [(i / 10, i * 3 * MIB) for i in range(100)])
FLAT = plot.Series("gcmalloc", [(i / 10, 5 * MIB) for i in range(90)])


class UnitsTest(unittest.TestCase):
    def test_human_bytes(self):
        self.assertEqual([units.human_bytes(n) for n in (None, 0, 1023, 1536, 328 * MIB, 3 << 30)],
                         ["n/a", "0 B", "1023 B", "1.5 KiB", "328 MiB", "3.0 GiB"])

    def test_human_micros(self):
        self.assertEqual([units.human_micros(n) for n in (None, 0.5, 85, 1250, 2.1e6)],
                         ["n/a", "0.5 us", "85 us", "1.25 ms", "2.1 s"])

    def test_percentile_is_nearest_rank(self):
        values = list(range(100, 0, -1))
        self.assertEqual([units.percentile(values, p) for p in (0, 50, 99, 100)], [1, 50, 99, 100])
        self.assertEqual(units.percentile([7], 50), 7)
        self.assertIsNone(units.percentile([], 50))

    def test_axis_ticks_are_round_and_cover(self):
        self.assertEqual(units.axis_ticks(327), [0, 100, 200, 300, 400])
        for maximum in (0, 1e-9, 0.3, 1, 7, 10, 99.9, 1234, 5e9):
            for wanted in (2, 4, 6, 10):
                ticks = units.axis_ticks(maximum, wanted)
                self.assertGreaterEqual(ticks[-1], maximum * 0.999)
                self.assertTrue(2 <= len(ticks) <= wanted + 2, (maximum, wanted, ticks))


class TracesTest(unittest.TestCase):
    TRACE = ('{"cycle": 1, "pause_us": [10, 30], "reclaimed_bytes": 1000, "reclaimed_objects": 10}\n'
             'not json\n[1]\n'
             '{"cycle": 1, "pause_us": [20], "reclaimed_bytes": 500, "reclaimed_objects": 5, "dirty_source": "uffd"}\n'
             '{"cycle": 2, "pause_us": [9')

    def test_sums_over_processes_and_skips_broken_lines(self):
        figures = traces.summarize(traces.parse_trace(self.TRACE), {"cycles": 1, "gc_cpu_s": 0.25})
        self.assertEqual((figures.collections, figures.reclaimed_bytes, figures.reclaimed_objects), (2, 1500, 15))
        self.assertEqual((figures.stops, figures.pause_p50_us, figures.pause_max_us, figures.pause_total_us),
                         (3, 20, 30, 60))
        self.assertEqual((figures.gc_cpu_s, figures.dirty_source), (0.25, "uffd"))

    def test_statistics_stand_in_for_a_missing_trace(self):
        stats = traces.parse_stats('{"cycles": 3, "reclaimed_bytes": 7, "pause_us": {"p50": 1, "max": 4}}')
        figures = traces.summarize([], stats)
        self.assertEqual((figures.collections, figures.reclaimed_bytes, figures.pause_max_us), (3, 7, 4))

    def test_nothing_written(self):
        figures = traces.load("/nonexistent/trace", "/nonexistent/stats")
        self.assertIsNone(figures.collections)
        self.assertIn("n/a", report.gc_lines(figures)[0])

    def test_odd_types(self):
        cycles = traces.parse_trace('{"pause_us": 5}\n{"pause_us": ["x", null]}\n{"reclaimed_bytes": "many"}\n')
        self.assertEqual(traces.summarize(cycles, {}).pause_total_us, 5)
        self.assertEqual(traces.parse_stats("[1, 2]"), {})


class PlotTest(unittest.TestCase):
    ESCAPES = re.compile(r"\x1b\[[0-9;]*m")

    def test_fits_the_width_in_every_style(self):
        for style in (terminal.Style(True, True), terminal.Style(True, False), terminal.Style(False, False)):
            for width in (60, 79, 200):
                lines = plot.render([RISING, FLAT], width, 14, style)
                self.assertEqual(len(lines), 17)
                self.assertLessEqual(max(len(self.ESCAPES.sub("", line)) for line in lines), width)

    def test_ascii_is_ascii_and_colourless_is_colourless(self):
        "".join(plot.render([RISING, FLAT], 79, 14, terminal.Style(False, False))).encode("ascii")
        self.assertNotIn("\x1b", "".join(plot.render([RISING, FLAT], 79, 14, terminal.Style(True, False))))

    def test_shape(self):
        rows = [line[plot.LABEL_WIDTH + 1:] for line in plot.render([RISING, FLAT], 79, 10, terminal.Style(False))[1:11]]
        self.assertIn("o", rows[-1])
        self.assertNotIn("o", "".join(rows[:-1]))
        firsts = [row.index("*") for row in rows if "*" in row]
        self.assertEqual(firsts, sorted(firsts, reverse=True))

    def test_column_ranges_hold_and_join(self):
        self.assertEqual(plot.column_ranges([(0, 1), (5, 9)], 10, 10),
                         [(1, 1)] * 5 + [(1, 9)] + [None] * 4)
        self.assertEqual(plot.column_ranges([], 10, 3), [None] * 3)

    def test_no_samples(self):
        self.assertEqual(len(plot.render([plot.Series("glibc", [])], 79, 5, terminal.Style())), 8)


class SvgTest(unittest.TestCase):
    def test_is_well_formed_and_escaped(self):
        text = svg.draw("a < b & \"c\"", "<script>", [RISING, FLAT], (297 * MIB, 5 * MIB), 4 * MIB)
        xml.dom.minidom.parseString(text)
        self.assertIn("a &lt; b &amp; ", text)
        self.assertNotIn("<script>", text)
        self.assertIn("goal: 1.3", text)

    def test_without_need_and_with_a_long_title(self):
        text = svg.draw("t", "x" * 500, [RISING, FLAT], (297 * MIB, 5 * MIB))
        self.assertNotIn("goal", text.split("</style>")[1])
        self.assertNotIn("x" * 200, text)


class TerminalTest(unittest.TestCase):
    def test_locale(self):
        for environment, expected in (({"LANG": "de_DE.UTF-8"}, True), ({"LC_ALL": "C", "LANG": "C.utf8"}, False),
                                      ({"LC_ALL": "", "LC_CTYPE": "C.UTF-8"}, True), ({}, False)):
            self.assertEqual(terminal.locale_is_utf8(environment), expected, environment)

    def test_style(self):
        utf8 = {"LANG": "C.UTF-8", "TERM": "xterm"}
        self.assertEqual(terminal.choose_style(utf8, True), terminal.Style(True, True))
        self.assertEqual(terminal.choose_style(dict(utf8, NO_COLOR="1"), True), terminal.Style(True, False))
        self.assertEqual(terminal.choose_style(dict(utf8, TERM="linux"), True), terminal.Style(False, True))
        self.assertFalse(terminal.choose_style(utf8, False).colour)

    def test_redraw(self):
        size = os.terminal_size((80, 24))
        self.assertTrue(terminal.can_redraw({"TERM": "xterm"}, True, size))
        self.assertFalse(terminal.can_redraw({"TERM": "dumb"}, True, size))
        self.assertFalse(terminal.can_redraw({}, True, size))
        self.assertFalse(terminal.can_redraw({"TERM": "xterm"}, True, os.terminal_size((40, 24))))

    def test_progress_bar_fits(self):
        for overall in (None, 0.0, 0.5, 1.0):
            view = terminal.View([], "gcmalloc", 3.0, 5 * MIB, overall, overall, 12.2)
            line = terminal.progress_bar(view, 79, terminal.Style(False))
            self.assertLessEqual(len(line), 79)
            self.assertIn("ETA 13 s", line)


class FakeRun:
    def __init__(self, feed=None, fed=0, output=0, seconds=1.0):
        self.feed, self.fed_bytes, self.result = feed, fed, Result(output_bytes=output)
        self.tree = self
        self.elapsed = lambda: seconds

    def input_fraction(self):
        return None


class ProgressTest(unittest.TestCase):
    def test_sources_and_no_way_back(self):
        progress = Progress()
        self.assertIsNone(progress.fraction(FakeRun()))
        self.assertEqual(progress.fraction(FakeRun(Feed("f", 100), 40)), 0.4)
        self.assertEqual(progress.fraction(FakeRun(Feed("f", 100), 30)), 0.4)
        self.assertEqual(Progress(expected_output=10).fraction(FakeRun(output=5)), 0.5)
        self.assertEqual(Progress(expected_seconds=4).fraction(FakeRun(seconds=400)), 0.99)

    def test_seconds_left(self):
        self.assertEqual(seconds_left(0.5, 3.0), 3.0)
        self.assertEqual(seconds_left(0.001, 1.0, 9.0), 8.0)
        self.assertIsNone(seconds_left(None, 1.0))


class ReportTest(unittest.TestCase):
    def outcome(self, **ours):
        glibc = Result(peak=300 * MIB, seconds=7.0, sha256="a" * 64, output_bytes=9)
        fields = dict(peak=5 * MIB, seconds=8.0, sha256="a" * 64, output_bytes=9, library_seen=True)
        return report.Outcome(glibc, Result(**{**fields, **ours}), Result(peak=4 * MIB), traces.GcFigures(), "a bit", 0.001)

    def test_good_run(self):
        self.assertEqual(report.failures(self.outcome()), [])
        lines = report.table(self.outcome())
        self.assertLessEqual(max(map(len, lines)), 79)
        self.assertTrue(any("1.25  (goal" in line and "met" in line for line in lines), lines)

    def test_failures(self):
        for change, word in ((dict(library_seen=False), "not loaded"), (dict(status=-11), "SIGSEGV"),
                             (dict(status=134), "SIGABRT"), (dict(status=1), "exit status differs"),
                             (dict(sha256="b" * 64), "output differs"), (dict(timed_out=True), "hung")):
            self.assertIn(word, " ".join(report.failures(self.outcome(**change))), change)
        self.assertTrue(any("not the same work" in line for line in report.table(self.outcome(status=-11))))


class RunTest(unittest.TestCase):
    def test_measures_a_tree_and_its_output(self):
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "in")
            with open(source, "w", encoding="ascii") as file:
                file.write("line\n")
            command = Command(["/bin/sh", "-c", "cat; (sleep 0.1); exit 3"], feed=Feed(source, 23))
            result = measure(command, dict(os.environ), os.path.join(folder, "err"), fine=True)
        self.assertEqual((result.status, result.output_bytes), (3, 23))
        self.assertGreater(result.peak, 100 * 1024)
        self.assertFalse(result.crashed())

    def test_kills_what_hangs(self):
        with tempfile.TemporaryDirectory() as folder:
            result = measure(Command(["sleep", "9"]), dict(os.environ), os.path.join(folder, "err"), limit=0.1)
        self.assertTrue(result.timed_out)
        self.assertLess(result.seconds, 5)

    def test_status_text(self):
        self.assertEqual(proctree.parse_status(b"Name:\tx\nVmHWM:\t  20 kB\nVmRSS:\t  10 kB\n"), (10240, 20480))
        self.assertEqual(proctree.parse_status(b"State:\tZ (zombie)\n"), (0, 0))

    def test_environment(self):
        command = Command(["x"], env={"PATH": "/bin", "LD_PRELOAD": "other.so"})
        self.assertEqual(run.environment(command), {"PATH": "/bin"})
        self.assertEqual(run.environment(command, "l.so", "t", "s")["LD_PRELOAD"], "l.so")


if __name__ == "__main__":
    unittest.main()
