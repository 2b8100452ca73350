"""Read tables as pybids does: reads a list of paths on standard input, writes
for each its columns: {name: [cells]}, cells that are missing being null."""

import json
import sys

import pandas as pd


def cell(value):
    if pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value


tables = []
for path in json.load(sys.stdin):
    table = pd.read_csv(path, sep="\t", na_values="n/a", encoding="utf-8-sig")
    tables.append({name: [cell(v) for v in table[name]] for name in table.columns})
json.dump(tables, sys.stdout)
