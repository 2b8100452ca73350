"""The true program, a true dataset, and a check that nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

# A shell that starts a command in the background has it ignore interrupts, and
# so do its children, unless somebody asks for them.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class Programs:
    """What is built for the tests."""

    uniharmonyfs: Path
    serve: Path


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    bin_dir = tmp_path_factory.mktemp("bin")
    built = Programs(bin_dir / "uniharmonyfs", bin_dir / "serve")
    for path, package in (
        (built.uniharmonyfs, "./cmd/uniharmonyfs"),
        (built.serve, "./internal/publisher/serve"),
    ):
        subprocess.run(["go", "build", "-o", path, package], cwd=REPOSITORY, check=True)
    yield built
    assert not processes(str(bin_dir)), "processes are left behind"


@dataclass
class Server:
    """A dataset and the server of its content."""

    process: subprocess.Popen[str]
    dataset: str
    url: str
    bytes: int

    def tell(self, command: str) -> dict[str, Any]:
        """Send a command: counts, link or gone."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


@dataclass
class World:
    """Somebody with a cache of their own."""

    home: Path
    cache: Path
    programs: Programs
    servers: list[Server] = field(default_factory=list)

    def serve(self, *flags: str) -> Server:
        """Make a dataset and serve it; without flags the demo's."""
        process = subprocess.Popen(
            [self.programs.serve, "--dir", self.home / f"data{len(self.servers)}", *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        self.servers.append(Server(process, said["dataset"], said["url"], said["bytes"]))
        return self.servers[-1]

    def daemons(self) -> list[int]:
        """Return the processes of the program that are not children of a test."""
        return processes(f"{self.programs.uniharmonyfs}\0daemon")

    def strays(self) -> list[int]:
        """Return the processes of the program that belong to no daemon."""
        program = str(self.programs.uniharmonyfs)
        found = processes(program)
        own = [p for part in ("daemon", "check-index") for p in processes(f"{program}\0{part}")]
        return [p for p in found if p not in own]

    def mounts(self) -> list[str]:
        """List the mounts below the home."""
        table = Path("/proc/self/mountinfo").read_text()
        return [line for line in table.splitlines() if f" {self.home}" in line]


def processes(command: str) -> list[int]:
    """Find processes whose command line begins so, but no zombies of others."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(command.encode()):
                found.append(int(path.parent.name))
        except OSError:
            pass
    return found


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Wait for something that must come."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: Programs) -> Iterator[World]:
    home = tmp_path / "home"
    temporary = tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    for name in [n for n in os.environ if n.startswith("UNIHARMONYFS")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.setenv("UNIHARMONYFS", str(programs.uniharmonyfs))
    monkeypatch.setenv("UNIHARMONYFS_ALLOW_ADDRESS", "127.0.0.1")
    w = World(home, home / ".cache" / "uniharmonyfs", programs)
    yield w
    left = w.mounts()
    children = w.strays()
    for pid in w.daemons():
        os.kill(pid, signal.SIGTERM)
    for server in w.servers:
        server.process.terminate()
        server.process.communicate()
    wait_for(lambda: not w.daemons(), "the daemons to end")
    assert not left, "mounts are left behind"
    assert not children, "processes are left behind"
    assert not zombies(), "a child was not waited for"
    assert not list(temporary.iterdir()), "temporary files are left behind"


def zombies() -> list[str]:
    """Find children of this process that have ended and were not waited for."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state == "Z" and int(parent) == os.getpid():
            found.append(path.parent.name)
    return found


@pytest.fixture
def demo(world: World) -> Server:
    return world.serve()


def tree(root: Path) -> dict[str, bytes]:
    """Read all files of a directory."""
    return {
        str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()
    }
