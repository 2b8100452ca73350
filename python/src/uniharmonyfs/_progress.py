"""Progress: one line that is rewritten on a terminal, a few lines elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

PHASES = {
    "wait": "waiting for",
    "clone": "cloning",
    "snapshot": "reading the list of files",
    "plan": "looking at what is there",
    "get": "downloading",
    "fetch": "fetching",
}
OF_BYTES = ("get", "fetch")
SPARSE = 10.0
"""Seconds between the lines where they stay, as in a notebook."""


class Progress:
    """Shows the progress that the program reports."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Write to a stream, by default standard error."""
        self.stream = stream if stream is not None else sys.stderr
        self.tty = self.stream.isatty()
        self.phase = ""
        self.next = 0.0
        self.last = ""
        self.shown = ""

    def update(self, report: Mapping[str, Any]) -> None:
        """Show a report."""
        now = time.monotonic()
        line = describe(report)
        new = report.get("phase") != self.phase
        self.phase = str(report.get("phase"))
        if self.tty:
            width = shutil.get_terminal_size().columns - 1
            self._write("\r\x1b[K" + line[:width])
            self.shown = line
            return
        if new:
            self._settle()
        self.last = line
        if new or now >= self.next:
            self.next = now + SPARSE
            self._write(line + "\n")
            self.shown = line

    def close(self) -> None:
        """Leave a clean line, or the last report where lines stay."""
        if self.tty:
            if self.shown:
                self._write("\r\x1b[K")
        else:
            self._settle()
        self.shown = self.last = ""

    def _settle(self) -> None:
        if self.last != self.shown:
            self._write(self.last + "\n")
            self.shown = self.last

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError):
            pass  # a closed stream is no reason to stop a download


def describe(report: Mapping[str, Any]) -> str:
    """Say a report in one line."""
    phase = str(report.get("phase"))
    done, total = int(report.get("done") or 0), int(report.get("total") or 0)
    words = [PHASES.get(phase, phase)]
    if phase in OF_BYTES:
        words.append(f"{done * 100 // total if total else 100} %, {size(done)} of {size(total)}")
        if speed := float(report.get("speed") or 0):
            words.append(f"{size(speed)}/s")
        if eta := float(report.get("eta") or 0):
            words.append(f"{duration(eta)} left")
        words.append(f"{int(report.get('files') or 0)} files")
        if failed := int(report.get("failed") or 0):
            words.append(f"{failed} failed")
        return ", ".join(words).replace(",", "", 1)
    if total:
        words.append(f"{done * 100 // total} %")
    text = "".join(c if c.isprintable() else "\ufffd" for c in str(report.get("text") or ""))
    if text and text != words[0]:
        words.append(text)
    return " ".join(words)


def size(count: float) -> str:
    """Say a number of bytes as people do."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def duration(seconds: float) -> str:
    """Say a time as people do."""
    whole = round(seconds)
    if whole < 60:
        return f"{max(whole, 1)} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
