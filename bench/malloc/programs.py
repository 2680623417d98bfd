"""The real programs: what each is to do, with inputs made anew by the same rules each time.

Law: a program prints the same under every allocator; it is named as skipped where it is not installed.
"""

import os
import random
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import Callable, Dict, List, Optional

PYTHON = """
import json, re, collections
rows = [{"id": i, "name": "n%d" % (i * 7919 % 100003), "tags": [str(i % k) for k in range(2, 9)]} for i in range(40000)]
text = json.dumps(rows)
rows = json.loads(text)
words = collections.Counter(re.findall(r"n\\d+", text))
by = collections.defaultdict(list)
for r in rows: by[r["tags"][3]].append(r["name"][::-1])
class Node:
    def __init__(self, v): self.v, self.l, self.r = v, None, None
root = Node(50021)
for i in range(120000):
    v, n = i * 7919 % 100003, root
    while True:
        side = "l" if v < n.v else "r"
        nxt = getattr(n, side)
        if nxt is None: setattr(n, side, Node(v)); break
        n = nxt
print(len(words), sorted((k, len(v)) for k, v in by.items()), sum(len(s) for v in by.values() for s in v))
"""
PERL = r"""
my (%h, @l); my $s = 1;
for my $i (1 .. 700000) {
  $s = ($s * 1103515245 + 12345) % 2147483648;
  my $k = $s % 60000;
  push @{ $h{$k} }, "v$i" x (1 + $s % 5);
  delete $h{$s % 59999} if $i % 7 == 0;
}
@l = sort { $a cmp $b } map { @$_ } values %h;
my $t = join ",", @l; my $n = () = $t =~ /v\d*7/g;
print scalar(keys %h), " ", scalar(@l), " $n\n";
"""
LUA = """
local t, s = {}, 1
for i = 1, 1500000 do
  s = (s * 16807) % 2147483647
  local k = s % 50000
  t[k] = { i, "x" .. (s % 1000), next = t[(s // 7) % 50000] and { k } or nil }
end
local n, m = 0, 0
for k, v in pairs(t) do n = n + v[1]; m = m + #v[2] end
print(n, m)
"""
RUBY = """
s = 1
h = Hash.new { |hash, k| hash[k] = [] }
400_000.times do |i|
  s = (s * 1103515245 + 12345) % 2147483648
  h[s % 30000] << "v#{i}" * (1 + s % 4)
  h.delete(s % 29999) if i % 9 == 0
end
l = h.values.flatten.sort
puts h.size, l.size, l.join(",").scan(/v\\d*7/).size
"""
NODE = """
let s = 1, m = new Map();
for (let i = 0; i < 1500000; i++) {
  s = (s * 16807) % 2147483647;
  const k = s % 40000;
  m.set(k, { i, text: "x" + s, list: [s % 3, s % 5, m.get(s % 39999)?.i] });
}
const text = JSON.stringify([...m.entries()]);
const b = []; for (let i = 0; i < 200; i++) b.push(Buffer.alloc(65536 + i, i));
console.log(m.size, text.length, JSON.parse(text).length, Buffer.concat(b).length);
"""
SQL = """
CREATE TABLE a(id INTEGER PRIMARY KEY, k INTEGER, t TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250000)
  INSERT INTO a SELECT i, (i * 7919) % 100003, 'text ' || (i * 31 % 9973) FROM n;
CREATE INDEX ak ON a(k); CREATE INDEX at ON a(t);
SELECT count(*), sum(length(x.t)) FROM a x JOIN a y ON x.k = y.id WHERE y.t > 'text 5';
SELECT t, count(*) c FROM a GROUP BY t ORDER BY c DESC, t LIMIT 5;
DELETE FROM a WHERE k % 3 = 0;
SELECT group_concat(t) FROM (SELECT DISTINCT t FROM a ORDER BY t LIMIT 20);
"""
POSTSCRIPT = """%!PS
/Helvetica findfont 9 scalefont setfont
/r { seed 16807 mul 2147483647 mod /seed exch def seed exch mod } def
1 1 2 { /seed exch 7919 mul def
  1 1 1500 { pop 600 r 780 r moveto 12 { 600 r 780 r 600 r 780 r 600 r 780 r curveto } repeat
    100 r 100 div 100 r 100 div 100 r 100 div setrgbcolor stroke } for
  1 1 1500 { pop 500 r 780 r moveto 0 setgray (text of a page) show } for
  showpage } for
"""
REDIS = r"""
redis-server --port 0 --unixsocket "$1/redis.sock" --save '' --appendonly no --daemonize no > /dev/null 2>&1 &
server=$!
unset LD_PRELOAD
for i in $(seq 100); do redis-cli -s "$1/redis.sock" ping > /dev/null 2>&1 && break; sleep 0.02; done
redis-benchmark -s "$1/redis.sock" -q -n 120000 -r 50000 -d 200 -P 16 -t set,get,lpush,hset,zadd,sadd > /dev/null
redis-cli -s "$1/redis.sock" get key:000000000001 > /dev/null && echo served
redis-cli -s "$1/redis.sock" shutdown nosave
wait $server
"""


