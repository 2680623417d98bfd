#!/usr/bin/env python3
"""Runs the host tests: run.py LIB HOST_TESTS [--hooks HOOKS_LIB] [--repeat N] [--busy] [PATTERN…]

Law: each test is a process of its own with a time limit; two run at a time. LIB is preloaded: `none` tries the tests
themselves under libc's malloc, `-` a binary that has the allocator linked in. With --hooks each rule that can be left
out is left out for the tests that guard it, and these must fail then; what passes without its rule proves nothing.
--repeat and --busy are for long runs: N times, and beside a process that never sleeps.
"""
import argparse
import fnmatch
import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

SKIPPED = 77
LIMIT = 60
# What a test needs beside the defaults; {dir} is a directory of its own.
SETTINGS = [
    ("stop_spinning_blocked_by_kernel", {"GCMALLOC_TRACE": "1"}),
    ("stop_thousand_waiting", {"GCMALLOC_TRACE_JSON": "{dir}/trace.json"}),
    ("moving_*", {"GCMALLOC_POISON": "1"}),
]
# Rules left out, and the tests that must fail then.
CONTROLS = [
    # A call that nobody continues comes back with EINTR, or early.
    ("restart", ["select.asm.timed", "epoll_wait.asm.event", "clock_nanosleep.asm.timed"]),
    # The same for calls through libc, where none of them is published either.
    ("restart,publish", ["poll.libc.timed", "poll.raw.timed", "poll.raw.long", "epoll_wait.libc.long", "recv.libc.timed",
                         "recv.raw.timed", "usleep.libc.timed", "nanosleep.raw.timed", "futex_wait.raw.timed",
                         "sigtimedwait.libc.timed", "sigtimedwait.raw.timed", "semop.libc.event", "semtimedop.raw.timed",
                         "msgrcv.raw.event", "io_getevents.raw.timed", "io_uring_enter.raw.timed"]),
    # Threads that wait are signalled.
    ("publish", ["stop_thousand_waiting", "stop_blocked_by_kernel_in_libc_read"]),
    # Handlers move pointers behind the marker.
    ("trampoline", ["moving_in_read", "moving_in_condition", "moving_in_nanosleep", "moving_in_poll"]),
]


def settings(name, directory):
    found = {}
    for pattern, values in SETTINGS:
        if fnmatch.fnmatch(name, pattern):
            found.update((key, value.replace("{dir}", directory)) for key, value in values.items())
    return found


def run(lib, binary, name, skips, slack):
    with tempfile.TemporaryDirectory(prefix="host-test-") as directory:
        return run_in(directory, lib, binary, name, skips, slack)


def run_in(directory, lib, binary, name, skips, slack):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("GCMALLOC_", "GCM_TEST_"))}
    # GCM_HOST_ENV="NAME=VALUE NAME=VALUE" runs all tests under other settings.
    env.update(pair.split("=", 1) for pair in os.environ.get("GCM_HOST_ENV", "").split())
    env.update(settings(name, directory))
    if lib not in ("-", "none"):
        env["LD_PRELOAD"] = os.path.abspath(lib)
    if skips:
        env["GCM_TEST_SKIP"] = skips
    if slack:
        env["GCM_HOST_SLACK"] = slack
    try:
        done = subprocess.run([binary, name], env=env, capture_output=True, timeout=LIMIT, text=True, errors="replace",
                              stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return "FAIL", "hangs"
    said = (done.stdout + done.stderr).strip().replace("\n", " | ")[:500]
    if done.returncode == 0:
        return "ok", said
    if done.returncode == SKIPPED:
        return "skip", said
    ended = "status %d" % done.returncode
    if done.returncode < 0:
        ended = signal.Signals(-done.returncode).name
    return "FAIL", ended + ": " + said


def judge(job):
    lib, binary, name, skips, slack = job
    outcome, why = run(lib, binary, name, skips, slack)
    if not skips:
        return outcome, name, why
    shown = "%s[without:%s]" % (name, skips)
    if outcome == "FAIL":
        return "ok", shown, why
    return ("skip", shown, why) if outcome == "skip" else ("FAIL", shown, "passes although the rule is left out")


def give_defaults():
    """A signal that is ignored stays so in who is started, one that has a handler does not. Ours ignores it all the
    same: a runner that was started to outlive its terminal shall do that."""
    for number in signal.valid_signals():
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("lib")
    parser.add_argument("binary")
    parser.add_argument("patterns", nargs="*")
    parser.add_argument("--hooks")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--jobs", type=int, default=2, help="how many run at a time")
    given = parser.parse_intermixed_args()
    give_defaults()
    binary = os.path.abspath(given.binary)
    names = subprocess.run([binary, "--list"], capture_output=True, text=True, check=True).stdout.split()
    slack = "0.5" if given.busy else ""
    wanted = lambda shown: not given.patterns or any(fnmatch.fnmatch(shown, p) for p in given.patterns)
    jobs = [(given.lib, binary, name, "", slack) for name in names if wanted(name)]
    if given.hooks:
        for skips, patterns in CONTROLS:
            jobs += [(given.hooks, binary, name, skips, slack) for name in names
                     if any(fnmatch.fnmatch(name, p) for p in patterns) and wanted("%s[without:%s]" % (name, skips))]
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if given.busy else None
    counts = {"ok": 0, "FAIL": 0, "skip": 0}
    try:
        with ThreadPoolExecutor(given.jobs) as pool:
            for outcome, name, why in pool.map(judge, jobs * given.repeat):
                counts[outcome] += 1
                print(outcome, name, why, flush=True)
    finally:
        if busy:
            busy.kill()
    print("%d passed, %d failed, %d skipped" % (counts["ok"], counts["FAIL"], counts["skip"]))
    sys.exit(1 if counts["FAIL"] or not counts["ok"] else 0)


if __name__ == "__main__":
    main()
