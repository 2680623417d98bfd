"""When cycles start, as their traces tell.

Law: what a cycle may find, and so when it is worth it, does not depend on how it marks.
"""
import json
import os

from harness import expect, folder, helper, works


def traced(*arguments, **settings):
    with folder() as at:
        path = os.path.join(at, "trace.json")
        works([helper("leak"), *map(str, arguments)], GCMALLOC_TRACE_JSON=path, **settings)
        with open(path, encoding="utf-8") as file:
            return [json.loads(line) for line in file]


def test_who_is_stopped_collects_at_its_goal():
    """Nothing is allocated during a cycle in one stop: to start it earlier would only mean more of them."""
    cycles = traced(1500, 30000, GCMALLOC_DIRTY="none")
    grown = [(now["heap_before"], before["heap_goal"]) for before, now in zip(cycles[3:], cycles[4:])
             if now["reason"] == "growth"]
    expect(len(grown) >= 5, "%d cycles by growth of %d" % (len(grown), len(cycles)))
    early = [pair for pair in grown if pair[0] < pair[1] * 9 // 10]
    expect(not early, "of %d cycles by growth these began early: %s" % (len(grown), early[:5]))
