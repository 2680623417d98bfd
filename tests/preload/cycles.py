"""When cycles start, as their traces tell.

Law: what a cycle may find, and so when it is worth it, does not depend on how it marks.
"""
import json
import os

from harness import Skipped, expect, folder, helper, works


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


def test_cycles_that_follow_closely_are_minor():
    """Most of what such a program loses is young: one short stop finds it, and what is old is not marked again."""
    cycles = traced(3000, 48)
    if cycles[-1]["dirty_source"] != "uffd":
        raise Skipped("nothing tells what was written")
    minor = [cycle for cycle in cycles if cycle["minor"]]
    expect(len(minor) >= len(cycles) // 3, "%d of %d cycles are minor" % (len(minor), len(cycles)))
    short = [cycle for cycle in minor if len(cycle["pause_us"]) == 1]
    expect(len(short) >= len(minor) // 3, "%d of %d minor cycles needed one stop" % (len(short), len(minor)))
    found = sum(cycle["reclaimed_bytes"] for cycle in cycles)
    expect(found >= 3000 << 19, "%d MiB of 3000 were found" % (found >> 20))
    expect(any(not cycle["minor"] for cycle in cycles[len(cycles) // 2:]), "no full cycle comes any more")
