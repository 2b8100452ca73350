"""Takes the measures that are named, or all, and prints a table."""

from __future__ import annotations

import argparse
import importlib
import sys

from common import Table, say

MEASURES = ("downloads", "reads", "headers", "scale", "trees", "bids", "writes", "jobs")


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=", ".join(MEASURES))
    parser.add_argument("--rounds", type=int, default=5, help="how often each is taken")
    parser.add_argument("--no-peers", action="store_true", help="leave out what is slow: git-annex, datalad, …")
    args = parser.parse_args()
    if unknown := set(args.measures) - set(MEASURES):
        parser.error(f"no such measure: {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    table = Table()
    for name in args.measures or MEASURES:
        say(f"== {name}")
        with table.part(name):
            importlib.import_module(name).measure(table, args.rounds, not args.no_peers)
    table.print()
    if table.failed:
        sys.exit(f"{table.failed} of the measures failed: see the rows")


main()
