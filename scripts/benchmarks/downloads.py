"""Many files: through the mount and by get, beside curl, git-annex, datalad."""

from __future__ import annotations

import subprocess
from pathlib import Path

from common import Mount, Server, Table, clock, cloned, in_turn, peers, readers, remove, run, scratch, environment, PROGRAM

LINKS = {"unlimited": "0", "400 Mbit/s": "400Mbit"}
AIMS = {  # of the mount, and of get, in times of curl's time
    ("3.6 MB", "unlimited"): ("≤ 1.3 †", "≤ 1.25 †"),
    ("3.6 MB", "400 Mbit/s"): ("≤ 1.03", "≤ 1.03"),
    ("4 KB", "unlimited"): ("≤ 1.6 †", "≤ 1.5 †"),
    ("4 KB", "400 Mbit/s"): ("", ""),
}


class Work:
    """One set of files, and each tool's way to bring them."""

    def __init__(self, where: Path, server: Server):
        self.where, self.server = where, server
        self.paths = [path for _, path in server.entries()]

    def curl(self) -> float:
        out = self.where / "curl"
        out.mkdir()
        try:
            return clock(lambda: run("curl", "-sS", "-f", "-Z", "--parallel-max", "8", "--create-dirs", "-K", self.server.urls, cwd=out))
        finally:
            remove(out)

    def mount(self) -> float:
        with Mount(self.where / "m", self.server.dataset) as m:
            return readers(m.target, self.paths, 8)

    def get(self) -> float:
        cache, target = self.where / "cache", self.where / "target"
        env = {"UNIHARMONYFS_CACHE": str(cache)}
        try:
            # The dataset is known, as it is to the others.
            run(PROGRAM, "mount", "--dataset", self.server.dataset, target, env=env)
            cloned(cache)
            run(PROGRAM, "unmount", target, env=env)
            return clock(lambda: run(PROGRAM, "get", "--dataset", self.server.dataset, target, env=env))
        finally:
            run(PROGRAM, "clean", "--all", env=env)
            remove(target)

    def clone(self) -> Path:
        out = self.where / "clone"
        run("git", "clone", "-q", self.server.dataset, out, env=peers())
        run("git", "annex", "init", "-q", cwd=out, env=peers())
        return out

    def annex(self) -> float:
        out = self.clone()
        try:
            return clock(lambda: run("git", "annex", "get", "-q", "-J8", ".", cwd=out, env=peers()))
        finally:
            remove(out)

    def datalad(self) -> float:
        out = self.clone()
        try:
            return clock(lambda: run("datalad", "-l", "error", "get", "-J8", ".", cwd=out, env=peers()))
        finally:
            remove(out)


def measure(table: Table, rounds: int, with_peers: bool) -> None:
    for size, files in (("3.6 MB", 134), ("4 KB", 214)):
        with scratch() as where, Server(where / "origin", files, size.replace(" ", "")) as server:
            work = Work(where, server)
            for name, rate in LINKS.items():
                server.link("20ms", rate)
                few = 1 if rate != "0" else rounds
                what = f"{len(work.paths)} files of {size}, {name}"
                aims = AIMS[size, name]
                with table.part(what):
                    mount, curl, get = in_turn(few, work.mount, work.curl, work.get)
                    table.ratio(f"{what}: 8 readers / curl", mount, curl, aims[0], "s")
                    table.ratio(f"{what}: get / curl", get, curl, aims[1], "s")
                for peer, one in (("git annex get -J8", work.annex), ("datalad get -J8", work.datalad)) if with_peers else ():
                    with table.part(f"{what}: {peer} / curl"):
                        table.ratio(f"{what}: {peer} / curl", *in_turn(1, one, work.curl), "", "s")
