"""Mounts as context managers, prefetch and status."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Server, World, tree

from uniharmonyfs import MountError, clean_tmp, mount, prefetch, status

T1W = "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz"


def test_mount_in_a_temporary_place(world: World, demo: Server) -> None:
    with mount(dataset=demo.dataset, subjects="01", modalities=["anat"], progress=False) as m:
        assert m.is_mount()
        assert [m.target for m in status().mounts] == [m]
        assert (m / T1W).read_bytes()[:2] == b"\x1f\x8b"
        assert not (m / "sub-02").exists()
    assert not m.exists()
    assert status().mounts == []
    assert status().objects >= 1  # what may be read next comes, too
    with mount(dataset=demo.dataset, where='sex == "F"', clean=True, progress=False) as m:
        assert (m / "sub-01").is_dir()
    assert not world.cache.exists()


def test_mount_at_a_target(demo: Server, tmp_path: Path) -> None:
    target = tmp_path / "here"
    with mount(str(target), dataset=demo.dataset, version="1.0.0", progress=False) as m:
        assert m == target
        assert len(tree(m)) > 50
        assert status().mounts[0].version == "1.0.0"
    assert not target.is_mount()


def test_exception_leaves_no_mount(demo: Server, tmp_path: Path) -> None:
    class OurError(Exception):
        pass

    held = None
    with (
        pytest.warns(ResourceWarning, match="in use"),
        pytest.raises(OurError),
        mount(tmp_path / "m", dataset=demo.dataset, progress=False) as m,
    ):
        held = (m / "README").open()
        raise OurError
    assert not (tmp_path / "m").is_mount()
    assert held is not None
    held.close()
    with (
        pytest.raises(KeyboardInterrupt),
        mount(tmp_path / "m", dataset=demo.dataset, progress=False),
    ):
        raise KeyboardInterrupt
    assert not (tmp_path / "m").is_mount()


def test_unmounted_by_somebody_else(world: World, demo: Server, tmp_path: Path) -> None:
    import subprocess  # noqa: PLC0415

    with mount(tmp_path / "m", dataset=demo.dataset, progress=False) as m:
        subprocess.run([world.programs.uniharmonyfs, "unmount", m], check=True)
    assert not (tmp_path / "m").is_mount()


def test_somebody_elses_mount_stays(demo: Server, tmp_path: Path) -> None:
    with mount(tmp_path / "m", dataset=demo.dataset, progress=False) as m:
        with (
            pytest.raises(MountError, match="mounted already"),
            mount(tmp_path / "m", dataset=demo.dataset, progress=False),
        ):
            pytest.fail("it was mounted twice")
        assert m.is_mount()


def test_prefetch(demo: Server, tmp_path: Path) -> None:
    done = prefetch(dataset=demo.dataset, subjects="01", suffixes="T1w", progress=False)
    assert done.files == 2
    assert status().objects == 2
    with mount(tmp_path / "m", dataset=demo.dataset, progress=False) as m:
        assert prefetch(m / "sub-02", progress=False).files == 14
        s = status()
    assert (s.objects, s.mounts[0].cached, s.used > 0) == (16, 16, True)
    assert s.clones[0].dataset == demo.dataset
    cleaned = clean_tmp()
    assert cleaned.removed
    assert cleaned.files == 16


def test_status_without_a_cache(world: World) -> None:
    s = status()
    assert (s.cache, s.objects, s.mounts, s.clones) == (world.cache, 0, [], [])
    assert not world.cache.exists()
