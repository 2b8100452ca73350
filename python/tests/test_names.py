"""Names that are odd, as the program tells them."""

from __future__ import annotations

import os

from uniharmonyfs._program import objects, path_of


def test_lines_end_at_newlines_only() -> None:
    odd = "a\u0085b\u2028c\u2029d\x1ce"
    out = '{"path": "a\u0085b\u2028c\u2029d\\u001ce"}\n{"path": "x"}\n'
    assert [path_of(found) for found in objects(out)] == [odd, "x"]


def test_paths_are_exact() -> None:
    found = {"path": "sub-01/\ufffd", "path_base64": "c3ViLTAxL/8="}
    assert os.fsencode(path_of(found)) == b"sub-01/\xff"
