"""Exceptions: one class for each exit code of the program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class FailedFile:
    """A file that could not be had, and why."""

    path: str
    why: str


class UniharmonyFSError(Exception):
    """What went wrong, why, and what to do about it."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, why: str = "", advice: Sequence[str] = ()) -> None:
        """Keep what is known; the message has all of it."""
        self.what = what
        self.why = why
        self.advice = list(advice)
        message = f"{what}: {why}" if why else what
        super().__init__("\n  - ".join([message, *self.advice]))

    def __reduce__(self) -> tuple[object, ...]:
        """Let the exception travel between processes."""
        return _rebuild, (type(self), self.what, self.why, self.advice, self.__dict__)


class FailedError(UniharmonyFSError):
    """Exit code 1: something else failed."""

    exit_code = 1


class UsageError(UniharmonyFSError, ValueError):
    """Exit code 2: the call makes no sense, whatever the dataset."""

    exit_code = 2


class NoMatchError(UniharmonyFSError, LookupError):
    """Exit code 3: nothing matches the selection."""

    exit_code = 3


class UnreachableError(UniharmonyFSError):
    """Exit code 4: the dataset or its sources cannot be reached."""

    exit_code = 4


class NoSpaceError(UniharmonyFSError):
    """Exit code 5: the disk or the budget is too small."""

    exit_code = 5


class MountError(UniharmonyFSError):
    """Exit code 6: cannot mount or unmount."""

    exit_code = 6


class PartialError(UniharmonyFSError):
    """Exit code 7: these files failed; the others are there."""

    exit_code = 7
    failed: Sequence[FailedFile] = ()


class InterruptedDownloadError(UniharmonyFSError):
    """Exit code 130: the program was interrupted, but not this process."""

    exit_code = 130


class ProgramNotFoundError(UniharmonyFSError, FileNotFoundError):
    """The program uniharmonyfs is not installed."""

    exit_code = 127


BY_EXIT_CODE: dict[int, type[UniharmonyFSError]] = {
    cls.exit_code: cls
    for cls in (
        FailedError,
        UsageError,
        NoMatchError,
        UnreachableError,
        NoSpaceError,
        MountError,
        PartialError,
        InterruptedDownloadError,
    )
}


def _rebuild(
    cls: type[UniharmonyFSError], what: str, why: str, advice: list[str], state: dict[str, object]
) -> UniharmonyFSError:
    error = cls(what, why, advice)
    error.__dict__.update(state)
    return error
