"""Selections, as arguments of the program."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from ._errors import UsageError

Values = str | int | Iterable[str | int] | None
"""What a selection is by: one value, several, or "all" (or None) for no limit."""

PathLike = str | os.PathLike[str]

ALL = "all"


def values(name: str, given: Values) -> list[str] | None:
    """Return the values of a parameter, or None for all."""
    if given is None:
        return None
    if isinstance(given, (str, int)):
        given = [given]
    try:
        listed = [str(v) for v in given]
    except TypeError:
        raise UsageError(
            f"{name}={given!r} is neither a string nor a list",
            advice=[f'give {name}="all" for all'],
        ) from None
    if not listed:
        raise UsageError(
            f"{name} is an empty list, which selects nothing", advice=[f'give {name}="all" for all']
        )
    return None if ALL in listed else listed


def selection(
    *,
    subjects: Values = ALL,
    sessions: Values = ALL,
    modalities: Values = ALL,
    tasks: Values = ALL,
    runs: Values = ALL,
    suffixes: Values = ALL,
    extensions: Values = ALL,
    entities: Mapping[str, Values] | None = None,
    where: str | None = None,
    companions: str | None = None,
) -> list[str]:
    """Return the flags of a selection."""
    flags: list[str] = []
    for flag, name, given in (
        ("sub", "subjects", subjects),
        ("ses", "sessions", sessions),
        ("modality", "modalities", modalities),
        ("task", "tasks", tasks),
        ("run", "runs", runs),
        ("suffix", "suffixes", suffixes),
        ("ext", "extensions", extensions),
    ):
        flags += [f"--{flag}={v}" for v in values(name, given) or ()]
    for key, given in (entities or {}).items():
        flags += [f"--entity={key}={v}" for v in values(f"entities[{key!r}]", given) or ()]
    if where is not None:
        flags.append(f"--where={where}")
    if companions is not None:
        flags.append(f"--companions={companions}")
    return flags


def root_files(given: Values) -> list[str]:
    """Return the values of --root-files; an empty list means none of them."""
    if given is None or isinstance(given, int):
        return [ALL]
    listed = [given] if isinstance(given, str) else [str(v) for v in given]
    return [ALL] if ALL in listed else listed or ["none"]


def dataset(spec: PathLike, version: str | None) -> list[str]:
    """Return the flags of a dataset."""
    flags = [f"--dataset={os.fspath(spec)}"]
    if version is not None:
        flags.append(f"--version={version}")
    return flags
