#!/usr/bin/env python3
"""Runs every suite: run_all.py OUT [SUITE…]; ends with the number of tests.

Law: a suite's own runner says what passed and what failed; this adds them up. What is known not to hold yet is
listed in KNOWN with its reason, still runs, and is counted apart; it is a failure when it is not listed.
"""
import fnmatch
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# (suite, pattern of the test's name): why it does not hold.
NO_THREAD = "without a background thread nothing acts while the program does not allocate"
SHARED_TABLE = "a process that shares the descriptors by a clone of its own is not stopped: it may see ours, or miss a number"
LINKED = "calls of libc are not wrapped in programs that link the archive"
KNOWN = [
    ("process, linked", "chroot_*", LINKED),
    ("process, linked", "exec_from_a_thread", LINKED),
    ("preload", "scavenge_after_a_while", NO_THREAD),
    ("process*", "shared_table_lowest_number", SHARED_TABLE),
]


def suites(out):
    so = os.path.join(out, "libgcmalloc.so")
    test = os.path.join(out, "test")
    python = [sys.executable]
    path = lambda *parts: os.path.join(HERE, *parts)
    unit = python + [path("unit", "run.py")]
    quiet = "halt_on_error=1"
    return [
        ("layers", python + [path("tools", "check_layers.py")], {}),
        ("layers, control", python + [path("tools", "check_layers.py"), "--self-test"], {}),
        ("symbols", python + [path("preload", "symbols.py"), so], {}),
        ("unit", unit + [os.path.join(out, "release", "unit_tests")], {}),
        ("unit, asan+ubsan", unit + [os.path.join(out, "asan", "unit_tests")], {"ASAN_OPTIONS": "detect_leaks=0:" + quiet}),
        ("unit, tsan", unit + [os.path.join(out, "tsan", "unit_tests")], {"TSAN_OPTIONS": quiet}),
        ("func, preloaded", [os.path.join(test, "func_tests")], {"LD_PRELOAD": so}),
        ("func, linked", [os.path.join(test, "func_tests_static")], {}),
        ("misuse, preloaded", python + [path("misuse", "run.py"), so, os.path.join(test, "misuse")], {}),
        ("misuse, linked", python + [path("misuse", "run.py"), "-", os.path.join(test, "misuse_static")], {}),
        ("preload", python + [path("preload", "run.py"), so, "--bin", test], {}),
        ("roots", python + [path("roots", "run.py"), so, os.path.join(test, "roots_tests")], {}),
        ("process, preloaded", python + [path("process", "run.py"), so, os.path.join(test, "process_tests")], {}),
        ("process, linked", python + [path("process", "run.py"), "-", os.path.join(test, "process_tests_static")], {}),
        ("process, controls", python + [path("process", "run.py"), "--controls", os.path.join(out, "hooks", "libgcmalloc.so"),
                                        os.path.join(test, "process_tests")], {}),
        ("host", python + [path("host", "run.py"), so, os.path.join(test, "host_tests"), "--hooks",
                           os.path.join(out, "hooks", "libgcmalloc.so")], {}),
        ("roots, controls", python + [path("roots", "controls.py"), os.path.join(out, "hooks", "libgcmalloc.so"),
                                      os.path.join(test, "roots_tests")], {}),
        ("race", python + [path("race", "run.py")] + [os.path.join(out, c, "arena_race") for c in ("release", "tsan", "early")]
         + ["--threads", os.path.join(out, "tsan", "heap_threads")], {}),
        ("models", python + [path("model", "run.py")], {}),
        ("stress", python + [path("stress", "run.py"), so, os.path.join(test, "mutator"), "--hooks",
                             os.path.join(out, "hooks", "libgcmalloc.so")], {}),
        ("linked statically", [os.path.join(test, "static_program")], {}),
        ("leak", python + [path("leak", "run.py"), os.path.join(test, "leak_test")], {}),
        ("budget", python + [path("budget", "run.py"), so, os.path.join(test, "pair")], {}),
        ("demo", python + ["-m", "unittest", "-q", "test_demo"], {"PYTHONPATH": path("..", "bench", "demo")}),
        ("bench, collectors", python + ["-m", "unittest", "-q", "test_gc"], {"PYTHONPATH": path("..", "bench", "gc")}),
        ("bench, mallocs", python + ["-m", "unittest", "-q", "test_malloc", "test_patterns"],
         {"PYTHONPATH": path("..", "bench", "malloc"), "BENCH_PROGRAMS": os.path.join(out, "bench-malloc"), "BENCH_LIBRARY": so}),
    ]


