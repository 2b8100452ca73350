"""What a view costs the command that it is for."""

from __future__ import annotations

import os
import statistics
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common import DATASETS, PROGRAM, Mount, Skip, Table, clock, environment, run, scratch

SIDE_BY_SIDE = 100


@contextmanager
def job(name: str, *command: object) -> Iterator[subprocess.Popen]:
    """A command in a control group of its own, as of a batch job."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    where = next((Path(m[1]) / f"uniharmonyfs-bench-{name}" for m in mounts if m[2] == "cgroup2"), None)
    if where is None or os.geteuid() != 0:
        raise Skip("no control groups can be made")
    where.mkdir()
    process = subprocess.Popen(["sh", "-c", f'echo $$ >"{where}/cgroup.procs"; exec "$@"', "sh", *map(str, command)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait()
        (where / "cgroup.kill").write_text("1")
        while True:
            try:
                where.rmdir()
                break
            except OSError:
                pass


def milliseconds(table: Table, what: str, aim: str, times: list[float], alone: float) -> None:
    more = [1000 * (t - alone) for t in times]
    table.add(what, f"{statistics.median(more):.0f} ms", aim, f"{min(more):.0f}–{max(more):.0f}")


def measure(table: Table, rounds: int, with_peers: bool) -> None:
    bundle = DATASETS / "ds004712.bundle"
    if not bundle.exists():
        raise Skip(f"{bundle} is not there")
    with scratch() as where:
        repository = where / "repository"
        run("git", "clone", "-q", "--bare", "-b", "main", bundle, repository)
        url = f"file://{repository}"
        with Mount(where / "m", url) as m:
            ours = [PROGRAM, "exec", "--cache", m.cache, "--dataset", url, "--quiet", "--"]
            look = "test -d {}/sub-03286"
            alone = statistics.median(clock(lambda: run("sh", "-c", "true")) for _ in range(rounds))
            times = [clock(lambda: run(*ours, "sh", "-c", look)) for _ in range(rounds)]
            milliseconds(table, "exec on a known dataset of 29,645 files, more than its command alone", "≤ 150 ms †", times, alone)
            at = where / "at"
            at.mkdir()
            times = [clock(lambda: run(*ours[:-1], "--at", at, "--", "sh", "-c", f"test -d {at}/sub-03286")) for _ in range(rounds)]
            milliseconds(table, "… with --at", "≤ 150 ms †", times, alone)
            with table.part("exec beside another job's"):
                times = []
                for _ in range(rounds):
                    with job("other", "sh", "-c", 'echo ready; read line; "$@"; echo done; read line', "sh", *ours, "sh", "-c", look) as other:
                        other.stdout.readline()

                        def once() -> None:
                            other.stdin.write("go\n")
                            other.stdin.flush()
                            other.stdout.readline()
                        times.append(clock(once))
                milliseconds(table, "… in a job, where another one's daemon serves the cache", "", times, alone)

            def all_at_once() -> float:
                def every() -> None:
                    started = [subprocess.Popen([str(c) for c in (*ours, "sh", "-c", look)], env=environment()) for _ in range(SIDE_BY_SIDE)]
                    if any(p.wait() for p in started):
                        raise RuntimeError("one of them failed")
                return clock(every)
            table.add(f"{SIDE_BY_SIDE} execs side by side", f"{statistics.median(all_at_once() for _ in range(min(rounds, 3))):.1f} s", "", "")
