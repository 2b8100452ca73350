"""Answer queries as pybids does: reads {"root": …, "queries": [{filter: [values]}]}
on standard input, writes a list of lists of paths relative to the root. With
"metadata": [path], writes the merged metadata of these files instead."""

import json
import os
import sys
import warnings

warnings.filterwarnings("ignore")

from bids import BIDSLayout  # noqa: E402
from bids.layout import Query  # noqa: E402

SPECIAL = {"@none": Query.NONE, "@any": Query.ANY}

asked = json.load(sys.stdin)
layout = BIDSLayout(asked["root"], validate=False)
known = set(layout.get_entities())
answers = []
for query in asked.get("queries", []):
    if not set(query) <= known:
        answers.append(None)
        continue
    values = {k: [SPECIAL.get(v, v) for v in vs] for k, vs in query.items()}
    files = layout.get(return_type="filename", **values)
    answers.append(sorted(os.path.relpath(f, asked["root"]) for f in files))
if "metadata" in asked:
    index = {os.path.relpath(p, asked["root"]): f for p, f in layout.get_files().items()}
    answers = [dict(index[p].get_metadata()) for p in asked["metadata"]]
json.dump(answers, sys.stdout)