def _source(path):
    """A C program of many functions, for the compiler."""
    draw = random.Random(1)
    with open(path, "w", encoding="ascii") as file:
        file.write("#include <stdio.h>\nstruct s { int a, b; double c; };\n")
        for i in range(90):
            file.write(f"static int f{i}(struct s *p, int n) {{\n  int x = n, t[16] = {{ {draw.randrange(99)} }};\n")
            for _ in range(12):
                k, m = draw.randrange(16), draw.randrange(1, 97)
                file.write(f"  for (int i = 0; i < (n & {m}); i++) {{ t[{k}] += p->a * {m} + x; if (t[{k}] > {m * 13}) "
                           f"x ^= t[(i + {k}) & 15] << {k & 7}; else p->b -= x; }}\n")
            file.write(f"  p->c += x * {draw.random():.3f};\n  return x + t[{draw.randrange(16)}];\n}}\n")
        file.write("int main(void) { struct s v = { 1, 2, 3 }; int n = 0;\n")
        file.writelines(f"  n += f{i}(&v, n);\n" for i in range(90))
        file.write('  printf("%d\\n", n); return 0; }\n')


def _pigeons(path):
    """Numbers that do not fit, and a little arithmetic, for the solver."""
    holes = 9
    with open(path, "w", encoding="ascii") as file:
        names = [[f"p{i}_{k}" for k in range(holes)] for i in range(holes + 1)]
        file.writelines(f"(declare-const {n} Bool)\n" for row in names for n in row)
        file.writelines(f"(assert (or {' '.join(row)}))\n" for row in names)
        for k in range(holes):
            file.writelines(f"(assert (not (and p{i}_{k} p{m}_{k})))\n" for i in range(holes + 1) for m in range(i))
        file.write("(check-sat)\n")


def _repository(folder):
    """A history of some hundred commits."""
    draw, stream, lines = random.Random(2), [], [[f"line {i} of {n}" for i in range(300)] for n in range(40)]
    for commit in range(300):
        stream.append(f"commit refs/heads/main\nmark :{commit + 1}\ncommitter a <a@b> {1600000000 + commit} +0000\ndata 1\nc\n")
        for _ in range(6):
            n = draw.randrange(40)
            lines[n][draw.randrange(300)] = f"line {draw.random()} of {commit}"
            text = "\n".join(lines[n])
            stream.append(f"M 100644 inline file{n}\ndata {len(text)}\n{text}\n")
    subprocess.run(["git", "init", "-q", folder], check=True)
    subprocess.run(["git", "-C", folder, "fast-import", "--quiet"], input="".join(stream).encode(), check=True)


def _write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


@dataclass(frozen=True)
class Program:
    """`command(folder)` is what runs; `make(folder)` writes its inputs before; `needs`: programs, `packages`: Debian's."""
    what: str
    needs: List[str]
    packages: List[str]
    command: Callable[[str], List[str]]
    make: Optional[Callable[[str], None]] = None
    environment: Dict[str, str] = field(default_factory=dict)

    def missing(self):
        """Programs that are not there."""
        return [name for name in self.needs if not shutil.which(name)]


def _script(program, flag, text):
    return lambda folder: [program, flag, text]


PROGRAMS = {
    "python3": Program("JSON, dictionaries and a tree of objects", ["python3"], ["python3"], _script("python3", "-c", PYTHON),
                       environment={"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"}),
    "perl": Program("hashes of lists of strings", ["perl"], ["perl"], _script("perl", "-e", PERL),
                    environment={"PERL_HASH_SEED": "0"}),
    "gcc": Program("90 functions, -O1", ["gcc"], ["gcc"], lambda folder: ["gcc", "-O1", "-S", "-o", "-", folder + "/large.c"],
                   lambda folder: _source(folder + "/large.c")),
    "sqlite3": Program("a table of 250,000 rows in memory", ["sqlite3"], ["sqlite3"],
                       lambda folder: ["sqlite3", ":memory:", ".read " + folder + "/input.sql"],
                       lambda folder: _write(folder + "/input.sql", SQL)),
    "redis": Program("redis-benchmark, six commands", ["redis-server", "redis-benchmark", "redis-cli"],
                     ["redis-server", "redis-tools"], lambda folder: ["sh", "-c", REDIS, "sh", folder]),
    "lua": Program("tables and strings", ["lua5.4"], ["lua5.4"], _script("lua5.4", "-e", LUA)),
    "z3": Program("ten pigeons in nine holes", ["z3"], ["z3"], lambda folder: ["z3", folder + "/pigeons.smt2"],
                  lambda folder: _pigeons(folder + "/pigeons.smt2")),
    "ghostscript": Program("two pages of curves and text", ["gs"], ["ghostscript"],
                           lambda folder: ["gs", "-q", "-dBATCH", "-dNOPAUSE", "-sDEVICE=ppmraw", "-r72", "-sOutputFile=/dev/null",
                                           folder + "/pages.ps"],
                           lambda folder: _write(folder + "/pages.ps", POSTSCRIPT)),
    "ruby": Program("hashes of lists of strings", ["ruby"], ["ruby"], _script("ruby", "-e", RUBY)),
    "git": Program("a history of 300 commits with patches", ["git"], ["git"],
                   lambda folder: ["git", "-C", folder + "/history", "log", "--stat", "-p", "-M", "main"],
                   lambda folder: _repository(folder + "/history")),
    "node": Program("maps, JSON and buffers", ["node"], ["nodejs"], _script("node", "-e", NODE)),
}


def packages():
    """What `make bench` installs for them."""
    return sorted({p for program in PROGRAMS.values() for p in program.packages})


def prepare(folder, names):
    """Writes the inputs of these programs; {name: why it cannot run}."""
    skipped = {}
    for name in names:
        missing = PROGRAMS[name].missing()
        if missing:
            skipped[name] = "not installed: " + ", ".join(missing)
        elif PROGRAMS[name].make:
            PROGRAMS[name].make(folder)
    return skipped


if __name__ == "__main__":
    print(" ".join(packages()))
