"""The headers of many cold NIfTI files, read with nibabel."""

from __future__ import annotations

import subprocess
from pathlib import Path

from common import PYTHON, Mount, Server, Table, clock, datalad_fuse, environment, in_turn, peers, rclone_mount, remove, run, scratch

FILES, FEW = 1000, 134
SCAN = "import nibabel, sys\nfor p in sys.stdin.read().split():\n    assert nibabel.load(p).header.get_data_shape()\n"


def scan(where: Path, paths: list[str]) -> float:
    return clock(lambda: subprocess.run([str(PYTHON), "-c", SCAN], input="\n".join(paths), text=True, cwd=where, check=True, env=environment()))


def measure(table: Table, rounds: int, with_peers: bool) -> None:
    with scratch() as where, Server(where / "origin", FILES, "3.6MB") as server:
        paths = [path for _, path in server.entries()]
        whole = server.said["bytes"]
        moved = []

        def ours(n: int = FILES) -> float:
            with Mount(where / "m", server.dataset) as m:
                server.counts()
                seconds = scan(m.target, paths[:n])
                moved.append(server.counts()["bytes"] / whole)
                return seconds

        def annex() -> float:
            out = where / "clone"
            run("git", "clone", "-q", server.dataset, out, env=peers())
            run("git", "annex", "init", "-q", cwd=out, env=peers())
            try:
                got = clock(lambda: run("git", "annex", "get", "-q", "-J8", ".", cwd=out, env=peers()))
                return got + scan(out, paths)
            finally:
                remove(out)

        what = f"headers of {len(paths)} cold NIfTI files"
        if not with_peers:
            ours()
        else:
            mine, theirs = in_turn(1, ours, annex)
            table.ratio(f"{what} / git annex get -J8 and read", mine, theirs, "≤ 0.33", "s")
        table.add("… bytes moved / bytes of the files", f"{100 * moved[-1]:.2f} %", "≤ 3 %")
        if with_peers:
            for name, mounted in (("datalad-fuse", datalad_fuse), ("rclone mount", rclone_mount)):
                with table.part(f"headers of {FEW}: {name} / ours"):
                    with mounted(where, server) as mnt:
                        server.counts()
                        seconds = scan(mnt, paths[:FEW])
                        part = server.counts()["bytes"] / whole * len(paths) / FEW
                    table.ratio(f"headers of {FEW}: {name} / ours", [seconds], [ours(FEW)], "", "s")
                    table.add("… bytes moved / bytes of the files", f"{100 * part:.0f} %")
