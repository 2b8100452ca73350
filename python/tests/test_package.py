"""The package as pip installs it."""

from __future__ import annotations

import ast
import os
import platform
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import Server, World

PACKAGE = Path(__file__).parents[1]


def test_pip_installs_it(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", PACKAGE, copy], check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", tmp_path / "site", copy], check=True)
    assert (tmp_path / "site" / "uniharmonyfs" / "py.typed").is_file()
    said = subprocess.run(
        [sys.executable, "-c", "import uniharmonyfs.datasets as d; print(d.__file__)"],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert said.stdout.startswith(str(tmp_path / "site"))


def build_wheel(directory: Path) -> tuple[Path, Path]:
    """Make a wheel with some static program, and return both."""
    program = directory / "program"
    subprocess.run(
        ["go", "build", "-o", program, "./scripts/wheel"],
        cwd=PACKAGE.parent,
        env={**os.environ, "CGO_ENABLED": "0"},
        check=True,
    )
    page = directory / "share" / "man" / "man1" / "uniharmonyfs.1"
    page.parent.mkdir(parents=True)
    page.write_text("page")
    options = {
        "version": "1.2.3+dev.4",
        "arch": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()],
        "program": program,
        "share": directory / "share",
        "source": PACKAGE,
        "license": PACKAGE.parent / "LICENSE",
        "out": directory,
    }
    subprocess.run([program, *(f"--{k}={v}" for k, v in options.items())], check=True)
    (wheel,) = directory.glob("uniharmonyfs-*.whl")
    return wheel, program


def test_wheel_brings_the_program(tmp_path: Path) -> None:
    """However it is installed, its own program is found, and all of it goes again."""
    wheel, program = build_wheel(tmp_path)
    other = tmp_path / "other" / "uniharmonyfs"
    other.parent.mkdir()
    other.write_text("#!/bin/sh")
    other.chmod(0o755)
    env = {**os.environ, "PATH": f"{other.parent}:{os.environ['PATH']}"}
    for name in [n for n in env if n.startswith(("UNIHARMONYFS", "PYTHONPATH"))]:
        del env[name]
    env["PYTHONDONTWRITEBYTECODE"] = "1"

    def python(*args: str | Path, **more: str) -> str:
        return subprocess.run(
            [tmp_path / "venv" / "bin" / "python", *args],
            env={**env, **more},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            check=True,
        ).stdout

    def files() -> list[Path]:
        # pip leaves empty directories.
        found = (p for p in (tmp_path / "venv").rglob("*") if not p.is_dir())
        return sorted(p for p in found if "__pycache__" not in p.parts)

    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    before = files()
    asked = (
        "from importlib.metadata import version; from uniharmonyfs._program import find_program;"
        "print(version('uniharmonyfs'), find_program())"
    )
    pip = ("-m", "pip", "--quiet", "--disable-pip-version-check")
    python(*pip, "install", "--no-index", wheel)
    installed = tmp_path / "venv" / "bin" / "uniharmonyfs"
    assert python("-c", asked) == f"1.2.3+dev.4 {installed}\n"
    assert installed.read_bytes() == program.read_bytes()
    assert (tmp_path / "venv" / "share" / "man" / "man1" / "uniharmonyfs.1").is_file()
    python(*pip, "uninstall", "--yes", "uniharmonyfs")
    assert files() == before

    python(*pip, "install", "--no-index", "--target", tmp_path / "site", wheel)
    found = python("-c", asked, PYTHONPATH=str(tmp_path / "site"))
    assert found == f"1.2.3+dev.4 {tmp_path / 'site' / 'bin' / 'uniharmonyfs'}\n"


def test_readme(
    world: World,
    demo: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The example in the README, with the demo as its dataset."""
    (tmp_path / "ds004712").symlink_to(demo.dataset)
    monkeypatch.setenv("UNIHARMONYFS_OPENNEURO_URL", str(tmp_path / "{id}"))
    text = (PACKAGE.parent / "README.md").read_text().partition("## From Python")[2]
    block = text[text.index("    from ") : text.index("`download_bids_dataset`")]
    exec(textwrap.dedent(block).replace("03286", "01"), {})  # noqa: S102
    assert capsys.readouterr().out.splitlines() == [
        "sub-01_ses-01_T1w.nii.gz 13565",
        "sub-01_ses-02_T1w.nii.gz 13545",
    ]
    assert not world.cache.exists()


def test_no_dependencies_and_old_syntax() -> None:
    ours = {"uniharmonyfs", "__future__"}
    for path in (PACKAGE / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(), feature_version=(3, 10))):
            names = []
            if isinstance(node, ast.Import):
                names = [a.name for a in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for name in names:
                top = name.split(".")[0]
                assert top in ours or top in sys.stdlib_module_names, f"{path} imports {name}"
