"""What the measures share: servers, mounts, clocks, and the table at the end.

A measure runs its commands in turn, A B A B …, and compares what ran side by
side: machines are noisy, ratios of neighbours hold.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "bin/uniharmonyfs"
SERVE = ROOT / ".tools/serve"
PYTHON = ROOT / ".tools/python/bin/python"
PEERS = ROOT / ".tools/python/bin"
FUSE_PEER = ROOT / ".tools/peers/bin"
DATASETS = ROOT.parent / "shared/datasets"


class Skip(Exception):
    """A measure cannot be taken here."""


def say(*words: object) -> None:
    print(*words, file=sys.stderr, flush=True)


def run(*command: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Runs a command that must succeed and returns what it printed."""
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=environment(env), text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout[-500:]}{done.stderr[-1500:]}")
    return done.stdout


def environment(more: dict[str, str] | None = None) -> dict[str, str]:
    env = dict(os.environ, UNIHARMONYFS_ALLOW_ADDRESS="127.0.0.1", GIT_CONFIG_NOSYSTEM="1",
               GIT_AUTHOR_NAME="b", GIT_AUTHOR_EMAIL="b@example.org",
               GIT_COMMITTER_NAME="b", GIT_COMMITTER_EMAIL="b@example.org")
    env.update(more or {})
    return env


