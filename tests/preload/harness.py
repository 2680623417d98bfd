"""How the preload tests run programs and report.

Law: a test is a function named test_*, which raises Failed (or AssertionError) with a reason, or Skipped. Each
starts from an environment without any GCMALLOC_ setting; only the program under test gets the library.
"""
import os
import re
import shutil
import subprocess
import tempfile
import traceback
from concurrent.futures import ThreadPoolExecutor


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


class Setting:
    lib = None
    bin = None


def expect(condition, why):
    if not condition:
        raise Failed(why)


def helper(name):
    return os.path.join(Setting.bin, name)


def program(name):
    path = shutil.which(name)
    if path is None:
        raise Skipped(name + " is not installed")
    return path


class Done:
    def __init__(self, completed):
        self.status = completed.returncode
        self.out = completed.stdout
        self.err = completed.stderr

    def ours(self):
        """The lines that the library printed about itself."""
        return [line for line in self.err.splitlines() if line.startswith("gcmalloc: ")]

    def lacking(self):
        """Lines by which a version says that it does not have something yet: tests of that are skipped."""
        return [line for line in self.ours() if "this version" in line]

    def cycles(self):
        """The trace lines."""
        return [line for line in self.err.splitlines() if line.startswith("gc ")]

    def summary(self):
        return "status %d, out %r, err %r" % (self.status, self.out[:200], self.err[:300])


def run(command, preload=True, timeout=60, stdin=None, cwd=None, clean=False, **settings):
    """Runs a program to its end. Raises Skipped when the library says that it lacks a setting."""
    env = {} if clean else {k: v for k, v in os.environ.items() if not k.startswith("GCMALLOC_")}
    env.update(settings)
    if preload:
        env["LD_PRELOAD"] = Setting.lib
    done = Done(subprocess.run(command, env=env, capture_output=True, text=True, errors="replace", timeout=timeout,
                               input=stdin, cwd=cwd))
    if done.lacking():
        raise Skipped(done.lacking()[0])
    return done


def works(command, **settings):
    """Runs a program that must succeed."""
    done = run(command, **settings)
    expect(done.status == 0, done.summary())
    return done


def peak_mib(done):
    match = re.search(r"peak_kib (\d+)", done.out)
    expect(match, "no peak in " + done.summary())
    return int(match.group(1)) / 1024


def folder():
    return tempfile.TemporaryDirectory(prefix="gcmalloc-")


def run_all(modules, patterns):
    tests = [(name[5:], function) for module in modules for name, function in vars(module).items()
             if name.startswith("test_") and callable(function)]
    if patterns:
        tests = [(name, function) for name, function in tests if any(p in name for p in patterns)]

    def attempt(test):
        name, function = test
        try:
            function()
            return "ok", name, ""
        except Skipped as why:
            return "skip", name, str(why)
        except (Failed, AssertionError) as why:
            return "FAIL", name, str(why)
        except subprocess.TimeoutExpired as why:
            return "FAIL", name, "hangs: " + str(why)
        except Exception:  # a fault of the test is a failure, too
            return "FAIL", name, traceback.format_exc().replace("\n", " | ")

    counts = {"ok": 0, "skip": 0, "FAIL": 0}
    with ThreadPoolExecutor(2) as pool:
        for outcome, name, why in pool.map(attempt, tests):
            counts[outcome] += 1
            print(outcome, name, why, flush=True)
    print("%d passed, %d failed, %d skipped" % (counts["ok"], counts["FAIL"], counts["skip"]))
    return 1 if counts["FAIL"] or not counts["ok"] else 0
