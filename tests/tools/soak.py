#!/usr/bin/env python3
"""Runs a suite many times beside a process that never sleeps: soak.py TIMES COMMAND…

Law: prints each `FAIL` line with the number of its round, and at the end how often how many tests passed; what fails
when the machine is full fails here. Not part of the suite: it takes as long as it takes.
"""
import collections
import re
import subprocess
import sys


def main():
    times, command = int(sys.argv[1]), sys.argv[2:]
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    passed, failed = 0, collections.Counter()
    try:
        for number in range(times):
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
            passed += len(re.findall(r"^ok \S", done.stdout, re.M))
            for line in re.findall(r"^FAIL .*", done.stdout, re.M):
                failed[line.split()[1]] += 1
                print("round %d: %s" % (number + 1, line), flush=True)
            if done.returncode != 0 and "FAIL " not in done.stdout:
                failed["the suite itself"] += 1
                print("round %d: status %d\n%s" % (number + 1, done.returncode, done.stdout[-2000:]), flush=True)
    finally:
        busy.kill()
        busy.wait()
    print("%d rounds: %d passed, %d failed" % (times, passed, sum(failed.values())))
    for name, count in failed.most_common():
        print("  %s failed %d times" % (name, count))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
