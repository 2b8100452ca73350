"""What is written over a view, beside ext4."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common import Mount, Server, Skip, Table, clock, in_turn, remove, run, scratch

NOBODY = 65534
SIZE = "256M"


def fio(where: Path, how: str, user: int) -> float:
    """The speed of writing a new file, till it is on the disk: in MB/s, or in thousands
    of writes a second."""
    sequential = how == "write"
    become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
    written = where / "written"
    try:
        out = run(*become, "fio", "--name=x", f"--filename={written}", f"--rw={how}", "--ioengine=psync",
                  "--bs=1M" if sequential else "--bs=4k", f"--size={SIZE}", "--end_fsync=1", "--output-format=json", cwd=Path("/"))
    finally:
        run(*become, "rm", "-f", written)
    write = json.loads(out[out.index("{"):])["jobs"][0]["write"]
    return write["bw_bytes"] / 1e6 if sequential else write["iops"] / 1e3


@contextmanager
def stacked(where: Path) -> Iterator[Path]:
    """An overlay of the kernel's in which nothing is ours."""
    for name in ("lower", "upper", "work", "merged"):
        (where / name).mkdir(parents=True)
    run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={where / 'lower'},upperdir={where / 'upper'},workdir={where / 'work'}", where / "merged")
    try:
        yield where / "merged"
    finally:
        run("umount", where / "merged")
        remove(where)


def small(where: Path, user: int) -> float:
    """The time that 2,000 files of 4 KB take, in directories of 100."""
    become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
    script = 'for d in $(seq 20); do mkdir -p "$0/small/$d"; for f in $(seq 100); do head -c 4096 /dev/zero >"$0/small/$d/$f"; done; done'
    try:
        return clock(lambda: run(*become, "sh", "-ec", script, where))
    finally:
        run(*become, "rm", "-rf", where / "small")


def measure(table: Table, rounds: int, with_peers: bool) -> None:
    if os.geteuid() != 0:
        raise Skip("only root can mount as two users")
    with scratch() as where, Server(where / "origin", 2, "1MB") as server:
        os.chmod(where, 0o755)
        for user, how in ((0, "the kernel's overlayfs"), (NOBODY, "fuse-overlayfs, as an ordinary user")):
            plain = where / "plain"
            plain.mkdir()
            os.chown(plain, user, user)
            with table.part(f"written over a view, {how}"), \
                    Mount(where / "m", server.said["url"], "--writable", str(where / "m/over"), user=user) as m:
                for pattern, unit in (("write", "MB/s"), ("randwrite", "k writes/s")):
                    ours, theirs = in_turn(rounds, lambda: fio(m.target, pattern, user), lambda: fio(plain, pattern, user))
                    aim = "≥ 0.95 †" if user == 0 else ""
                    table.ratio(f"written over a view, {pattern}, {how} / ext4", ours, theirs, aim, unit)
                    if user == 0:
                        with stacked(where / "overlay") as other:
                            both = in_turn(rounds, lambda: fio(other, pattern, user), lambda: fio(plain, pattern, user))
                        table.ratio(f"written over ext4, {pattern}, {how} / ext4", *both, "", unit)
                ours, theirs = in_turn(rounds, lambda: small(m.target, user), lambda: small(plain, user))
                table.ratio(f"2,000 small files written over a view, {how} / ext4", ours, theirs, "", "s")
            remove(plain)
