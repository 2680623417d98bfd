"""Smoke test of the patterns: each runs with little work, says the same under glibc and under gcmalloc, and frees all.

BENCH_PROGRAMS is the folder of the programs, BENCH_LIBRARY the library; without them the tests are skipped.
"""

import json
import os
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "common"))

from allocators import PATTERNS
from workloads import WORKLOADS

PROGRAMS, LIBRARY = os.environ.get("BENCH_PROGRAMS"), os.environ.get("BENCH_LIBRARY")
SCALE, SECONDS = "0.002", 60


def pattern(name, scale, **environment):
    """What it prints."""
    done = subprocess.run([os.path.join(PROGRAMS, name), "--scale", scale], env=dict(os.environ, **environment),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=SECONDS, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{name}: status {done.returncode}: {done.stderr.decode(errors='replace')[-400:]}")
    return json.loads(done.stdout)


@unittest.skipUnless(PROGRAMS and LIBRARY, "BENCH_PROGRAMS and BENCH_LIBRARY are not set")
class PatternsTest(unittest.TestCase):
    def check(self, name):
        glibc = pattern(name, SCALE)
        self.assertEqual(glibc["pattern"], name)
        self.assertGreater(glibc["operations"], 0)
        self.assertGreater(glibc["end_bytes"], 0)
        # A cycle every so many allocations: what a pattern hides from a collector would be lost.
        for settings in ({}, {"GCMALLOC_MODE": "off"}, {"GCMALLOC_STRESS": "20000", "GCMALLOC_POISON": "1"}):
            found = pattern(name, SCALE, LD_PRELOAD=LIBRARY, **settings)
            self.assertEqual((found["operations"], found["checksum"]), (glibc["operations"], glibc["checksum"]), settings)

    def test_more_work_is_more(self):
        self.assertGreater(pattern("sh8", "0.004")["operations"], pattern("sh8", "0.002")["operations"])

    def test_what_is_not_understood_is_refused(self):
        for arguments in (["--scale"], ["--speed", "1"], ["--scale", "0"], ["--scale", "x"]):
            done = subprocess.run([os.path.join(PROGRAMS, "sh8"), *arguments], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, timeout=SECONDS, check=False)
            self.assertNotEqual(done.returncode, 0, arguments)
            self.assertTrue(done.stderr)

    def test_cfrac_finds_the_factors(self):
        checksum, step = 0, 1 << 64
        for factor in (31415926535933, 2236067977499803, 2236067977499803):
            checksum = (checksum * 31 + factor % 4294967291) % step
            checksum = (checksum * 31 + 216) % step
        self.assertEqual(int(pattern("cfrac", "1")["checksum"], 16), checksum)


def _add(name):
    setattr(PatternsTest, f"test_{name.replace('-', '_')}", lambda self: self.check(name))


for _name in (n for n, w in WORKLOADS.items() if w.family == PATTERNS):
    _add(_name)


if __name__ == "__main__":
    unittest.main()
