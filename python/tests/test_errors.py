"""What cannot be done ends in a clear exception."""

from __future__ import annotations

import os
import pickle
import subprocess
from pathlib import Path

import pytest
from conftest import Server, World

import uniharmonyfs
from uniharmonyfs import download_bids_dataset, mount, prefetch, status
from uniharmonyfs._errors import BY_EXIT_CODE
from uniharmonyfs._program import find_program


def get(server: Server, target: Path | str, **more: object) -> uniharmonyfs.Download:
    arguments: dict[str, object] = {
        "subjects": "all",
        "sessions": "all",
        "modalities": "all",
        "tasks": "all",
        "runs": "all",
        "suffixes": "all",
        "extensions": "all",
        "target_path": target,
        "dataset_url": server.dataset,
        "progress": False,
        **more,
    }
    return download_bids_dataset(**arguments)  # type: ignore[arg-type]


def test_missing_program(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNIHARMONYFS", str(world.home / "nothing"))
    with pytest.raises(uniharmonyfs.ProgramNotFoundError, match=r"UNIHARMONYFS names no program"):
        status()
    monkeypatch.delenv("UNIHARMONYFS")
    monkeypatch.setenv("PATH", str(world.home))
    monkeypatch.setattr("uniharmonyfs._program._beside", lambda: iter([world.home]))
    with pytest.raises(FileNotFoundError, match=r"(?s)not installed.*\n  - build it") as caught:
        status()
    assert isinstance(caught.value, uniharmonyfs.ProgramNotFoundError)


def test_program_is_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    program = world.programs.uniharmonyfs
    monkeypatch.delenv("UNIHARMONYFS")
    monkeypatch.setenv("PATH", str(program.parent))
    assert find_program() == str(program)
    monkeypatch.setenv("PATH", str(world.home))
    monkeypatch.setattr("uniharmonyfs._program.sys.executable", str(program.parent / "python"))
    assert find_program() == str(program)


def test_every_exit_code_has_its_class() -> None:
    table = (Path(__file__).parents[2] / "README.md").read_text()
    codes = {
        int(cells[1])
        for line in table.splitlines()
        if len(cells := line.split("|")) > 2 and cells[1].strip().isdigit()
    }
    assert codes - {0} == set(BY_EXIT_CODE)
    assert len(set(BY_EXIT_CODE.values())) == len(BY_EXIT_CODE)


@pytest.mark.parametrize("code", [*BY_EXIT_CODE, -9, 99])
def test_exit_codes(world: World, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """A program that says what the true one would."""
    fake = world.home / "fake"
    says = '{"error":{"kind":"x","what":"W","why":"Y","do":["D"]},"exit":1}'
    end = f"kill {code} $$" if code < 0 else f"exit {code}"
    fake.write_text(f"#!/bin/sh\necho '{says}' >&2\n{end}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("UNIHARMONYFS", str(fake))
    with pytest.raises(uniharmonyfs.UniharmonyFSError) as caught:
        status()
    assert type(caught.value) is BY_EXIT_CODE.get(code, uniharmonyfs.FailedError)
    assert (caught.value.what, caught.value.why, caught.value.advice) == ("W", "Y", ["D"])
    assert str(caught.value) == "W: Y\n  - D"


def test_program_that_says_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = world.home / "fake"
    fake.write_text("#!/bin/sh\necho panic >&2\nkill -9 $$\n")
    fake.chmod(0o755)
    monkeypatch.setenv("UNIHARMONYFS", str(fake))
    with pytest.raises(uniharmonyfs.FailedError, match="signal 9 ended it: panic"):
        status()


def test_exceptions_travel() -> None:
    error = uniharmonyfs.PartialError("W", "Y", ["D"])
    error.failed = [uniharmonyfs.FailedFile("a", "b")]
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is uniharmonyfs.PartialError
    assert (str(again), again.failed) == (str(error), error.failed)


def test_usage(demo: Server, tmp_path: Path) -> None:
    with pytest.raises(uniharmonyfs.UsageError, match="subjects is an empty list") as caught:
        get(demo, tmp_path / "t", subjects=[])
    assert isinstance(caught.value, ValueError)
    with pytest.raises(uniharmonyfs.UsageError, match="neither a string nor a list"):
        get(demo, tmp_path / "t", subjects=1.5)
    with pytest.raises(uniharmonyfs.UsageError, match="is no BIDS label"):
        get(demo, tmp_path / "t", subjects="a/b")
    with pytest.raises(uniharmonyfs.UsageError, match="not a plain name"):
        get(demo, tmp_path / "t", tmp_dir_name="../elsewhere")
    assert not (tmp_path / "t").exists()


def test_no_match(demo: Server, tmp_path: Path) -> None:
    with pytest.raises(uniharmonyfs.NoMatchError) as caught:
        get(demo, tmp_path / "t", subjects=["01", "77"])
    assert caught.value.advice == ["nearest: 01, 02"]
    with pytest.raises(uniharmonyfs.NoMatchError, match="--root-files READNE"):
        get(demo, tmp_path / "t", root_files=["READNE"])


def test_unreachable(world: World, tmp_path: Path) -> None:
    with pytest.raises(uniharmonyfs.UnreachableError, match="cannot get the dataset"):
        prefetch(dataset=tmp_path / "nothing")


def test_cannot_mount(demo: Server, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    with (
        pytest.raises(uniharmonyfs.MountError, match="not empty"),
        mount(tmp_path / "full", dataset=demo.dataset, progress=False),
    ):
        pytest.fail("it was mounted")


def test_source_of_one_file_gone(world: World, tmp_path: Path) -> None:
    server = world.serve()
    server.tell("gone sub-01_ses-01_T1w")
    # By its URL, so that git-annex has no other place to get it from.
    with pytest.raises(uniharmonyfs.PartialError, match="1 of 4 files failed") as caught:
        get(server, tmp_path / "t", dataset_url=server.url, suffixes="T1w", root_files=[])
    bad = "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz"
    assert [f.path for f in caught.value.failed] == [bad]
    assert "404" in caught.value.failed[0].why
    assert not (tmp_path / "t" / bad).exists()
    assert (tmp_path / "t" / bad.replace("ses-01", "ses-02")).stat().st_size > 0
    with pytest.raises(uniharmonyfs.PartialError) as caught:
        prefetch(dataset=server.url, suffixes="T1w", progress=False)
    assert [f.path for f in caught.value.failed] == [bad]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_disk_too_small(world: World, tmp_path: Path) -> None:
    server = world.serve("--files", "4", "--size", "1MB")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], check=True)
    try:
        with pytest.raises(uniharmonyfs.NoSpaceError, match="do not fit"):
            get(server, small / "t")
    finally:
        subprocess.run(["umount", "-l", small], check=True)