def peers() -> dict[str, str]:
    """The environment in which the newest git-annex and datalad are found."""
    return {"PATH": f"{PEERS}:{os.environ['PATH']}", "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "annex.security.allowed-ip-addresses", "GIT_CONFIG_VALUE_0": "127.0.0.1"}


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory that goes at the end, read-only files of git-annex too."""
    path = Path(tempfile.mkdtemp(prefix="uniharmonyfs-bench-", dir=os.environ.get("UNIHARMONYFS_BENCH_DIR")))
    try:
        yield path
    finally:
        remove(path)


def remove(path: Path) -> None:
    subprocess.run(["chmod", "-R", "u+rwX", str(path)], stderr=subprocess.DEVNULL)
    shutil.rmtree(path, ignore_errors=True)


class Server:
    """A made dataset, published on loopback behind an emulated link."""

    def __init__(self, where: Path, files: int, size: str, rtt: str = "20ms", rate: str = "0", sessions: int = 1, remote: str = "versioned"):
        where.mkdir(parents=True)
        self.urls = where / "urls"
        self.process = subprocess.Popen(
            [str(SERVE), "--dir", str(where), "--files", str(files), "--size", size, "--rtt", rtt, "--rate", rate,
             "--sessions", str(sessions), "--remote", remote, "--urls", str(self.urls), "--listing"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.said = json.loads(self.process.stdout.readline())
        self.dataset = Path(self.said["dataset"])

    def ask(self, command: str) -> dict:
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(f"{command}: {answer['error']}")
        return answer

    def link(self, rtt: str, rate: str) -> None:
        self.ask(f"link {rtt} {rate}")

    def counts(self) -> dict:
        """What was asked for and sent since the last call."""
        return self.ask("counts")

    def entries(self) -> list[tuple[str, str]]:
        """The URL and the path of each annexed file."""
        words = [line.split(" = ", 1)[1].strip('"') for line in self.urls.read_text().splitlines()]
        return list(zip(words[::2], words[1::2]))

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()


def cloned(cache: Path) -> None:
    """Waits for what comes after the list of files: where content is."""
    while any('"behind"' in m.read_text() for m in cache.glob("datasets/*/uniharmonyfs.json")):
        time.sleep(0.05)


class Mount:
    """A mount with a cache of its own; both are gone at the end."""

    def __init__(self, where: Path, dataset: Path | str, *flags: str, user: int = 0, wait: bool = True):
        self.where, self.target, self.cache = where, where / "mnt", where / "cache"
        where.mkdir(exist_ok=True)
        self.prefix = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
        self.program = PROGRAM
        if user:  # who may not be allowed to look into the repository
            self.program = Path(shutil.copy(PROGRAM, where))
            os.chown(where, user, user)
        started = time.perf_counter()
        self.ours("mount", "--dataset", dataset, *flags, self.target)
        self.seconds = time.perf_counter() - started
        if wait:
            cloned(self.cache)

    def ours(self, *args: object) -> str:
        env = {"UNIHARMONYFS_CACHE": str(self.cache), "HOME": str(self.where)}
        return run(*self.prefix, self.program, *args, env=env)

    def remount(self, dataset: Path | str, *flags: str) -> float:
        self.ours("unmount", self.target)
        started = time.perf_counter()
        self.ours("mount", "--dataset", dataset, *flags, self.target)
        return time.perf_counter() - started

    def status(self) -> dict:
        return json.loads(self.ours("status", "--json"))

    def daemon(self) -> int:
        """The process of the daemon."""
        out = run("pgrep", "-f", f"daemon --cache {self.cache}")
        return int(out.split()[0])

    def __enter__(self) -> Mount:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.ours("unmount", "--clean", "--force", self.target)
        finally:
            remove(self.where)


def clock(what: Callable[[], object]) -> float:
    started = time.perf_counter()
    what()
    return time.perf_counter() - started


def in_turn(rounds: int, *runs: Callable[[], float]) -> list[list[float]]:
    """Takes each run's figure in turn, after a round that does not count."""
    figures: list[list[float]] = [[] for _ in runs]
    for n in range(rounds + 1):
        for i, one in enumerate(runs):
            value = one()
            if n > 0:
                figures[i].append(value)
    return figures


def readers(mnt: Path, paths: list[str], n: int) -> float:
    """Reads files with n processes and returns the seconds it took."""
    shares = [paths[i::n] for i in range(n)]
    started = time.perf_counter()
    all_ = [subprocess.Popen(["cat", "--", *share], cwd=mnt, stdout=subprocess.DEVNULL) for share in shares if share]
    if any([p.wait() for p in all_]):
        raise RuntimeError("a reader failed")
    return time.perf_counter() - started


def drop_caches() -> None:
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3\n")


@contextmanager
def datalad_fuse(where: Path, server: Server) -> Iterator[Path]:
    """The dataset, cloned and mounted by datalad-fuse, with nothing cached."""
    clone, target = where / "fuse-clone", where / "fuse-mnt"
    home = where / "fuse-home"
    for path in (target, home):
        path.mkdir()
    run("git", "clone", "-q", server.dataset, clone, env=peers())
    run("git", "annex", "init", "-q", cwd=clone, env=peers())
    env = environment({**peers(), "HOME": str(home), "XDG_CACHE_HOME": str(home), "PATH": f"{FUSE_PEER}:{peers()['PATH']}"})
    process = subprocess.Popen(["datalad", "fusefs", "-d", str(clone), "--foreground", "--mode-transparent", str(target)],
                               env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: os.path.ismount(target))
        yield target
    finally:
        subprocess.run(["fusermount3", "-u", str(target)])
        process.wait(timeout=60)
        for path in (clone, target, home):
            remove(path)


@contextmanager
def rclone_mount(where: Path, server: Server) -> Iterator[Path]:
    """The published files, mounted by rclone with its full cache, empty."""
    target, cache = where / "rclone-mnt", where / "rclone-cache"
    target.mkdir()
    base = server.entries()[0][0].partition("/bucket/")[0] + "/bucket/" + server.dataset.name
    process = subprocess.Popen(["rclone", "mount", f":http:", "--http-url", base, "--vfs-cache-mode", "full", "--cache-dir", str(cache),
                                "--read-only", "--config", "/dev/null", str(target)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: os.path.ismount(target))
        yield target
    finally:
        subprocess.run(["fusermount3", "-u", str(target)])
        process.wait(timeout=60)
        remove(target)
        remove(cache)


def wait_for(true: Callable[[], bool]) -> None:
    for _ in range(300):
        if true():
            return
        time.sleep(0.1)
    raise RuntimeError("it did not come about within 30 s")


def short(text: str, most: int = 200) -> str:
    """Text that fits into a cell of a table."""
    text = " ".join(text.replace("|", "/").split())
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-most // 2:]}"


def machine() -> str:
    """What the figures were taken on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    where = os.environ.get("UNIHARMONYFS_BENCH_DIR", tempfile.gettempdir())
    disk = run("findmnt", "-n", "-o", "FSTYPE", "-T", where).strip()
    cpu = f" ({model[0]})" if model else ""
    return f"{os.cpu_count()} cores{cpu}, {memory:.0f} GiB of memory, Linux {os.uname().release}, {disk} at {where}"


class Table:
    """The figures, with what is aimed at. An aim with † depends on the machine."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str, str]] = []
        self.failed = 0

    @contextmanager
    def part(self, what: str) -> Iterator[None]:
        """A part of the measures. One that fails is a row, and the others go on."""
        try:
            yield
        except Skip as why:
            self.add(what, "not taken", "", str(why))
        except Exception as why:
            self.failed += 1
            self.add(what, "failed", "", short(str(why)) or type(why).__name__)

    def ratio(self, what: str, ours: list[float], theirs: list[float], aim: str, note: str = "") -> float:
        """Adds the ratio of neighbours: its median, least and most."""
        ratios = [a / b for a, b in zip(ours, theirs)]
        middle = statistics.median(ratios)
        figures = f"{statistics.median(ours):.4g} / {statistics.median(theirs):.4g}"
        self.add(what, f"{middle:.2f} ({min(ratios):.2f}–{max(ratios):.2f})", aim, (figures + " " + note).strip())
        return middle

    def add(self, what: str, figure: str, aim: str = "", note: str = "") -> None:
        self.rows.append((what, figure, aim, note))
        say(f"   {what}: {figure}  [{aim}]  {note}")

    def print(self) -> None:
        print(f"Taken on {machine()}:\n")
        print("| what | figure | aim | medians |\n|---|---|---|---|")
        for row in self.rows:
            print("| " + " | ".join(row) + " |")
