"""Dictionaries, strings, JSON, sorting, objects: what a script of a hundred lines does in between."""
import json

state = 12345


def chance(bound):
    global state
    state = (state * 1103515245 + 12345) % (1 << 31)
    return (state >> 8) % bound


class Node:
    def __init__(self, key, value):
        self.key, self.value, self.left, self.right = key, value, None, None


def insert(root, key, value):
    while True:
        side = "left" if key < root.key else "right"
        below = getattr(root, side)
        if below is None:
            setattr(root, side, Node(key, value))
            return
        root = below


words = ["w%x" % chance(1 << 20) for _ in range(120000)]
counts = {}
for word in words:
    counts.setdefault(word[:4], []).append(word)
text = json.dumps({key: sorted(value) for key, value in sorted(counts.items())})
again = json.loads(text)
print(len(text), len(again), sum(len(value) for value in again.values()))
root = Node(chance(1 << 30), "")
for number in range(45000):
    insert(root, chance(1 << 30), str(number) * 3)
lines = [" ".join((words[i], words[-i - 1], str(i * 1.5))) for i in range(90000)]
lines.sort(key=lambda line: line.split()[1])
print(lines[0], lines[-1])
matrix = [[(i * j) % 97 / 7 for j in range(150)] for i in range(150)]
print(sum(sum(a * b for a, b in zip(row, column)) for row, column in zip(matrix, zip(*matrix))))
