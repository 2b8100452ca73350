"""The calls of uniharmony.datasets, by the program uniharmonyfs.

A script changes its import and nothing else. What differs is said where it
does: there is no hidden DataLad dataset below /tmp but a cache of the program,
whose content is verified and which keeps to a disk budget.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import _selection
from ._errors import NoMatchError
from ._program import objects, path_of, run
from ._progress import Progress
from ._selection import PathLike, Values
from ._status import status

__all__ = ["Cleaned", "Download", "clean_tmp", "clean_tmp_folder", "download_bids_dataset"]
__all__ += ["list_available_files"]

DEFAULT_CACHE = "datalad_cache"
"""The name that stands for the program's default cache."""


@dataclass(frozen=True)
class Download:
    """What a download did."""

    target: Path
    files: int
    """Files that are there now."""
    bytes: int
    fetched_bytes: int
    """Bytes that came over the network."""
    seconds: float


@dataclass(frozen=True)
class Cleaned:
    """What was removed from a cache."""

    files: int
    bytes: int
    removed: bool
    """Whether the whole cache is gone."""
    pinned_bytes: int
    """Bytes that stay because they are pinned."""


def download_bids_dataset(
    subjects: Values,
    sessions: Values,
    modalities: Values,
    tasks: Values,
    runs: Values,
    suffixes: Values,
    extensions: Values,
    target_path: PathLike,
    dataset_url: PathLike = "ds004712",
    root_files: Values = "all",
    force_download: bool = False,
    copy: bool | None = None,
    hidden: bool = True,
    tmp_clean: bool = False,
    tmp_dir_name: str = DEFAULT_CACHE,
    *,
    companions: str | None = None,
    version: str | None = None,
    jobs: int | None = None,
    progress: bool = True,
) -> Download:
    """Download files of a BIDS dataset into a directory, or into the cache.

    A file is downloaded if it matches every parameter; each of them is a value,
    a list of values, or "all" (as is None). Labels may have their prefix
    ("sub-01"), be globs, or be "@none" and "@any" for files without and with
    the entity. Run again, it continues: what is there is not fetched again, and
    what differs is not overwritten.

    Parameters
    ----------
    subjects, sessions, modalities, tasks, runs, suffixes, extensions
        What to download.
    target_path
        Where to. Directories that are missing are made.
    dataset_url
        URL of a git repository, its path, or an OpenNeuro accession.
    root_files
        Names or globs of files at the dataset's root, "all", or [] for none.
    force_download
        Clone anew what the cache has of the dataset, and overwrite files of the
        target that differ.
    copy
        With hidden (True by default): put real files into the target; False
        leaves it alone and brings the content into the cache only. Without
        hidden (False by default): True replaces the annex's links by real files.
    hidden
        Keep git and git-annex out of the target. False makes the target a
        DataLad dataset: all of the dataset's files as links, with the content of
        those that were asked for.
    tmp_clean
        Drop from the cache what this call brings, as soon as it is copied; it
        means nothing without hidden or with copy=False.
    tmp_dir_name
        Name of the cache; "datalad_cache" is the program's default one.
    companions
        Bring sidecars, tables and the like along: "full" or "required", so that
        the target is a valid BIDS dataset. By default only what was asked for.
    version
        Tag or commit of the dataset.
    jobs
        Files at once.
    progress
        Show the progress on standard error.

    Raises
    ------
    UniharmonyFSError
        One of its classes for each exit code of the program.

    """
    cache = _cache(tmp_dir_name)
    what = [
        *_selection.selection(
            subjects=subjects,
            sessions=sessions,
            modalities=modalities,
            tasks=tasks,
            runs=runs,
            suffixes=suffixes,
            extensions=extensions,
            companions=companions or "none",
        ),
        *_selection.dataset(dataset_url, version),
        *cache,
    ]
    show = Progress() if progress else None
    target = Path(target_path)
    if force_download:
        _forget(dataset_url, cache)
    if hidden and copy is not None and not copy:
        done = json.loads(run(["prefetch", *what], progress=show))
        return Download(target, done["files"], done["bytes"], 0, 0.0)
    plain = companions is None
    for name in _selection.root_files(root_files):
        # Of all files at the root a view has those that concern it.
        what.append("--root-files=" + ("*" if plain and name == "all" else name))
    what += ["--plain"] if plain else []
    what += ["--force"] if force_download else []
    what += [f"--jobs={jobs}"] if jobs is not None else []
    if not hidden:
        what += ["--direct", "--copy"] if copy else ["--direct"]
    elif tmp_clean:
        what += ["--tmp-clean"]
    done = _last_event(run(["get", *what, "--", os.fspath(target_path)], progress=show))
    return Download(
        target, done["files"], done["bytes"], done["fetched_bytes"], float(done["seconds"])
    )


