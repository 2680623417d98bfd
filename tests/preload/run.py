#!/usr/bin/env python3
"""The library under real programs: run.py LIB --bin FOLDER [NAME…]

Law: FOLDER holds the compiled helpers (tests/preload/*.c). Prints `ok NAME`, `skip NAME why` or
`FAIL NAME why` for each test, and a count; status 0 when none failed. NAMEs choose tests by part of their name.
"""
import argparse
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cycles
import environment
import harness
import programs


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lib")
    parser.add_argument("--bin", required=True)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_intermixed_args()
    harness.Setting.lib = os.path.abspath(arguments.lib)
    harness.Setting.bin = os.path.abspath(arguments.bin)
    if not os.path.exists(harness.Setting.lib):
        sys.exit("no library at " + arguments.lib)
    sys.exit(harness.run_all([cycles, environment, programs], arguments.names))


if __name__ == "__main__":
    main()
