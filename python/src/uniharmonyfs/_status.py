"""The state of a cache."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._program import run


@dataclass(frozen=True)
class MountStatus:
    """A mount."""

    target: Path
    dataset: str
    version: str
    commit: str
    files: int
    bytes: int
    cached: int
    """Files whose content was fetched and is here."""


@dataclass(frozen=True)
class CloneStatus:
    """A hidden clone."""

    name: str
    dataset: str
    """What it is of, as it can be used again; "" if that is not known."""


@dataclass(frozen=True)
class Transfer:
    """A file on its way."""

    path: str
    source: str
    done: int
    total: int


@dataclass(frozen=True)
class Trouble:
    """Something that went wrong."""

    time: str
    path: str
    why: str


@dataclass(frozen=True)
class Status:
    """The state of a cache. Sizes are in bytes."""

    cache: Path
    budget: int
    used: int
    objects: int
    pinned: int
    mounts: Sequence[MountStatus]
    clones: Sequence[CloneStatus]
    transfers: Sequence[Transfer]
    errors: Sequence[Trouble]
    """Newest last."""


def status(*, cache_flags: Sequence[str] = ()) -> Status:
    """Return the state of the cache: mounts, content, transfers and errors.

    cache_flags choose another cache, as ["--cache-name=other"].
    """
    s: dict[str, Any] = json.loads(run(["status", *cache_flags]))
    store = s["store"]
    return Status(
        cache=Path(s["cache"]),
        budget=store["budget"],
        used=store["used"],
        objects=store["objects"],
        pinned=store["pinned"],
        mounts=[_mount(m) for m in s["mounts"]],
        clones=[CloneStatus(c["name"], c.get("dataset", "")) for c in s.get("clones") or []],
        transfers=[
            Transfer(t["name"], t["source"], t["done"], t["total"])
            for t in store["transfers"] or []
        ],
        errors=[Trouble(e["time"], e["name"], e["text"]) for e in store["errors"] or []],
    )


def _mount(m: dict[str, Any]) -> MountStatus:
    return MountStatus(
        target=Path(m["target"]),
        dataset=m["dataset"],
        version=m.get("version", ""),
        commit=m["commit"],
        files=m["files"],
        bytes=m["bytes"],
        cached=m["cached"],
    )
