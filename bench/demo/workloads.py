"""Unmodified Debian programs that leak on ordinary input, each with a generator of its input.

A workload writes its input below a folder (`prepare`) and names two commands: `full`, in which
the leak makes up nearly all of the memory under glibc, and `small`, the same program on a slice
so short that the leak has no weight yet: its peak is what the live data needs. Output is the
same in every run.
"""

import os
import random
import shutil
import subprocess
from dataclasses import dataclass
from typing import Callable, Optional, Tuple

from measure import Command, Feed


@dataclass
class Job:
    """What a run of the demonstration needs to know."""
    title: str
    full: Command
    small: Optional[Command]
    small_text: str = ""
    small_share: float = 0.0


@dataclass
class Workload:
    """An entry of the table below."""
    name: str
    packages: Tuple[str, ...]
    tools: Tuple[str, ...]
    leak: str
    prepare: Callable[[str], Job]


def _environment(folder, **more):
    """What the programs see: nothing of the user's settings."""
    return dict(PATH=os.environ.get("PATH", os.defpath), HOME=folder, LC_ALL="C.UTF-8", TZ="UTC", **more)


def _write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def _mktree(folder):
    entries, trees, repeats, small_trees = 500, 10, 850, 4
    words = ["alloc", "cache", "event", "frame", "index", "lexer", "merge", "parse", "queue", "table"]
    chance = random.Random(1)
    listing, small_bytes = [], 0
    for tree in range(trees):
        for entry in range(entries):
            blob = f"{chance.getrandbits(160):040x}"
            mode = "100755" if entry % 25 == 0 else "100644"
            listing.append(f"{mode} blob {blob}\t{words[tree]}_{words[entry % 10]}_{entry:04d}.c\n")
        listing.append("\n")
        if tree + 1 == small_trees:
            small_bytes = sum(map(len, listing))
    text = "".join(listing)
    path = _write(os.path.join(folder, "trees.txt"), text)
    environment = _environment(folder, GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL="/dev/null")
    subprocess.run(["git", "init", "-q", "--bare", "--object-format=sha1", "repo.git"],
                   cwd=folder, env=environment, check=True)
    argv = ["git", "--git-dir=repo.git", "mktree", "--missing", "--batch"]
    subprocess.run(argv, cwd=folder, env=environment, check=True,
                   input=text.encode(), stdout=subprocess.DEVNULL)  # all runs find the objects written
    total = trees * repeats
    return Job(f"git mktree --missing --batch: {total} trees of {entries} entries",
               Command(argv, folder, environment, Feed(path, len(text) * repeats)),
               Command(argv, folder, environment, Feed(path, small_bytes)),
               f"the first {small_trees} of the {total} trees", small_trees / total)


def _graphs(folder, argv, title, count, small_count, more_edges):
    """Many small digraphs in one stream, as graphviz tools read them."""
    lines = []
    for i in range(1, count + 1):
        extra = f" a{i}->d; b->e->f; a{i}->f; g->f [label=ok];" if more_edges else ""
        lines.append(
            f"digraph call{i} {{ rankdir=LR; node [shape=record]; "
            f"a{i} [label=\"<f0> name|<f1> size|<f2> next\"]; b [shape=box,style=filled,label=\"block {i}\"]; "
            f"a{i}:f0->b [label=\"use {i}\"]; b->c; c->d [style=dashed];{extra} "
            "subgraph cluster_0 { label=\"inner\"; c; d; } }\n")
    path = _write(os.path.join(folder, "graphs.gv"), "".join(lines))
    environment = _environment(folder)
    return Job(f"{title}: {count} small digraphs",
               Command(argv, folder, environment, Feed(path, sum(map(len, lines)))),
               Command(argv, folder, environment, Feed(path, sum(map(len, lines[:small_count])))),
               f"the first {small_count} of the {count} graphs", small_count / count)


def _dot(folder):
    return _graphs(folder, ["dot", "-Tplain"], "dot -Tplain", 50000, 50, False)


def _unflatten(folder):
    return _graphs(folder, ["unflatten", "-l3"], "unflatten -l3", 50000, 20, True)


def _xmlstarlet(folder):
    files, repeats, small_files = 50, 250, 20
    names = []
    for k in range(files):
        chance = random.Random(k)
        items = "".join(
            f"<item id=\"{i}\"><name>thing {chance.randrange(10 ** 6)}</name>"
            f"<price>{chance.randrange(10 ** 4) / 100:.2f}</price><tag>{chance.choice('abcdef') * 4}</tag></item>\n"
            for i in range(200))
        names.append(f"catalog{k:02d}.xml")
        _write(os.path.join(folder, names[-1]), f"<?xml version=\"1.0\"?>\n<catalog>\n{items}</catalog>\n")
    argv = ["xmlstarlet", "sel", "-T", "-t", "-m", "//item", "-v", "@id", "-o", ",", "-v", "name",
            "-o", ",", "-v", "price", "-n"]
    total, environment = files * repeats, _environment(folder)
    return Job(f"xmlstarlet sel over {total} files",
               Command(argv + names * repeats, folder, environment),
               Command(argv + names[:small_files], folder, environment),
               f"{small_files} of the {total} files", small_files / total)


VERILOG = """// each transaction is a doubly linked list of packets, dropped when done
module bench;
  class Packet; int id; string name; Packet next; Packet prev; endclass
  Packet head, tail, fresh; integer i, j; longint sum;
  initial begin
    sum = 0;
    for (i = 0; i < %d; i = i + 1) begin
      head = new; head.id = i; head.name = "head"; tail = head;
      for (j = 1; j < 16; j = j + 1) begin
        fresh = new; fresh.id = i * 16 + j; fresh.name = "payload"; fresh.prev = tail;
        tail.next = fresh; tail = fresh; sum = sum + fresh.id;
      end
      if (i %% 20 == 0) $display("%%0d %%0d", i, sum);
    end
    $finish(0);
  end
endmodule
"""


def _vvp(folder):
    lists, small_lists = 200000, 200
    environment = _environment(folder)
    for name, count in (("full", lists), ("small", small_lists)):
        source = _write(os.path.join(folder, f"{name}.sv"), VERILOG % count)
        subprocess.run(["iverilog", "-g2012", "-o", f"{name}.vvp", source], cwd=folder, check=True)
    return Job(f"vvp simulation: {lists} linked lists of 16 class objects",
               Command(["vvp", "-n", "full.vvp"], folder, environment),
               Command(["vvp", "-n", "small.vvp"], folder, environment),
               f"{small_lists} of the {lists} lists", small_lists / lists)


WORKLOADS = {w.name: w for w in (
    Workload("mktree", ("git",), ("git",), "git mktree --batch loses the entries of every tree", _mktree),
    Workload("dot", ("graphviz",), ("dot",), "dot loses the layout's virtual edges", _dot),
    Workload("unflatten", ("graphviz",), ("unflatten",), "unflatten loses every graph it has read", _unflatten),
    Workload("xmlstarlet", ("xmlstarlet",), ("xmlstarlet",),
             "xmlstarlet sel loses a result document per file", _xmlstarlet),
    Workload("vvp", ("iverilog",), ("vvp", "iverilog"),
             "vvp loses SystemVerilog objects in cycles", _vvp),
)}
DEFAULT = "mktree"


def missing_tools(workload):
    """Names of the programs of a workload that are not installed."""
    return [tool for tool in workload.tools if shutil.which(tool) is None]
