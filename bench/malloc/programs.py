"""The real programs: who is run, on what. Inputs are written by inputs.py, the same at every run."""

import os
import subprocess
import time
from dataclasses import dataclass, field
from typing import Callable, Dict, Optional, Tuple

import inputs

SERVER_SECONDS = 20


@dataclass(frozen=True)
class Program:
    """`arguments` may name {folder}. `probe` are arguments that make the program start and end at once. A server has
    `drive`: it is given the folder and a function that tells whether the server still runs, and returns the seconds
    that the server's clients took."""
    name: str
    title: str
    tool: str
    package: str
    arguments: Tuple[str, ...]
    prepare: Callable[[str], None]
    probe: Tuple[str, ...] = ("--version",)
    environment: Dict[str, str] = field(default_factory=dict)
    needs: Tuple[str, ...] = ()  # other tools
    drive: Optional[Callable[[str, Callable[[], bool]], float]] = None


def _client(folder, *words):
    """A client of the server in this folder; its output."""
    done = subprocess.run([words[0], "-s", os.path.join(folder, "redis.sock"), *words[1:]], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=120, check=True)
    return done.stdout.decode(errors="replace")


def _drive_redis(folder, running):
    """Waits until the server answers, fills and changes it, and ends it."""
    deadline = time.monotonic() + SERVER_SECONDS
    while True:
        try:
            if "PONG" in _client(folder, "redis-cli", "ping"):
                break
        except subprocess.SubprocessError:
            pass
        if time.monotonic() > deadline or not running():
            raise RuntimeError("the server does not answer")
        time.sleep(0.02)
    begin = time.monotonic()
    for tests, count, size in (("set,get,incr", 100000, 60), ("lpush,lpop,sadd,hset", 60000, 40), ("set", 60000, 700)):
        _client(folder, "redis-benchmark", "-q", "-t", tests, "-n", str(count), "-d", str(size), "-r", "50000", "-P", "16")
    seconds = time.monotonic() - begin
    subprocess.run(["redis-cli", "-s", os.path.join(folder, "redis.sock"), "shutdown", "nosave"], stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, timeout=60, check=False)
    return seconds


PROGRAM_TABLE = (
    Program("python3", "dictionaries, strings, JSON, sorting; PYTHONMALLOC=malloc", "python3", "python3",
            ("-S", "{folder}/work.py"), inputs.script("work.py"),
            environment={"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}),
    Program("perl", "hashes of words, regular expressions, sorting", "perl", "perl", ("{folder}/work.pl",),
            inputs.script("work.pl"), environment={"PERL_HASH_SEED": "0"}),
    Program("gcc", "a large C file, -O1 -S", "gcc", "gcc", ("-O1", "-S", "-o", "-", "{folder}/large.c"), inputs.c_source,
            probe=("-S", "-o", "/dev/null", "-x", "c", "/dev/null")),
    Program("sqlite3", "a database in memory: inserts, an index, joins", "sqlite3", "sqlite3",
            ("-batch", "-bail", ":memory:", ".read {folder}/work.sql"), inputs.sql, probe=("-version",)),
    Program("redis", "redis-server under redis-benchmark: strings, lists, sets, hashes", "redis-server", "redis-server",
            ("--port", "0", "--unixsocket", "{folder}/redis.sock", "--save", "", "--appendonly", "no", "--dir", "{folder}",
             "--io-threads", "1", "--activedefrag", "no"),
            inputs.nothing, needs=("redis-benchmark", "redis-cli"), drive=_drive_redis),
    Program("lua", "tables, strings, closures", "lua5.4", "lua5.4", ("{folder}/work.lua",), inputs.script("work.lua"),
            probe=("-v",)),
    Program("z3", "pigeons, and a product of bit vectors", "z3", "z3", ("-smt2", "{folder}/work.smt2"), inputs.smt),
    Program("ghostscript", "eighty pages of text and curves to a bitmap", "gs", "ghostscript",
            ("-q", "-dNOPAUSE", "-dBATCH", "-dSAFER", "-sDEVICE=ppmraw", "-r96", "-sOutputFile=/dev/null", "{folder}/work.ps"),
            inputs.postscript),
    Program("ruby", "objects, strings, hashes", "ruby", "ruby", ("--disable-gems", "{folder}/work.rb"),
            inputs.script("work.rb")),
    Program("git", "the log of a generated repository, with patches", "git", "git",
            ("-C", "{folder}/repository", "log", "-p", "--stat", "--no-color"), inputs.repository,
            environment={"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_PAGER": "cat", "TZ": "UTC"}),
    Program("node", "buffers, JSON, maps, compression", "node", "nodejs", ("{folder}/work.js",), inputs.script("work.js")),
)