def known(suite, name):
    for pattern, test, why in KNOWN:
        if fnmatch.fnmatch(suite, pattern) and fnmatch.fnmatch(name, test):
            return why
    return None


def judge(suite, text, status):
    """(passed, failed names, known names, skipped)"""
    passed = sum(int(n) for n in re.findall(r"^\[  PASSED  \] (\d+) test", text, re.M))
    skipped = len(set(re.findall(r"^\[  SKIPPED \] (\w[\w/]*\.[\w/]+)", text, re.M)))
    failed = sorted(set(re.findall(r"^\[  FAILED  \] ([\w./]+\.[\w/]+)", text, re.M)))
    expected = []
    for line in text.splitlines():
        if re.match(r"ok \S", line):
            passed += 1
        elif re.match(r"skip \S", line):
            skipped += 1
        elif line.startswith("FAIL "):
            name = " ".join(line.split()[1:3]) if "--drop" in line.split()[1:3] else line.split()[1]
            (expected if known(suite, name) else failed).append(name)
    ran = re.search(r"^Ran (\d+) tests", text, re.M)
    if ran and status == 0:
        passed += int(ran.group(1))
    if status != 0 and not failed and not expected:
        failed.append("the suite itself, status %d" % status)
    if passed == 0 and not failed:
        failed.append("nothing ran")
    return passed, failed, expected, skipped


# Suites whose tests depend on when others run: what fails is run again by itself, twice, and has failed if that fails
# once more. The first failure is shown in any case.
TIMED = ("host", "process, *", "roots*", "preload", "unit*", "stress", "leak")


def run_again(suite, command, environment, failed):
    """The names that fail again."""
    still = []
    for name in failed:
        pattern = name.replace("[", "[[]")
        lasting = False
        for _ in range(2):
            try:
                done = subprocess.run(command + pattern.split(), env=environment, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, timeout=300)
                lasting = lasting or done.returncode != 0
            except subprocess.TimeoutExpired:
                lasting = True
        print("  %s failed, and %s" % (name, "fails again" if lasting else "passes twice by itself"), flush=True)
        if lasting:
            still.append(name)
    return still


def main():
    out = os.path.abspath(sys.argv[1])
    chosen = sys.argv[2:]
    total = dict(passed=0, failed=0, known=0, skipped=0)
    for suite, command, extra in suites(out):
        if chosen and not any(suite.startswith(c) for c in chosen):
            continue
        begin = time.time()
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GCMALLOC_")}
        environment.update(extra)
        try:
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900)
            text, status = done.stdout.decode(errors="replace"), done.returncode
        except subprocess.TimeoutExpired as late:
            text, status = (late.stdout or b"").decode(errors="replace"), 124
        passed, failed, expected, skipped = judge(suite, text, status)
        if failed and len(failed) <= 5 and any(fnmatch.fnmatch(suite, t) for t in TIMED):
            print("\n".join("    " + line for line in text.splitlines() if re.match(r"FAIL |.*: Failure$|\[  FAILED", line)))
            still = run_again(suite, command, environment, failed)
            passed += len(failed) - len(still)
            failed = still
        print("%-20s %4d passed, %d failed, %d known, %d skipped  (%.0f s)"
              % (suite, passed, len(failed), len(expected), skipped, time.time() - begin), flush=True)
        if failed:
            print("  FAILED: " + ", ".join(failed))
            print("\n".join("    " + line for line in text.splitlines()[-60:]))
        for key, n in zip(total, (passed, len(failed), len(expected), skipped)):
            total[key] += n
    print("%(passed)d tests passed, %(failed)d failed, %(known)d known not to hold, %(skipped)d skipped" % total)
    sys.exit(1 if total["failed"] else 0)


if __name__ == "__main__":
    main()
