"""The calls of uniharmony.datasets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Server, World, tree, zombies
from test_errors import get

import uniharmonyfs
from uniharmonyfs import clean_tmp, clean_tmp_folder, list_available_files, mount, status

T1W = "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz"

# The calls as the documentation of uniharmony.datasets shows them; only the
# import and the values of the variables are ours.
SCRIPT = """
import sys
from pathlib import Path
from uniharmonyfs.datasets import download_bids_dataset

dataset_url, target_path, cache_path = sys.argv[1:]
subjects = ["01"]
sessions = ["01"]
modalities = ["anat"]
suffixes = ["T1w"]
extensions = [".nii.gz"]
root_files = ["dataset_description.json", "README"]

download_bids_dataset(
    subjects=subjects,
    sessions=sessions,
    modalities=modalities,
    tasks="all",
    runs="all",
    suffixes=suffixes,
    extensions=extensions,
    target_path=target_path,
    dataset_url=dataset_url,
    root_files=root_files,
)

from uniharmonyfs.datasets import list_available_files

files = list_available_files(Path(cache_path))
print(f"Found {len(files)} files")
for f in files[:10]:
    print(f)

download_bids_dataset(
    subjects=["02"],
    sessions=sessions,
    modalities=modalities,
    tasks="all",
    runs="all",
    suffixes=suffixes,
    extensions=extensions,
    target_path=target_path,
    dataset_url=dataset_url,
    root_files=root_files,
    tmp_clean=True,
)

from uniharmonyfs.datasets import clean_tmp

# Remove default cache
clean_tmp()

# Remove custom-named cache
clean_tmp("my_custom_cache")

from uniharmonyfs.datasets import clean_tmp_folder

