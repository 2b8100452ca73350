"""The program uniharmonyfs: where it is, and one run of it.

A run ends before the call that made it returns, in whatever way: no process is
left behind. An interrupt reaches the program as SIGINT, once, and becomes an
exception when the program has ended, which leaves things so that a next run
continues.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from ._errors import BY_EXIT_CODE, FailedError, FailedFile, PartialError, ProgramNotFoundError
from ._progress import Progress

NAME = "uniharmonyfs"


def find_program() -> str:
    """Return the path of the program."""
    if named := os.environ.get("UNIHARMONYFS"):
        if found := shutil.which(named):
            return found
        raise ProgramNotFoundError(
            f"the environment variable UNIHARMONYFS names no program: {named}",
            advice=["let it name the program uniharmonyfs, or unset it"],
        )
    # What came with this package speaks its language, whatever else is on the PATH.
    for path in _brought():
        if found := shutil.which(path):
            return found
    if found := shutil.which(NAME):
        return found
    for directory in _beside():
        if found := shutil.which(NAME, path=str(directory)):
            return found
    raise ProgramNotFoundError(
        "the program uniharmonyfs is not installed",
        "it is not on the PATH, and not beside this package",
        ["build it with scripts/quickstart", "or let the variable UNIHARMONYFS name it"],
    )


def _brought() -> Iterator[Path]:
    """Yield where pip put the program, if this package was a wheel that brought it."""
    package = Path(__file__).resolve().parent
    try:
        files = metadata.distribution(NAME).files or []
    except metadata.PackageNotFoundError:
        return
    # Of another installation than this one nothing is taken.
    if not any(Path(str(f.locate())).resolve() == package / "__init__.py" for f in files):
        return
    for f in files:
        if f.name == NAME and f.parent.name == "bin":
            yield Path(str(f.locate())).resolve()
            # pip install --target puts it here, and lists it as if it did not.
            yield package.parent / "bin" / NAME


def _beside() -> Iterator[Path]:
    here = Path(__file__).resolve().parent
    yield here
    yield here / "bin"
    yield Path(sys.executable).parent
    # In the repository: python/src/uniharmonyfs and bin.
    if here.parent.name == "src":
        yield here.parents[2] / "bin"


class Interrupts:
    """Keeps Ctrl-C from cutting into what must be done as a whole.

    In the with block an interrupt is noted, and passed on to a child; it becomes
    an exception at the end of the block. The second one kills the child.
    """

    def __init__(self) -> None:
        self.count = 0
        self.child: subprocess.Popen[str] | None = None
        self.before: Any = None
        self.ours = False

    def __enter__(self) -> Interrupts:
        """Take over, where interrupts arrive: in the main thread."""
        if threading.current_thread() is threading.main_thread():
            self.before = signal.getsignal(signal.SIGINT)
            self.ours = callable(self.before)
        if self.ours:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        """Give back, and do what was put off."""
        if self.ours:
            signal.signal(signal.SIGINT, self.before)
        if self.count:
            self.before(signal.SIGINT, None)

    def _note(self, *_: object) -> None:
        self.count += 1
        if self.child is not None:
            self.pass_on(self.child)

    def pass_on(self, child: subprocess.Popen[str]) -> None:
        """Let a child know of the interrupts, also of those before it was there."""
        self.child = child
        if self.count == 1:
            child.send_signal(signal.SIGINT)
        elif self.count > 1:
            child.kill()


def run(args: Sequence[str], *, progress: Progress | None = None, finish: bool = False) -> str:
    """Run the program with --json and return what it prints.

    With finish an interrupt waits for the program instead of stopping it.
    """
    command = [find_program(), args[0], "--json", "--json-progress", *args[1:]]
    with Interrupts() as interrupts:
        # In a session of its own a terminal's interrupt reaches it through us
        # only.
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        if not finish:
            interrupts.pass_on(child)
        watch = _Watch(child, progress)
        assert child.stdout is not None
        out = child.stdout.read()
        child.wait()
        watch.close()
        if progress is not None:
            progress.close()
    if child.returncode != 0:
        raise watch.error(out)
    return out


class _Watch:
    """Reads what the program says on standard error: progress, and the error."""

    def __init__(self, child: subprocess.Popen[str], progress: Progress | None) -> None:
        self.child = child
        self.progress = progress
        self.fault: dict[str, Any] = {}
        self.said: list[str] = []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        assert self.child.stderr is not None
        for line in self.child.stderr:
            try:
                message = json.loads(line)
            except ValueError:
                message = None
            if not isinstance(message, dict):
                self.said.append(line.rstrip())
            elif "progress" in message and self.progress is not None:
                self.progress.update(message["progress"])
            elif "error" in message:
                self.fault = message["error"]

    def close(self) -> None:
        self.thread.join()
        for stream in (self.child.stdout, self.child.stderr):
            if stream is not None:
                stream.close()

    def error(self, out: str) -> Exception:
        """Make an exception of how the program ended."""
        code = self.child.returncode
        cls = BY_EXIT_CODE.get(code, FailedError)
        said = "; ".join(self.said[-3:])
        if not self.fault:
            how = f"signal {-code} ended it" if code < 0 else f"it ended with exit code {code}"
            return cls(
                "the program uniharmonyfs failed without an error message",
                f"{how}: {said}" if said else how,
            )
        fault = self.fault
        error = cls(
            str(fault.get("what", "")), str(fault.get("why", "")), list(fault.get("do") or [])
        )
        if isinstance(error, PartialError):
            error.failed = _failed(out)
        return error


def _failed(out: str) -> list[FailedFile]:
    """Find the failed files in the output: of get one a line, else in one object."""
    try:
        whole = json.loads(out)
        found = whole.get("failed") or []
    except ValueError:
        found = [e for e in objects(out) if e.get("event") == "failed"]
    return [FailedFile(path_of(f), f["why"]) for f in found]


def objects(out: str) -> list[dict[str, Any]]:
    """Read output of one object a line.

    A name may hold what str.splitlines takes for the end of a line.
    """
    return [json.loads(line) for line in out.split("\n") if line]


def path_of(found: dict[str, Any]) -> str:
    """Return the path of a file as os.fsdecode does, whatever bytes it has."""
    exact = found.get("path_base64")
    return os.fsdecode(base64.b64decode(exact)) if exact else str(found["path"])