def clean_tmp(tmp_dir_name: str = DEFAULT_CACHE) -> Cleaned:
    """Remove a cache: hidden clones and the content that was fetched.

    Pinned files stay, and a cache that a mount uses is not removed. Where there
    is no such cache there is nothing to do.
    """
    done = json.loads(run(["clean", "--all", *_cache(tmp_dir_name)], finish=True))
    return Cleaned(
        done["files"], done["bytes"], bool(done["cache_removed"]), done.get("pinned_bytes", 0)
    )


def clean_tmp_folder(tmp_dir_name: str = DEFAULT_CACHE) -> Cleaned:
    """Remove a cache: the other name of clean_tmp."""
    return clean_tmp(tmp_dir_name)


def list_available_files(hidden_dataset_path: PathLike) -> list[Path]:
    """List all files of a dataset, whether or not their content is here.

    The path is that of a directory (a download, a mount, a DataLad dataset), or
    CACHE/NAME as uniharmony had it: "/tmp/datalad_cache/ds004712" means the
    dataset ds004712 of the default cache, a name alone does too. The paths begin
    with the one that was given; the hidden clone has no work tree, so those of
    CACHE/NAME name files of the dataset, not of the disk. Nothing is fetched,
    but a clone of an OpenNeuro dataset that is not in the cache yet.
    """
    root = Path(hidden_dataset_path)
    if root.is_dir():
        return sorted(_walk(root))
    spec, cache = _known(root)
    out = run(["list", "--derivatives", "--sourcedata", "--code", f"--dataset={spec}", *cache])
    return [root / path_of(found) for found in objects(out)]


def _walk(root: Path) -> list[Path]:
    found: list[Path] = []
    for directory, below, names in os.walk(root):
        at = Path(directory)
        # Links to directories are none of BIDS; those of git-annex are files.
        below[:] = [d for d in below if d not in (".git", ".datalad")]
        found += [at / n for n in names if n not in (".git", ".gitattributes", ".gitmodules")]
    return found


def _known(root: Path) -> tuple[str, list[str]]:
    """Find the dataset that CACHE/NAME means, and the flags of its cache."""
    name, parent = root.name, root.parent.name
    caches: list[list[str]] = [[]]
    if parent not in ("", DEFAULT_CACHE):
        caches.insert(0, _cache(parent))
    for cache in caches:
        for clone in status(cache_flags=cache).clones:
            if clone.dataset and (clone.name == name or clone.name.rpartition("-")[0] == name):
                return clone.dataset, cache
    if re.fullmatch(r"ds\d{6}", name) and parent in ("", DEFAULT_CACHE):
        return name, []
    raise NoMatchError(
        f"{root} is no directory, and the cache has no dataset {name!r}",
        advice=["download something of it first, or give the directory of a download"],
    )


def _cache(name: str) -> list[str]:
    return [] if name == DEFAULT_CACHE else [f"--cache-name={name}"]


def _forget(dataset: PathLike, cache: list[str]) -> None:
    """Remove the hidden clones of a dataset, if there are any."""
    name = re.sub(r"/\.git$", "", os.fspath(dataset).rstrip("/")).rstrip("/")
    name = re.sub(r"\.(git|bundle)$", "", re.split(r"[/:]", name)[-1])
    if any(c.name.rpartition("-")[0] == name for c in status(cache_flags=cache).clones):
        run(["clean", *cache, "--", name], finish=True)


def _last_event(out: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(out.rstrip().rpartition("\n")[2])
    return event
