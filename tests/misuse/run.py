#!/usr/bin/env python3
"""Runs the misuse programs: run.py LIB BINARY…

Law: LIB is preloaded; `-` for binaries that have the allocator linked in. A misuse is caught when the program
dies of SIGABRT, its first line on standard error is exactly the one of cases.py, every further line is ours,
and the stack below begins in the misusing function or at least in the program. Silence is a failure.
"""
import os
import re
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import cases


class Skipped(Exception):
    """The library says that it does not have a setting yet."""


def run(lib, binary, case, **settings):
    env = {k: v for k, v in os.environ.items() if not k.startswith("GCMALLOC_")}
    env.update(settings)
    if lib != "-":
        env["LD_PRELOAD"] = os.path.abspath(lib)
    return subprocess.run([binary, case], env=env, capture_output=True, timeout=30, text=True, errors="replace")


def ended(done):
    if done.returncode < 0:
        return "killed by " + signal.Signals(-done.returncode).name
    return "status %d" % done.returncode


def expectation(done):
    match = re.search(r"^expect (\S+) (\S+) (\d+)$", done.stdout, re.M)
    if match is None:
        return None
    address, base = (0 if text == "(nil)" else int(text, 16) for text in match.groups()[:2])
    return address, base, int(match.group(3))


def check_aborts(lib, binary, case, function, what, **settings):
    done = run(lib, binary, case, **settings)
    said = expectation(done)
    if said is None:
        return "the program printed no expectation: " + ended(done) + " " + done.stderr[:200]
    if done.returncode != -signal.SIGABRT:
        return "%s instead of SIGABRT; stderr: %r" % (ended(done), done.stderr[:300])
    address, base, usable = said
    lines = done.stderr.splitlines()
    if lines and "this version" in lines[0]:
        raise Skipped(lines[0])
    if not lines:
        return "nothing on standard error"
    pattern = r"gcmalloc: %s\(0x%x\): %s" % (function, address, what.format(usable=usable, offset=address - base))
    if re.fullmatch(pattern, lines[0]) is None:
        return "first line %r does not match %r" % (lines[0], pattern)
    foreign = [line for line in lines if not line.startswith("gcmalloc: ")]
    if foreign:
        return "a line without prefix: %r" % foreign[0]
    frames = [re.fullmatch(cases.FRAME, line) for line in lines[1:]]
    frames = [match for match in frames if match is not None]
    if not frames:
        return "no stack below the message: %r" % done.stderr[:300]
    if int(frames[0].group(1)) != 0:
        return "the stack starts with #%s" % frames[0].group(1)
    path = os.path.basename(binary)
    if "misuse_" + case not in frames[0].group(3) and path not in frames[0].group(3):
        return "frame #0 is not in %s, which made the call: %r" % (path, lines[1:])
    return None


def check_survives(lib, binary, case, **settings):
    done = run(lib, binary, case, **settings)
    if done.returncode != 0 or not done.stdout.endswith("survived\n"):
        return "%s; stderr: %r" % (ended(done), done.stderr[:300])
    if done.stderr.count("\n") > 1:
        return "more than one line on standard error: %r" % done.stderr
    return None


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    lib, binaries = sys.argv[1], sys.argv[2:]
    jobs = []
    for binary in binaries:
        binary = os.path.abspath(binary)
        for case, function, what in cases.CASES:
            jobs.append((case, check_aborts, (lib, binary, case, function, what), {}))
        jobs.append(("none", check_survives, (lib, binary, "none"), {}))
        for case in cases.IGNORED:
            jobs.append((case + "_ignored", check_survives, (lib, binary, case), {"GCMALLOC_FOREIGN": "ignore"}))
        rows = {case: (function, what) for case, function, what in cases.CASES}
        for case in cases.NOT_IGNORED:
            jobs.append((case + "_not_ignored", check_aborts, (lib, binary, case) + rows[case],
                         {"GCMALLOC_FOREIGN": "ignore"}))
        # The other modes find the same.
        for mode in ("guard", "report", "off"):
            for case in ("double_free_small", "interior_small", "static_address"):
                jobs.append((case + "_mode_" + mode, check_aborts, (lib, binary, case) + rows[case],
                             {"GCMALLOC_MODE": mode}))

    def attempt(job):
        name, check, arguments, settings = job
        try:
            return name, check(*arguments, **settings)
        except subprocess.TimeoutExpired:
            return name, "hangs"
        except Skipped as why:
            return name, why

    passed = failed = skipped = 0
    with ThreadPoolExecutor(2) as pool:
        for name, why in pool.map(attempt, jobs):
            if why is None:
                passed += 1
                print("ok", name)
            elif isinstance(why, Skipped):
                skipped += 1
                print("skip", name, why)
            else:
                failed += 1
                print("FAIL", name, why)
    print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
