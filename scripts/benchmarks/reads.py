"""One large file: cached, beside ext4; cold, beside curl."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common import Mount, Server, Skip, Table, clock, datalad_fuse, drop_caches, in_turn, rclone_mount, remove, run, scratch

SIZE = "340MB"
NOBODY = 65534


def fio(path: Path, how: str, user: int) -> float:
    """The speed of reading a file, in MB/s or in thousands of reads a second.

    It runs as the user that mounted: others may not read there.
    """
    sequential = how == "read"
    become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
    out = run(*become, "fio", "--name=x", f"--filename={path}", "--readonly", f"--rw={how}", "--ioengine=psync",
              "--bs=1M" if sequential else "--bs=4k", "--time_based", "--runtime=3", "--output-format=json",
              "--invalidate=0", "--fadvise_hint=0", cwd=Path("/"))
    read = json.loads(out[out.index("{"):])["jobs"][0]["read"]
    return read["bw_bytes"] / 1e6 if sequential else read["iops"] / 1e3


def object_of(m: Mount) -> Path:
    """The cached file, as it lies on the disk."""
    return max((p for p in (m.cache / "objects").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def first_byte(path: Path) -> float:
    fd = os.open(path, os.O_RDONLY)
    try:
        return clock(lambda: os.pread(fd, 4096, 0))
    finally:
        os.close(fd)


def cached(table: Table, where: Path, server: Server, rounds: int) -> None:
    image = server.entries()[0][1]
    for user in (0, NOBODY):
        os.chmod(where, 0o755)
        os.chmod(where / "origin", 0o755)
        with table.part("cached file, as an ordinary user" if user else "cached file"), Mount(where / "m", server.said["url"], user=user) as m:
            path = m.target / image
            m.ours("prefetch", path)
            passes = m.status()["mounts"][0]["passthrough"]
            how = "passthrough" if passes else "without passthrough, as an ordinary user, read again"
            if passes == (user != 0):
                table.add(f"cached file, {how}", "not taken", "", "this machine has no passthrough" if not user else "an ordinary user has passthrough here")
                continue
            raw = object_of(m)
            for pattern, unit in (("read", "MB/s"), ("randread", "k reads/s")):
                ours, theirs = in_turn(rounds, lambda: fio(path, pattern, user), lambda: fio(raw, pattern, user))
                table.ratio(f"cached file, {pattern}, {how} / ext4", ours, theirs, "≥ 0.95 †" if passes else "≥ 0.5 †", unit)
                if passes:
                    with overlay(where / "overlay", raw) as stacked:
                        both = in_turn(rounds, lambda: fio(stacked, pattern, user), lambda: fio(raw, pattern, user))
                        table.ratio(f"cached file, {pattern}: overlayfs / ext4", *both, "", unit)


@contextmanager
def overlay(where: Path, file: Path) -> Iterator[Path]:
    """A file as overlayfs shows it: the kernel reads through that as it reads
    through a mount of ours, and nobody's program has a part in it."""
    for name in ("upper", "work", "merged"):
        (where / name).mkdir(parents=True)
    layers = f"lowerdir={file.parent},upperdir={where / 'upper'},workdir={where / 'work'}"
    run("mount", "-t", "overlay", "overlay", "-o", layers, where / "merged")
    try:
        yield where / "merged" / file.name
    finally:
        run("umount", where / "merged")
        remove(where)


def cold(table: Table, where: Path, server: Server, rounds: int, with_peers: bool) -> None:
    url, image = server.entries()[0]

    def ours() -> float:
        with Mount(where / "m", server.dataset) as m:
            warm(m, server)
            return clock(lambda: run("dd", f"if={m.target / image}", "of=/dev/null", "bs=1M"))

    def curl() -> float:
        try:
            return clock(lambda: run("curl", "-sSf", "-o", where / "out", url))
        finally:
            (where / "out").unlink(missing_ok=True)

    for name, rate, aim in (("unlimited", "0", "≤ 1.8 †"), ("400 Mbit/s", "400Mbit", "≤ 1.1")):
        server.link("20ms", rate)
        with table.part(f"cold {SIZE} file, sequential, {name} / curl"):
            table.ratio(f"cold {SIZE} file, sequential, {name} / curl", *in_turn(rounds if rate == "0" else 1, ours, curl), aim, "s")
    server.link("20ms", "0")
    if with_peers:
        for name, mounted in (("datalad-fuse", datalad_fuse), ("rclone mount", rclone_mount)):
            with table.part(f"cold {SIZE} file, sequential, unlimited: {name} / curl"):
                with mounted(where, server) as mnt:
                    once = clock(lambda: run("dd", f"if={mnt / image}", "of=/dev/null", "bs=1M"))
                table.ratio(f"cold {SIZE} file, sequential, unlimited: {name} / curl", [once], [curl()], "", "s")
    waits = []
    for _ in range(rounds):
        with Mount(where / "m", server.dataset) as m:
            warm(m, server)
            waits.append(1000 * first_byte(m.target / image))
    table.add("first byte of a cold file, RTT 20 ms", f"{statistics.median(waits):.1f} ms", "≤ 25 ms †", f"{min(waits):.1f}–{max(waits):.1f}")


def warm(m: Mount, server: Server) -> None:
    """Opens a connection, by a look at another file."""
    first_byte(m.target / server.entries()[-1][1])
    time.sleep(0.3)


def measure(table: Table, rounds: int, with_peers: bool) -> None:
    if os.geteuid() != 0:
        raise Skip("only root can drop caches and mount as two users")
    with scratch() as where, Server(where / "origin", 2, SIZE) as server:
        with table.part("cold file"):
            cold(table, where, server, rounds, with_peers)
        drop_caches()
        cached(table, where, server, rounds)
