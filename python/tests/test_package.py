"""The package as pip installs it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

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
