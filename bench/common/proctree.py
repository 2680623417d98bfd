"""Memory of a process and its descendants, read from /proc.

The resident size of a tree is the sum of VmRSS over its processes (pages shared after a fork
count once for each process). The peak is the highest sum polled, or the highest VmHWM of any
one process where the kernel saw more than the polls did.
"""

import os
import stat
import time

SESSION_SCAN_SECONDS = 0.5
INPUT_FILE_MIN_BYTES = 1 << 20


def _read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def parse_status(text):
    """(VmRSS, VmHWM) in bytes from the text of /proc/PID/status; zeros for a zombie."""
    rss = peak = 0
    for line in text.splitlines():
        if line.startswith(b"VmRSS:"):
            rss = int(line.split()[1]) * 1024
        elif line.startswith(b"VmHWM:"):
            peak = int(line.split()[1]) * 1024
    return rss, peak


def _children(pid):
    """Direct children, from every thread's `children` file (empty if the kernel lacks it)."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    found = []
    for thread in threads:
        found.extend(int(p) for p in _read(f"/proc/{pid}/task/{thread}/children").split())
    return found


def _session_members(session):
    """Every process of a session: also those whose parent is gone."""
    members = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = _read(f"/proc/{name}/stat").rpartition(b")")[2].split()
            if len(fields) > 3 and int(fields[3]) == session:
                members.append(int(name))
    return members


class ProcessTree:
    """Polls the tree below `root`, which leads its own session."""

    def __init__(self, root):
        self.root = root
        self.peak = 0
        self._known = {root}
        self._next_scan = 0.0

    def sample(self):
        """Resident bytes of the tree now; remembers the peak. 0 when nothing is alive."""
        if time.monotonic() >= self._next_scan:
            self._next_scan = time.monotonic() + SESSION_SCAN_SECONDS
            self._known.update(_session_members(self.root))
        total = 0
        alive = set()
        pending = list(self._known)
        while pending:
            pid = pending.pop()
            if pid in alive:
                continue
            status = _read(f"/proc/{pid}/status")
            if not status:
                continue
            rss, high = parse_status(status)
            total += rss
            self.peak = max(self.peak, high)
            alive.add(pid)
            pending.extend(_children(pid))
        self._known = alive | {self.root}
        self.peak = max(self.peak, total)
        return total

    def maps_file(self, path):
        """True when a process of the tree has this file mapped."""
        wanted = b" " + os.fsencode(path) + b"\n"
        return any(wanted in _read(f"/proc/{pid}/maps") for pid in self._known)

    def input_fraction(self):
        """How far the largest file that the tree reads has been read (0..1); None if there is none."""
        best = None
        for pid in self._known:
            try:
                descriptors = os.listdir(f"/proc/{pid}/fd")
            except OSError:
                continue
            for descriptor in descriptors:
                found = _read_position(pid, descriptor)
                if found and (best is None or found[0] > best[0]):
                    best = found
        return min(1.0, best[1] / best[0]) if best else None


def _read_position(pid, descriptor):
    """(size, position) of a descriptor that reads a large regular file, else None."""
    try:
        target = os.stat(f"/proc/{pid}/fd/{descriptor}")
    except OSError:
        return None
    if not stat.S_ISREG(target.st_mode) or target.st_size < INPUT_FILE_MIN_BYTES:
        return None
    info = dict(line.split(b":", 1) for line in _read(f"/proc/{pid}/fdinfo/{descriptor}").splitlines()
                if b":" in line)
    try:
        flags, position = int(info[b"flags"], 8), int(info[b"pos"])
    except (KeyError, ValueError):
        return None
    return (target.st_size, position) if flags & os.O_ACCMODE == os.O_RDONLY else None
