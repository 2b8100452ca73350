"""The package as pip installs it."""

from __future__ import annotations

import ast
import os
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
