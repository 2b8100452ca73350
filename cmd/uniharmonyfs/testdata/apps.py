"""What fMRIPrep asks of a dataset first: reads {"root": …, "subject": …} on
standard input, writes the files that niworkflows collects for the subject and
the fieldmap estimators that sdcflows finds, paths relative to the root.
"filters" are those of a BIDS filter file."""

import json
import logging
import os
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)

from bids import BIDSLayout  # noqa: E402
from niworkflows.utils.bids import collect_data  # noqa: E402
from sdcflows.utils.wrangler import find_estimators  # noqa: E402

asked = json.load(sys.stdin)
root = os.path.realpath(asked["root"])
layout = BIDSLayout(root, validate=asked.get("validate", True))


def relative(value):
    if isinstance(value, (str, Path)):
        return os.path.relpath(value, root)
    return [relative(v) for v in value]


data, _ = collect_data(layout, asked["subject"], bids_filters=asked.get("filters"))
estimators = []
for e in find_estimators(layout=layout, subject=asked["subject"]):
    sources = [[relative(s.path), s.suffix, {k: v for k, v in s.metadata.items() if k != "IntendedFor"}] for s in e.sources]
    estimators.append([e.method.name, e.bids_id if not e.bids_id.startswith("auto_") else "auto", sorted(sources, key=lambda s: s[0])])
json.dump({"files": {k: relative(v) for k, v in data.items()}, "estimators": sorted(estimators, key=lambda e: [s[0] for s in e[2]])}, sys.stdout)
