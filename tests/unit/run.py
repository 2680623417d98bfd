#!/usr/bin/env python3
"""Runs each suite of the unit tests in a process of its own: run.py UNIT_TESTS [NAME…]

Law: what a conservative collector finds in the memory that other tests have left behind is no
mistake of its own, and a crash of one suite hides no other. NAMEs, `Suite.` or `Suite.Test`, run alone.
"""
import subprocess
import sys


def main():
    binary, names = sys.argv[1], sys.argv[2:]
    listing = subprocess.run([binary, "--gtest_list_tests"], stdout=subprocess.PIPE, check=True).stdout.decode()
    suites = [line.split("#")[0].strip() for line in listing.splitlines() if line[:1].strip() and "." in line.split("#")[0]]
    suites = [s for s in suites if s.endswith(".")]
    chosen = names or suites
    worst = 0 if chosen else 1
    for suite in chosen:
        pattern = suite + "*" if suite.endswith(".") else suite
        try:
            done = subprocess.run([binary, "--gtest_filter=" + pattern], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  timeout=300)
            text, status = done.stdout.decode(errors="replace"), done.returncode
        except subprocess.TimeoutExpired as late:
            text, status = (late.stdout or b"").decode(errors="replace"), 124
        sys.stdout.write(text)
        if status != 0 and "[  FAILED  ]" not in text:
            print("FAIL %s ended with status %d" % (suite, status))
        sys.stdout.flush()
        worst = worst or status
    return 1 if worst else 0


if __name__ == "__main__":
    sys.exit(main())
