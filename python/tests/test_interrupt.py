"""Interrupts and kills: nothing is left running, and a second run continues."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Server, World, tree, wait_for

from uniharmonyfs import mount

SCRIPT = """
import sys
from uniharmonyfs.datasets import download_bids_dataset
try:
    done = download_bids_dataset(
        "all", "all", "all", "all", "all", "all", "all", sys.argv[2], sys.argv[1],
    )
    print("fetched", done.fetched_bytes, flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    raise
"""


def start(server: Server, target: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, server.dataset, target],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


@pytest.fixture
def slow(world: World) -> Server:
    server = world.serve("--files", "20", "--size", "200KB")
    server.tell("link 1ms 1MB")
    return server


def in_the_middle(server: Server) -> int:
    """Wait until some of the content was sent, and return how much."""
    sent = 0

    def enough() -> bool:
        nonlocal sent
        sent += server.tell("counts")["bytes"]
        return bool(sent > server.bytes // 4)

    wait_for(enough, "the download to come to its middle")
    assert sent < server.bytes * 3 // 4, "too late: the machine is too slow for this test"
    return sent


def test_interrupt_and_continue(world: World, slow: Server, tmp_path: Path) -> None:
    target = tmp_path / "t"
    child = start(slow, target)
    sent = in_the_middle(slow)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate()
    assert "interrupted" in out
    assert "KeyboardInterrupt" in err
    assert child.returncode == -signal.SIGINT
    assert not world.strays(), "the program still runs"
    assert not list(target.rglob("*.part")), "half files are left"
    slow.tell("link 0s 0")
    again = start(slow, target)
    out, err = again.communicate()
    assert again.returncode == 0, err
    sent += slow.tell("counts")["bytes"]
    # What was on its way may come again: for 8 transfers, some blocks of what
    # the server had already sent.
    assert sent <= slow.bytes + 8 * (256 << 10)
    whole = tmp_path / "whole"
    assert start(slow, whole).communicate()[0].startswith("fetched 0")
    assert tree(whole) == {k: v for k, v in tree(target).items() if k in tree(whole)}
    assert tree(target).keys() == tree(whole).keys()


def test_interrupt_on_a_terminal(world: World, slow: Server, tmp_path: Path) -> None:
    """Ctrl-C on a terminal reaches all of its programs, and ends in one place."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", SCRIPT, slow.dataset, str(tmp_path / "t")])
    said = b""
    pressed = False
    while True:
        if select.select([terminal], [], [], 60)[0]:
            try:
                part = os.read(terminal, 4096)
            except OSError:
                break
            said += part
        else:
            pytest.fail(f"nothing happens: {said!r}")
        if b"iB/s" in said and b" left" in said and not pressed:
            os.write(terminal, b"\x03")
            pressed = True
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGINT
    assert b"\r\x1b[Kdownloading" in said
    assert b"interrupted" in said
    assert said.count(b"KeyboardInterrupt") == 1
    assert not world.strays(), "the program still runs"


def test_killed_python_ends_the_program(world: World, slow: Server, tmp_path: Path) -> None:
    child = start(slow, tmp_path / "t")
    in_the_middle(slow)
    child.kill()
    child.communicate()
    wait_for(
        lambda: not world.strays(),
        "the program to notice that nobody reads what it says",
    )


def test_killed_program_is_an_error(world: World, slow: Server, tmp_path: Path) -> None:
    child = start(slow, tmp_path / "t")
    in_the_middle(slow)
    for pid in world.strays():
        os.kill(pid, signal.SIGKILL)
    _, err = child.communicate()
    assert child.returncode == 1
    assert "FailedError" in err
    assert "signal 9 ended it" in err


MOUNT = """
import sys
from uniharmonyfs import mount
print("now", flush=True)
with mount(sys.argv[2], dataset=sys.argv[1], progress=False) as m:
    print("mounted", flush=True)
    while True:
        m.stat()
"""


def test_interrupt_unmounts(world: World, demo: Server, tmp_path: Path) -> None:
    target = tmp_path / "m"
    for delay in (None, *range(12)):
        child = subprocess.Popen(
            [sys.executable, "-c", MOUNT, demo.dataset, target],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "now\n"
        if delay is None:
            assert child.stdout.readline() == "mounted\n"
        else:  # in the middle of mounting, wherever that is
            time.sleep(delay * 0.008)
        child.send_signal(signal.SIGINT)
        child.communicate()
        assert child.returncode == -signal.SIGINT
        assert not target.is_mount()
        assert not world.strays(), "the program still runs"


def test_mount_after_all_that(demo: Server, tmp_path: Path) -> None:
    with mount(tmp_path / "m", dataset=demo.dataset, progress=False) as m:
        assert len(tree(m)) > 50