clean_tmp_folder()
"""


def test_seed_script(world: World, demo: Server, tmp_path: Path) -> None:
    name = Path(demo.dataset).name
    done = subprocess.run(
        [sys.executable, "-", demo.url, tmp_path / "my_dataset", f"/tmp/datalad_cache/{name}"],
        input=SCRIPT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(tree(tmp_path / "my_dataset")) == [
        "README",
        "dataset_description.json",
        T1W,
        T1W.replace("sub-01", "sub-02"),
    ]
    lines = done.stdout.splitlines()
    assert lines[0] == "Found 61 files"
    assert lines[1] == f"/tmp/datalad_cache/{name}/CHANGES"
    assert len(lines) == 11
    assert "downloading" in done.stderr
    assert not world.cache.exists()


def test_every_parameter_selects(demo: Server, tmp_path: Path) -> None:
    """Each parameter, as a string, as a list, and with its prefix."""
    for n, (name, value, some) in enumerate(
        [
            ("subjects", "01", "sub-01/"),
            ("subjects", ["sub-01"], "sub-01/"),
            ("sessions", ("02",), "/ses-02/"),
            ("sessions", "ses-02", "/ses-02/"),
            ("modalities", "anat", "/anat/"),
            ("modalities", ["dwi"], "/dwi/"),
            ("tasks", "rest", "task-rest"),
            ("tasks", ["task-tapping"], "task-tapping"),
            ("suffixes", "bold", "_bold."),
            ("suffixes", ["T1w"], "_T1w."),
            ("extensions", ".bval", ".bval"),
            ("extensions", ["bvec"], ".bvec"),
        ]
    ):
        target = tmp_path / str(n)
        done = get(demo, target, **{name: value, "root_files": []})
        files = tree(target)
        assert files, name
        assert done.files == len(files)
        assert all(some in f for f in files), (name, value, list(files))
    everything = get(demo, tmp_path / "all", subjects=["all", "01"], runs=None)
    assert everything.files > 50
    # No file of the demo has a run.
    with pytest.raises(uniharmonyfs.NoMatchError, match="no file name in the dataset has run-"):
        get(demo, tmp_path / "none", runs=1)


def test_runs(world: World, tmp_path: Path) -> None:
    server = world.serve("--files", "4", "--size", "4K")
    get(server, tmp_path / "t", runs=[1, "run-03"], root_files=[], extensions=".nii.gz")
    assert [f.split("_run-")[1] for f in tree(tmp_path / "t")] == [
        "01_bold.nii.gz",
        "03_bold.nii.gz",
    ]


def test_root_files(demo: Server, tmp_path: Path) -> None:
    def root(files: object) -> list[str]:
        target = tmp_path / f"t-{files}".replace("/", "")
        get(demo, target, subjects="01", suffixes="T1w", root_files=files)
        return sorted(p.name for p in target.iterdir() if p.is_file())

    assert root([]) == root("none") == []
    assert root("README") == ["README"]
    assert root(["README", "participants.*"]) == [
        "README",
        "participants.json",
        "participants.tsv",
    ]
    everything = root("all")
    assert "task-rest_bold.json" in everything
    assert "CHANGES" in everything
    assert everything == root(None)


def test_hidden_copies(world: World, demo: Server, tmp_path: Path) -> None:
    """hidden=True, the default: real files only, and the content stays cached."""
    done = get(demo, str(tmp_path / "t"), suffixes="T1w", root_files=[])
    assert (done.target, done.files, done.fetched_bytes > 0) == (tmp_path / "t", 4, True)
    assert not [p for p in (tmp_path / "t").rglob("*") if p.is_symlink() or p.name == ".git"]
    assert status().objects == 4
    again = get(demo, tmp_path / "other", suffixes="T1w", root_files=[])
    assert (again.files, again.fetched_bytes) == (4, 0)
    assert tree(tmp_path / "t") == tree(tmp_path / "other")


def test_hidden_without_copy(demo: Server, tmp_path: Path) -> None:
    done = get(demo, tmp_path / "t", suffixes="T1w", copy=False, tmp_clean=True)
    assert done.files == 4
    assert not (tmp_path / "t").exists()
    assert status().objects == 4


def test_tmp_clean(demo: Server, tmp_path: Path) -> None:
    get(demo, tmp_path / "t", suffixes="T1w", tmp_clean=True, root_files=[])
    assert status().objects == 0
    assert len(tree(tmp_path / "t")) == 4


def test_direct(demo: Server, tmp_path: Path) -> None:
    """hidden=False: a DataLad dataset, with links where content is not here."""
    target = tmp_path / "t"
    get(demo, target, subjects="01", suffixes="T1w", hidden=False)
    assert (target / ".git").is_dir()
    assert (target / T1W).is_symlink()
    assert (target / T1W).stat().st_size > 0
    assert not (target / T1W.replace("sub-01", "sub-02")).exists()
    assert (target / T1W.replace("sub-01", "sub-02")).is_symlink()
    assert status().objects == 0
    found = list_available_files(target)
    assert target / T1W in found
    assert target / T1W.replace("sub-01", "sub-02") in found
    assert not [f for f in found if ".git" in f.parts]
    content = (target / T1W).read_bytes()
    get(demo, target, subjects="01", suffixes="T1w", hidden=False, copy=True)
    assert not (target / T1W).is_symlink()
    assert (target / T1W).read_bytes() == content


def test_custom_cache(world: World, demo: Server, tmp_path: Path) -> None:
    get(demo, tmp_path / "t", suffixes="T1w", tmp_dir_name="my_custom_cache")
    custom = world.cache.parent / "my_custom_cache"
    assert custom.is_dir()
    assert not world.cache.exists()
    name = Path(demo.dataset).name
    assert len(list_available_files(f"/tmp/my_custom_cache/{name}")) == 61
    assert not world.cache.exists()
    done = clean_tmp("my_custom_cache")
    assert (done.removed, done.files) == (True, 4)
    assert not custom.exists()
    assert clean_tmp_folder("my_custom_cache").removed is False


def test_clean_keeps_what_is_in_use(demo: Server, tmp_path: Path) -> None:
    with (
        mount(tmp_path / "m", dataset=demo.dataset, progress=False),
        pytest.raises(uniharmonyfs.FailedError, match="it is mounted at") as caught,
    ):
        clean_tmp()
    assert "unmount it first" in caught.value.advice[0]


def test_clean_touches_nothing_else(world: World) -> None:
    other = world.cache.parent / "thesis"
    other.mkdir(parents=True)
    (other / "chapter1").write_text("mine")
    assert clean_tmp("thesis").files == 0
    assert (other / "chapter1").read_text() == "mine"


def test_force_download(demo: Server, tmp_path: Path) -> None:
    target = tmp_path / "t"
    get(demo, target, suffixes="T1w")
    (target / T1W).write_bytes(b"mine")
    with pytest.raises(uniharmonyfs.PartialError, match="1 of") as caught:
        get(demo, target, suffixes="T1w")
    assert caught.value.failed[0].path == T1W
    assert (target / T1W).read_bytes() == b"mine"
    done = get(demo, target, suffixes="T1w", force_download=True)
    assert done.fetched_bytes > 0
    assert (target / T1W).read_bytes()[:2] == b"\x1f\x8b"


def test_companions(demo: Server, tmp_path: Path) -> None:
    target = tmp_path / "t"
    get(demo, target, subjects="01", tasks="rest", extensions=".nii.gz", companions="full")
    assert (target / "task-rest_bold.json").is_file()
    assert "sub-02" not in (target / "participants.tsv").read_text()
    get(demo, target, subjects="02", companions="full")
    assert "sub-02" in (target / "participants.tsv").read_text()


def test_list_of_a_directory(demo: Server, tmp_path: Path) -> None:
    get(demo, tmp_path / "t", suffixes="T1w", subjects="01", root_files="README")
    files = list_available_files(tmp_path / "t")
    assert files == [tmp_path / "t" / f for f in tree(tmp_path / "t")]
    assert len(files) == 3
    with mount(tmp_path / "m", dataset=demo.dataset, progress=False) as m:
        assert tmp_path / "m" / T1W in list_available_files(m)


def test_list_of_nothing(world: World, tmp_path: Path) -> None:
    for path in ("/tmp/datalad_cache/nothing", "nothing", tmp_path / "ds000001"):
        with pytest.raises(uniharmonyfs.NoMatchError, match="the cache has no dataset"):
            list_available_files(path)
    assert not world.cache.exists()


def test_list_of_an_accession(world: World, demo: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """An OpenNeuro dataset is cloned when it is not known yet."""
    monkeypatch.setenv("UNIHARMONYFS_OPENNEURO_URL", demo.url + "?{id}")
    with pytest.raises(uniharmonyfs.UnreachableError):
        list_available_files("/tmp/datalad_cache/ds000001")
    elsewhere = world.home / "ds000001"
    elsewhere.symlink_to(demo.dataset)
    monkeypatch.setenv("UNIHARMONYFS_OPENNEURO_URL", str(world.home / "{id}"))
    assert len(list_available_files("ds000001")) == 61
    assert not zombies()
