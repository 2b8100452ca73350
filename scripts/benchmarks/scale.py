"""Large datasets: mounting, walking, memory."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from pathlib import Path

from gitserver import GitServer
from common import DATASETS, PROGRAM, Mount, Server, Skip, Table, clock, drop_caches, in_turn, remove, run, scratch


def resident(pid: int) -> float:
    """What a process holds in memory, in MiB, without files mapped."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


def walk(where: Path) -> float:
    return clock(lambda: run("find", where, "-size", "+1G"))


def mounting(table: Table, rounds: int) -> None:
    bundle = DATASETS / "ds004712.bundle"
    if not bundle.exists():
        raise Skip(f"{bundle} is not there")
    with scratch() as where:
        repository = where / "repository"
        run("git", "clone", "-q", "--bare", "-b", "main", bundle, repository)

        def first(url: str) -> float:
            with Mount(where / "m", url) as m:
                return m.seconds

        def clone(url: str) -> float:
            out = where / "clone"
            try:
                return clock(lambda: run("git", "clone", "-q", "--bare", "--depth", "1", url, out))
            finally:
                remove(out)

        local = f"file://{repository}"
        table.ratio("first mount of a local repository of 29,645 files / git clone --bare --depth 1", *in_turn(rounds, lambda: first(local), lambda: clone(local)), "≤ 1.3 †", "s")
        with GitServer(repository) as server:
            table.ratio("first mount of 29,645 files by HTTP, 20 ms away / git clone --bare --depth 1", *in_turn(rounds, lambda: first(server.url), lambda: clone(server.url)), "≤ 1.3 †", "s")
            sent = []
            for leaves_out in ("false", "true"):
                run("git", "-C", repository, "config", "uploadpack.allowFilter", leaves_out)
                server.sent = 0
                first(server.url)
                sent.append(server.sent / 1e6)
            table.add("… bytes from git, of a server that leaves out what is not wanted / of another", f"{sent[1] / sent[0]:.2f}", "≤ 0.4", f"{sent[1]:.1f} / {sent[0]:.1f} MB")
        with Mount(where / "m", f"file://{repository}") as m:
            again = [1000 * m.remount(f"file://{repository}") for _ in range(rounds)]
            table.add("mount of a known dataset of 29,645 files", f"{statistics.median(again):.0f} ms", "≤ 100 ms †", f"{min(again):.0f}–{max(again):.0f}")
            run("find", m.target, "-size", "+1G")
            time.sleep(3)
            table.add("memory of the daemon, 29,645 files, after a walk", f"{resident(m.daemon()):.0f} MiB", "≤ 40 MiB")


def first_content(table: Table, rounds: int) -> None:
    """The first file after a first mount, and many after it."""
    with scratch() as where, Server(where / "origin", 14_000, "4K") as server:
        run("git", "-C", server.dataset, "config", "uploadpack.allowFilter", "true")
        once, many = [], []
        for _ in range(rounds):
            with Mount(where / "m", server.said["url"], "--allow-address", "127.0.0.1", "--no-readahead", wait=False) as m:
                names = [p for p in run("find", m.target, "-name", "*.nii.gz").splitlines()[:135]]
                once.append(clock(lambda: Path(names[0]).read_bytes()))
                many.append(clock(lambda: [Path(p).read_bytes() for p in names[1:]]))
        table.add("first content after the first mount of 14,000 files, 20 ms away", f"{1000 * statistics.median(once):.0f} ms", "≤ 300 ms", f"{1000 * min(once):.0f}–{1000 * max(once):.0f}")
        table.add("… 134 files after it, one by one", f"{statistics.median(many):.2f} s", "", f"{min(many):.2f}–{max(many):.2f}")


def million(table: Table, rounds: int) -> None:
    """A million files, beside the same tree on ext4."""
    with scratch() as where, Server(where / "origin", 1_000_000, "4K", sessions=10) as server:
        with Mount(where / "m", server.dataset) as m:
            table.add(f"first mount of {server.said['files']:,} files", f"{m.seconds:.1f} s")
            again = [m.remount(server.dataset) for _ in range(3)]
            table.add("… known", f"{statistics.median(again):.2f} s", "", f"{min(again):.2f}–{max(again):.2f}")
            native = where / "native"
            with ext4(where, native):
                copy_names(m.target, native)

                def cold(path: Path) -> float:
                    drop_caches()
                    return walk(path)

                table.ratio("find -size over them, cold / ext4", *in_turn(rounds, lambda: cold(m.target), lambda: cold(native)), "≤ 1.0 †", "s")
                walk(m.target), walk(native)
                table.ratio("… again / ext4", *in_turn(rounds, lambda: walk(m.target), lambda: walk(native)), "≤ 1.1 †", "s")
            time.sleep(5)
            table.add(f"memory of the daemon, {server.said['files']:,} files, after the walks", f"{resident(m.daemon()):.0f} MiB", "≤ 150 MiB")


class ext4:
    """An ext4 file system of its own, mounted at a directory."""

    def __init__(self, where: Path, target: Path):
        self.image, self.target = where / "ext4", target

    def __enter__(self) -> None:
        with open(self.image, "wb") as f:
            f.truncate(8 << 30)
        run("mkfs.ext4", "-q", "-N", 1_400_000, "-O", "^has_journal", self.image)
        self.target.mkdir()
        run("mount", "-o", "loop", self.image, self.target)

    def __exit__(self, *_: object) -> None:
        run("umount", self.target)
        self.image.unlink()


def copy_names(source: Path, target: Path) -> None:
    """Makes sparse files of the same names and sizes."""
    for directory, names, files in os.walk(source):
        there = target / Path(directory).relative_to(source)
        for name in names:
            (there / name).mkdir()
        for name in files:
            fd = os.open(there / name, os.O_WRONLY | os.O_CREAT, 0o444)
            os.ftruncate(fd, os.stat(os.path.join(directory, name)).st_size)
            os.close(fd)


def measure(table: Table, rounds: int, with_peers: bool) -> None:
    if os.geteuid() != 0:
        raise Skip("only root can drop caches and mount an ext4 beside it")
    with table.part("mounting"):
        mounting(table, rounds)
    with table.part("first content"):
        first_content(table, rounds)
    with table.part("a million files"):
        million(table, min(rounds, 3))
