#!/usr/bin/env python3
"""The races: run.py NORMAL TSAN EARLY [--threads HEAP_THREADS_TSAN] [--seconds S]

Law: NORMAL, TSAN and EARLY are arena_race as it is, under ThreadSanitizer, and with -DGCM_TEST_PUBLISH_EARLY.
The first two run clean; the third dies of SIGSEGV on each path, in the first growth of an arena and in a later
one: a test that cannot fail proves nothing. `-` leaves one out. Prints `ok NAME` or `FAIL NAME why`, and a count;
status 0 when none failed.
"""
import argparse
import os
import signal
import subprocess
import sys
import time

PATHS = ("reservation", "elsewhere")
EARLY_LIMIT = 30


def run(command, seconds):
    env = {k: v for k, v in os.environ.items() if not k.startswith("GCMALLOC_")}
    # The first report ends the run; what a report is about is in its text.
    env["TSAN_OPTIONS"] = "halt_on_error=1 exitcode=66 " + env.get("TSAN_OPTIONS", "")
    begin = time.monotonic()
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, errors="replace", timeout=seconds)
    except subprocess.TimeoutExpired:
        return None, "did not end within %d s" % seconds, seconds
    return done.returncode, (done.stdout + done.stderr).strip(), time.monotonic() - begin


def ended(status):
    return "killed by " + signal.Signals(-status).name if status < 0 else "status %d" % status


def clean(command, seconds):
    status, said, _ = run(command, seconds * 4 + 30)
    if status is None:
        return said, ""
    if status != 0:
        return ended(status) + "\n" + said[:6000], ""
    if "ThreadSanitizer" in said:
        return said[:6000], ""
    return None, said.replace("\n", "; ")


def crashes(command):
    status, said, took = run(command + ["--seconds", str(EARLY_LIMIT)], EARLY_LIMIT + 10)
    if status is None:
        return said, ""
    if status != -signal.SIGSEGV:
        return "%s instead of SIGSEGV: %s" % (ended(status), said[:500]), ""
    return None, "SIGSEGV after %.2f s" % took


def tests(arguments):
    seed = str(arguments.seed)
    for kind, binary in (("normal", arguments.normal), ("tsan", arguments.tsan)):
        if binary == "-":
            continue
        for path in PATHS + ("both",):
            command = [binary, "--path", path, "--seconds", str(arguments.seconds), "--seed", seed]
            yield "%s %s" % (kind, path), lambda c=command: clean(c, arguments.seconds)
    if arguments.early != "-":
        for path in PATHS:
            for first in ("shown", "hidden"):
                command = [arguments.early, "--path", path, "--first", first, "--seed", seed]
                yield "early %s, first growth %s" % (path, first), lambda c=command: crashes(c)
    if arguments.threads:
        for mode in ("heap", "one", "all"):
            command = [arguments.threads, mode, str(arguments.seconds)]
            yield "threads " + mode, lambda c=command: clean(c, arguments.seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("normal", "tsan", "early"):
        parser.add_argument(name)
    parser.add_argument("--threads")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    print("seed", arguments.seed)
    passed = failed = 0
    for name, test in tests(arguments):
        why, note = test()
        if why is None:
            passed += 1
            print("ok %s%s" % (name, ": " + note if note else ""), flush=True)
        else:
            failed += 1
            print("FAIL %s %s" % (name, why), flush=True)
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
