"""Datasets of datasets: mounting, looking into members, walking, memory."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from pathlib import Path

from common import PROGRAM, Mount, Table, clock, in_turn, remove, run, scratch
from gitserver import GitServer
from scale import resident

MEMBERS, MADE, FILES = 1113, 100, 1000


def member(repository: Path, number: int) -> str:
    """Makes a dataset of annexed images, whose content is nowhere, and returns its commit."""
    run("git", "init", "-q", "--bare", "-b", "main", repository)
    lines = ["commit refs/heads/main", "committer b <b@example.org> 1700000000 +0000", "data 0"]
    described = '{"Name": "made", "BIDSVersion": "1.9.0"}'
    lines += ["M 100644 inline dataset_description.json", f"data {len(described)}", described]
    for i in range(FILES):
        sub = f"sub-{i // 20:02}"
        key = f"SHA256E-s4096--{hashlib.sha256(f'{number} {i}'.encode()).hexdigest()}.nii.gz"
        link = f"../../.git/annex/objects/xx/yy/{key}/{key}"
        lines += [f"M 120000 inline {sub}/anat/{sub}_run-{i % 20:02}_T1w.nii.gz", f"data {len(link)}", link]
    subprocess.run(["git", "-C", str(repository), "fast-import", "--quiet"], input="\n".join(lines) + "\n", text=True, check=True)
    return run("git", "-C", repository, "rev-parse", "main").strip()


def superdataset(where: Path, prefix: str) -> Path:
    """Makes a superdataset of many members, the first of which are there."""
    index, modules = [], []
    for i in range(MEMBERS):
        name = f"{prefix}{i:06}"
        there = where / f"{name}.git"
        commit = member(there, i) if i < MADE else "1" * 40
        index.append(f"160000 {commit}\t{name}\n")
        modules.append(f'[submodule "{name}"]\n\tpath = {name}\n\turl = ../{name}.git\n')
    work = where / "work"
    run("git", "init", "-q", "-b", "main", work)
    (work / ".gitmodules").write_text("".join(modules))
    (work / "README").write_text("Members.\n")
    run("git", "add", ".", cwd=work)
    subprocess.run(["git", "update-index", "--index-info"], input="".join(index), text=True, check=True, cwd=work)
    run("git", "commit", "-q", "-m", "all", cwd=work)
    out = where / "super.git"
    run("git", "clone", "-q", "--bare", work, out)
    remove(work)
    return out


def walks(mnt: Path, names: list[str], n: int) -> float:
    """Walks over members with n processes."""
    shares = [names[i::n] for i in range(n)]
    started = time.perf_counter()
    all_ = [subprocess.Popen(["find", *share, "-size", "+1G"], cwd=mnt, stdout=subprocess.DEVNULL) for share in shares if share]
    if any([p.wait() for p in all_]):
        raise RuntimeError("a walk failed")
    return time.perf_counter() - started


def members(table: Table, rounds: int, where: Path, server: GitServer, prefix: str) -> None:
    names = [f"{prefix}{i:06}" for i in range(MADE)]
    url = f"{server.url}/super.git"
    flags = ("--allow-address", "127.0.0.1")
    with Mount(where / "m", url, *flags) as m:
        table.add(f"first mount of a superdataset of {MEMBERS:,} members, 20 ms away", f"{m.seconds:.2f} s", "≤ 1 s †")
        server.requests = 0
        listing = [1000 * clock(lambda: run("ls", "-l", m.target)) for _ in range(rounds + 1)][1:]
        table.add("… ls -l of it, and requests", f"{sorted(listing)[len(listing) // 2]:.0f} ms, {server.requests}", "≤ 50 ms †, 0", f"{min(listing):.0f}–{max(listing):.0f}")
        left = iter(names)

        def look() -> float:
            return clock(lambda: run("ls", m.target / next(left)))

        def clone() -> float:
            out = where / "clone"
            try:
                return clock(lambda: run("git", "clone", "-q", "--bare", "--depth", "1", f"{server.url}/{names[0]}.git", out))
            finally:
                remove(out)

        table.ratio("first ls into a member of 1,000 files / git clone --bare --depth 1", *in_turn(rounds, look, clone), "≤ 1.2 †", "s")
    with Mount(where / "m", url, *flags) as m:
        empty = resident(m.daemon())
        walks(m.target, names[:50], 8)
        time.sleep(5)
        table.add("memory of the daemon with 50 members of 1,000 files open / with none", f"{resident(m.daemon()):.0f} / {empty:.0f} MiB", "≤ 150 MiB")
    with Mount(where / "m", url, *flags) as m:
        table.add(f"first walk over {MADE} members of 1,000 files with 8 processes", f"{walks(m.target, names, 8):.1f} s")
        table.add("… again", f"{walks(m.target, names, 8):.2f} s")
        time.sleep(5)
        table.add("… memory of the daemon after it", f"{resident(m.daemon()):.0f} MiB", "≤ 150 MiB")


def folder(table: Table, rounds: int, where: Path, server: GitServer, prefix: str) -> None:
    """OpenNeuro as a folder: as many datasets as it has, and more."""
    work = where / "listed"
    run("git", "init", "-q", "-b", "main", work)
    subprocess.run(["git", "update-index", "--index-info"], input="".join(f"160000 {'1' * 40}\tds{i:06}\n" for i in range(2000)), text=True, check=True, cwd=work)
    run("git", "commit", "-q", "-m", "all", cwd=work)
    target, cache = where / "mnt-folder", where / "cache-folder"
    env = {"UNIHARMONYFS_CACHE": str(cache), "HOME": str(where)}
    def mount() -> float:
        return clock(lambda: run(PROGRAM, "mount", "--openneuro", "--catalog", work, "--openneuro-url", server.url + "/" + "{id}.git", target, env=env))

    try:
        table.add("first mount of a folder of 2,000 datasets", f"{mount():.2f} s", "≤ 1 s †")
        listing = [1000 * clock(lambda: run("ls", "-l", target)) for _ in range(rounds + 1)][1:]
        table.add("… ls -l of it", f"{sorted(listing)[len(listing) // 2]:.0f} ms", "≤ 50 ms †", f"{min(listing):.0f}–{max(listing):.0f}")
        walks(target, [f"ds{i:06}" for i in range(50)], 8)
        time.sleep(5)
        pid = int(run("pgrep", "-f", f"daemon --cache {cache}").split()[0])
        table.add("… memory of the daemon with 50 of them open", f"{resident(pid):.0f} MiB", "≤ 150 MiB")
    finally:
        run(PROGRAM, "unmount", "--clean", "--force", target, env=env)
        remove(work)


def measure(table: Table, rounds: int, peers: bool) -> None:
    with scratch() as where:
        all_ = where / "all"
        all_.mkdir()
        superdataset(all_, "ds")
        with GitServer(all_) as server:
            server.url = server.url.removesuffix("/ds.git")
            with table.part("members"):
                members(table, rounds, where, server, "ds")
            with table.part("folder"):
                folder(table, rounds, where, server, "ds")
