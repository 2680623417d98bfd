"""Writes what the real programs work on: the same bytes at every run."""

import os
import random
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))


def nothing(_folder):
    """For who needs no input."""


def script(name):
    """Copies a script of the folder beside this file."""
    def prepare(folder):
        shutil.copy(os.path.join(HERE, "scripts", name), folder)
    return prepare


def _write(folder, name, lines):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def c_source(folder):
    """Functions with structures, loops and switches, as a generator of code would write them."""
    chance = random.Random(12)
    lines = ["struct record { int key, kind; struct record *next; double weight; char name[24]; };"]
    for n in range(140):
        fields = [chance.randrange(1, 1000) for _ in range(6)]
        lines += [f"static int step_{n}(struct record *r, int limit) {{", f"  int sum = {fields[0]};",
                  f"  for (int i = 0; i < limit; i++) {{ sum += (i ^ {fields[1]}) * (r->key + {fields[2]});",
                  f"    if (sum % {fields[3]} == 0) r->weight += sum / {fields[4]}.0; else r->name[i % 24] ^= (char)sum; }}",
                  "  switch (r->kind) {"]
        lines += [f"    case {k}: sum {chance.choice('+-^')}= r->key * {chance.randrange(1, 99)}; break;" for k in range(12)]
        lines += ["    default: break; }", "  while (r) { sum += r->kind; r = r->next; }", f"  return sum + {fields[5]};", "}"]
    lines += ["int run(struct record *r, int limit) {", "  int sum = 0;"]
    lines += [f"  sum += step_{n}(r, limit + {n});" for n in range(140)] + ["  return sum;", "}"]
    _write(folder, "large.c", lines)


def sql(folder):
    """Tables, an index, joins, updates, text."""
    lines = ["CREATE TABLE word(id INTEGER PRIMARY KEY, text TEXT, weight INTEGER, parent INTEGER);",
             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000)",
             "INSERT INTO word SELECT i, printf('word-%d-%x', i * 7919 % 100003, i * i), i * 31 % 1009, i * 13 % 5000 FROM n;",
             "CREATE INDEX by_text ON word(text);", "CREATE INDEX by_weight ON word(weight, parent);",
             "SELECT count(*), sum(length(text)) FROM word;",
             "SELECT a.weight, count(*), group_concat(substr(b.text, 6, 4)) FROM word a JOIN word b ON b.id = a.parent"
             " WHERE a.weight < 60 GROUP BY a.weight;",
             "UPDATE word SET text = text || '-' || weight WHERE id % 3 = 0;", "DELETE FROM word WHERE id % 7 = 0;",
             "SELECT text FROM word ORDER BY weight * parent % 997, text LIMIT 50;",
             "SELECT count(*) FROM word WHERE text LIKE '%-5%';"]
    _write(folder, "work.sql", lines)


def smt(folder):
    """More pigeons than holes; then factors of a number in bit vectors."""
    pigeons, holes = 7, 6
    lines = ["(push)"] + [f"(declare-const p{i}_{j} Bool)" for i in range(pigeons) for j in range(holes)]
    lines += [f"(assert (or {' '.join(f'p{i}_{j}' for j in range(holes))}))" for i in range(pigeons)]
    lines += [f"(assert (not (and p{a}_{j} p{b}_{j})))" for j in range(holes) for a in range(pigeons) for b in range(a)]
    lines += ["(check-sat)", "(pop)", "(push)", "(declare-const x (_ BitVec 40))", "(declare-const y (_ BitVec 40))",
              f"(assert (= (bvmul x y) (_ bv{1009 * 1000003} 40)))", "(assert (bvult x (_ bv65536 40)))",
              "(assert (bvult y (_ bv2097152 40)))", "(assert (bvugt x (_ bv1 40)))", "(assert (bvugt y (_ bv1 40)))",
              "(check-sat)", "(pop)"]
    _write(folder, "work.smt2", lines)


def postscript(folder):
    """Pages of text in several sizes, dashes, clipped curves, dictionaries and strings made on the way."""
    chance = random.Random(10)
    lines = ["%!PS-Adobe-3.0", "/table 200 dict def"]
    for page in range(80):
        lines += [f"/Times-Roman findfont {8 + page % 5} scalefont setfont"]
        for row in range(60):
            words = " ".join("".join(chance.choices("abcdefghijklmnoprstuvw", k=chance.randrange(2, 9))) for _ in range(9))
            lines.append(f"40 {760 - 12 * row} moveto ({words}) show")
        for _ in range(60):
            points = " ".join(str(chance.randrange(20, 580)) for _ in range(8))
            lines.append(f"gsave newpath {points.split()[0]} {points.split()[1]} moveto {' '.join(points.split()[2:])} curveto "
                         f"{chance.random():.2f} setgray stroke grestore")
        lines += [f"0 1 400 {{ /i exch def table i 200 mod 40 string i exch cvs put [ 1 2 3 i ] pop }} for", "showpage"]
    _write(folder, "work.ps", lines)


def _commits(chance):
    """A stream for git fast-import."""
    files = {f"folder{n % 7}/file{n}.txt": [f"line {i} of {n}: {chance.randrange(10 ** 9)}" for i in range(120)]
             for n in range(60)}
    names = sorted(files)
    for number in range(1500):
        touched = names if number == 0 else chance.sample(names, 3)
        text, when = f"Change number {number}\n", 1600000000 + number * 600
        yield f"commit refs/heads/main\nmark :{number + 1}\ncommitter A U Thor <author@example.com> {when} +0000\n"
        yield f"data {len(text)}\n{text}"
        for name in touched:
            lines = files[name]
            for _ in range(4):
                lines[chance.randrange(len(lines))] = f"changed in {number}: {chance.randrange(10 ** 12)}"
            content = "\n".join(lines) + "\n"
            yield f"M 100644 inline {name}\ndata {len(content)}\n{content}\n"


def repository(folder):
    """A repository of 1500 commits."""
    where = os.path.join(folder, "repository")
    environment = dict(os.environ, GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL="/dev/null")
    quiet = dict(env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    subprocess.run(["git", "init", "-q", "-b", "main", where], **quiet)
    stream = "".join(_commits(random.Random(2005)))
    subprocess.run(["git", "-C", where, "fast-import", "--quiet"], input=stream.encode(), **quiet)
