"""Mounts, and content before it is read."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from . import _selection
from ._errors import MountError
from ._program import Interrupts, run
from ._progress import Progress
from ._selection import ALL, PathLike, Values


@contextlib.contextmanager
def mount(
    target: PathLike | None = None,
    *,
    dataset: PathLike = "ds004712",
    version: str | None = None,
    subjects: Values = ALL,
    sessions: Values = ALL,
    modalities: Values = ALL,
    tasks: Values = ALL,
    runs: Values = ALL,
    suffixes: Values = ALL,
    extensions: Values = ALL,
    entities: Mapping[str, Values] | None = None,
    where: str | None = None,
    companions: str = "full",
    root_files: Values = ALL,
    budget: str | None = None,
    offline: bool = False,
    clean: bool = False,
    progress: bool = True,
) -> Iterator[Path]:
    """Show a dataset, or part of it, as a directory of plain files.

    Nothing is downloaded until a file is read. Without a target a temporary
    directory is taken. At the end of the with block the mount goes, whatever
    happened in it; with clean, also what it brought into the cache.
    """
    args = [
        *_selection.selection(
            subjects=subjects,
            sessions=sessions,
            modalities=modalities,
            tasks=tasks,
            runs=runs,
            suffixes=suffixes,
            extensions=extensions,
            entities=entities,
            where=where,
            companions=companions,
        ),
        *[f"--root-files={name}" for name in _selection.root_files(root_files)],
        *_selection.dataset(dataset, version),
        *(["--offline"] if offline else []),
        *([f"--budget={budget}"] if budget is not None else []),
    ]
    with contextlib.ExitStack() as stack:
        if target is None:
            made = Path(tempfile.mkdtemp(prefix="uniharmonyfs-"))
            stack.callback(_remove, made)
            at = made / "dataset"
            stack.callback(_remove, at)
        else:
            at = Path(target).absolute()
        before = at.is_mount()
        try:
            run(["mount", *args, "--", str(at)], progress=Progress() if progress else None)
            yield at
        finally:
            # Not if it was refused because of somebody else's mount.
            with Interrupts():
                if not before and at.is_mount():
                    _unmount(at, clean)


def _unmount(at: Path, clean: bool) -> None:
    args = ["--clean", "--", str(at)] if clean else ["--", str(at)]
    try:
        run(["unmount", *args], finish=True)
    except MountError as error:
        if not at.is_mount():
            return  # somebody else was faster
        warnings.warn(
            f"{error.what}: {error.why}; it is taken away all the same",
            ResourceWarning,
            stacklevel=2,
        )
        run(["unmount", "--force", *args], finish=True)


def _remove(directory: Path) -> None:
    with contextlib.suppress(OSError):
        directory.rmdir()


@dataclass(frozen=True)
class Fetched:
    """What a prefetch brought, or found."""

    files: int
    bytes: int


def prefetch(
    *paths: PathLike,
    dataset: PathLike = "ds004712",
    version: str | None = None,
    subjects: Values = ALL,
    sessions: Values = ALL,
    modalities: Values = ALL,
    tasks: Values = ALL,
    runs: Values = ALL,
    suffixes: Values = ALL,
    extensions: Values = ALL,
    entities: Mapping[str, Values] | None = None,
    where: str | None = None,
    progress: bool = True,
) -> Fetched:
    """Fetch files into the cache before they are read.

    They are named by paths inside a mount (a directory means all below it), or
    by a selection of a dataset.
    """
    args = _selection.selection(
        subjects=subjects,
        sessions=sessions,
        modalities=modalities,
        tasks=tasks,
        runs=runs,
        suffixes=suffixes,
        extensions=extensions,
        entities=entities,
        where=where,
    )
    args += _selection.dataset(dataset, version)
    args += ["--", *[os.fspath(p) for p in paths]] if paths else []
    done = json.loads(run(["prefetch", *args], progress=Progress() if progress else None))
    return Fetched(done["files"], done["bytes"])
