"""Runs one command and measures it: memory over time, time, exit status, checksum of its output.

Three threads beside the polling one: one writes the input into a pipe (what it has written is
the progress), one reads and hashes the output, one waits for the exit so that its moment is
exact. The command leads its own session, so that it can be ended with everything it started.
"""

import array
import fcntl
import hashlib
import os
import signal
import subprocess
import termios
import threading
import time
from dataclasses import dataclass, field
from typing import Dict, List, Optional, Tuple

from proctree import ProcessTree

CHUNK_BYTES = 1 << 18
POLL_SECONDS = 0.025
FINE_POLL_SECONDS = 0.001
FINE_POLL_PERIOD = 2.0
LINGER_SECONDS = 0.1
OUTPUT_GRACE_SECONDS = 2.0
KILL_GRACE_SECONDS = 1.0


@dataclass
class Feed:
    """Standard input: `size` bytes of a non-empty file that is repeated as often as it takes."""
    path: str
    size: int


@dataclass
class Command:
    """What to run: the same under both allocators. Without `env`: in the caller's environment."""
    argv: List[str]
    cwd: Optional[str] = None
    env: Optional[Dict[str, str]] = None
    feed: Optional[Feed] = None


@dataclass
class Result:
    """What a run showed."""
    samples: List[Tuple[float, int]] = field(default_factory=list)
    peak: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    status: int = 0
    sha256: str = ""
    output_bytes: int = 0
    library_seen: bool = False
    timed_out: bool = False

    def ending(self):
        """The exit status in words."""
        if self.timed_out:
            return "hung, killed"
        if self.status < 0:
            return _signal_name(-self.status)
        if self.status > 128:
            return f"{self.status} ({_signal_name(self.status - 128)})"
        return str(self.status)

    def crashed(self):
        """Ended by a signal: its own, or one that a shell passed on."""
        return self.status < 0 or self.status > 128


def _signal_name(number):
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Run:
    """A command while it runs; `measure` drives it, observers read it."""

    def __init__(self, command, environment, stderr_path, linger):
        self.feed = command.feed
        self.fed_bytes = 0
        self.result = Result()
        self._linger = linger
        self._hash = hashlib.sha256()
        self._exited = threading.Event()
        self._started = time.monotonic()
        with open(stderr_path, "wb") as stderr:
            self._process = subprocess.Popen(
                command.argv, cwd=command.cwd, env=environment, stderr=stderr,
                stdin=subprocess.PIPE if command.feed else subprocess.DEVNULL,
                stdout=subprocess.PIPE, bufsize=0, start_new_session=True)
        self.tree = ProcessTree(self._process.pid)
        self._reader = threading.Thread(target=self._read_output, daemon=True)
        self._reader.start()
        threading.Thread(target=self._wait_for_exit, daemon=True).start()
        if command.feed:
            threading.Thread(target=self._write_input, daemon=True).start()

    def elapsed(self):
        """Seconds since the start."""
        return time.monotonic() - self._started

    def exited(self, timeout):
        """Waits at most `timeout` seconds; True once the command has ended."""
        return self._exited.wait(timeout)

    def sample(self):
        """Polls the memory once."""
        moment = self.elapsed()
        resident = self.tree.sample()
        if resident:
            self.result.samples.append((moment, resident))

    def finish(self):
        """After the exit: collects the rest of the output, ends what was left behind."""
        self._reader.join(OUTPUT_GRACE_SECONDS)
        self._signal_group(signal.SIGKILL)
        self._reader.join(OUTPUT_GRACE_SECONDS)
        self.result.sha256 = self._hash.hexdigest()
        self.result.peak = self.tree.peak

    def kill(self):
        """Ends the command and everything in its process group."""
        self._signal_group(signal.SIGTERM)
        self._exited.wait(KILL_GRACE_SECONDS)
        self._signal_group(signal.SIGKILL)
        self._exited.wait(KILL_GRACE_SECONDS)

    def _signal_group(self, number):
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            pass

    def _wait_for_exit(self):
        _, status, usage = os.wait4(self._process.pid, 0)
        self.result.seconds = self.elapsed()
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self.result.status = self._process.returncode
        self.result.cpu_seconds = usage.ru_utime + usage.ru_stime
        self._exited.set()

    def _read_output(self):
        with self._process.stdout as pipe:
            for data in iter(lambda: pipe.read(CHUNK_BYTES), b""):
                self._hash.update(data)
                self.result.output_bytes += len(data)

    def _write_input(self):
        pipe = self._process.stdin
        try:
            with pipe, open(self.feed.path, "rb") as source:
                while self.fed_bytes < self.feed.size:
                    data = source.read(min(CHUNK_BYTES, self.feed.size - self.fed_bytes))
                    if not data:
                        source.seek(0)
                    view = memoryview(data)
                    while view:
                        written = pipe.write(view)
                        view = view[written:]
                        self.fed_bytes += written
                if self._linger:
                    self._wait_until_read(pipe)
        except BrokenPipeError:
            pass  # the command has stopped reading: its own affair

    def _wait_until_read(self, pipe):
        """Keeps the input open until all of it is consumed, so that the polls see the last state."""
        unread = array.array("i", [1])
        while unread[0] and not self._exited.wait(FINE_POLL_SECONDS):
            fcntl.ioctl(pipe, termios.FIONREAD, unread)
        self._exited.wait(LINGER_SECONDS)


def measure(command, environment, stderr_path, *, fine=False, library=None, limit=None,
            observe=None):
    """Runs `command` to its end and returns its Result.

    fine: polls each millisecond, for runs that are too short for the normal rate.
    library: path of a shared object; Result.library_seen tells whether it was mapped.
    limit: seconds after which the command counts as hung and is killed.
    observe: called with the Run after each poll.
    """
    run = Run(command, environment, stderr_path, linger=fine)
    try:
        while True:
            run.sample()
            if library and not run.result.library_seen:
                run.result.library_seen = run.tree.maps_file(library)
            if observe:
                observe(run)
            if limit and run.elapsed() > limit:
                run.result.timed_out = True
                run.kill()
            interval = FINE_POLL_SECONDS if fine and run.elapsed() < FINE_POLL_PERIOD else POLL_SECONDS
            if run.exited(interval):
                break
        run.finish()
    except BaseException:
        run.kill()
        raise
    return run.result
