"""Progress, as a terminal and as a notebook show it."""

from __future__ import annotations

import io

import pytest
from conftest import World

from uniharmonyfs import prefetch
from uniharmonyfs._progress import Progress, duration, size


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


REPORT = {
    "phase": "get",
    "done": 5 << 20,
    "total": 20 << 20,
    "files": 7,
    "failed": 1,
    "speed": 3.0 * (1 << 20),
    "eta": 5.0,
}
LINE = "downloading 25 %, 5.0 MiB of 20.0 MiB, 3.0 MiB/s, 5 s left, 7 files, 1 failed"


def test_terminal() -> None:
    out = Terminal()
    progress = Progress(out)
    progress.update(REPORT)
    progress.close()
    assert out.getvalue() == f"\r\x1b[K{LINE[:79]}\r\x1b[K"


def test_plain_output_is_sparse(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    progress = Progress(out)
    progress.update({"phase": "clone", "done": 1, "total": 2, "text": "Counting objects"})
    for k in range(250):
        now = 100.0 + k * 0.1
        progress.update({**REPORT, "done": (k + 1) << 10, "failed": 0})
    progress.close()
    lines = out.getvalue().splitlines()
    assert lines[0] == "cloning 50 % Counting objects"
    assert [line.split(", ")[1] for line in lines[1:]] == [
        "1.0 KiB of 20.0 MiB",
        "101 KiB of 20.0 MiB",
        "201 KiB of 20.0 MiB",
        "250 KiB of 20.0 MiB",
    ]


def test_names_cannot_drive_the_terminal() -> None:
    out = Terminal()
    Progress(out).update({"phase": "snapshot", "total": 1, "text": "a\x1b[2Jb"})
    assert "\x1b[2J" not in out.getvalue()


def test_closed_output_is_no_error() -> None:
    out = io.StringIO()
    progress = Progress(out)
    out.close()
    progress.update(REPORT)
    progress.close()


def test_words() -> None:
    assert [size(n) for n in (0, 1023, 1024, 150 << 20, 5 << 40)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "150 MiB",
        "5.0 TiB",
    ]
    assert [duration(s) for s in (0.2, 59, 61, 7260)] == ["1 s", "59 s", "1 min 01 s", "2 h 01 min"]


def test_true_reports(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    server = world.serve("--files", "10", "--size", "200KB", "--rate", "1MB")
    prefetch(dataset=server.dataset)
    err = capsys.readouterr().err
    assert "fetching 100 %, 1.9 MiB of 1.9 MiB" in err
    assert "iB/s" in err
    prefetch(dataset=server.dataset, progress=False)
    assert capsys.readouterr().err == ""
