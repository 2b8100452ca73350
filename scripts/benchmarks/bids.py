"""BIDSLayout with metadata: of a view, and of the whole dataset."""

from __future__ import annotations

import resource
import subprocess
from pathlib import Path

from common import DATASETS, PYTHON, Mount, Skip, Table, clock, environment, run, scratch

INDEX = "import bids, sys\nlayout = bids.BIDSLayout(sys.argv[1], validate=False)\nassert layout.get(suffix='T1w')\n"


def index(where: Path) -> float:
    return clock(lambda: subprocess.run([str(PYTHON), "-W", "ignore", "-c", INDEX, str(where)], check=True, env=environment()))


def measure(table: Table, rounds: int, with_peers: bool) -> None:
    bundle = DATASETS / "ds004712.bundle"
    if not bundle.exists():
        raise Skip(f"{bundle} is not there")
    with scratch() as where:
        clone = where / "ds004712"
        run("git", "clone", "-q", "-b", "main", bundle, clone)
        started = clock(lambda: run(PYTHON, "-W", "ignore", "-c", "import bids"))
        with Mount(where / "m", bundle, "--sub", "03286", "--modality", "anat,func") as m:
            views = [index(m.target) for _ in range(rounds)]
        whole = index(clone)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        table.ratio("BIDSLayout of --sub 03286 --modality anat,func / of the full clone", views, [whole] * len(views), "≤ 0.02",
                    f"s; {started:.1f} s of each is Python's start; {peak:.0f} MiB")
