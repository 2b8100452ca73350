"""Answers with what DataLad itself makes of the same.

Reads a JSON object from standard input, {"cases": [...], "datasets": [...]}, and
writes one with the answers in the same order. An answer is a list of candidates,
or a text: why DataLad gives up.
"""

import json
import logging
import os
import sys
from pathlib import Path
from types import SimpleNamespace

from datalad.config import parse_gitconfig_dump
from datalad.core.distributed.clone_utils import decode_source_spec, _map_urls
from datalad.distribution.dataset import Dataset
from datalad.distribution import get
from datalad.distribution.utils import _get_flexible_source_candidates

logging.getLogger("datalad").setLevel(logging.CRITICAL)


class Config(dict):
    def rewrite_url(self, url):
        return url

    def obtain(self, key):
        from datalad.interface.common_cfg import definitions

        return definitions[key]["default"]

    def get(self, key, default=None, get_all=False):
        return super().get(key, default)


class Repo:
    """A repository of which all remotes have the commit."""

    def __init__(self, case):
        self.urls = dict(case["remotes"])
        self.order = [name for name, _ in case["remotes"]]
        self.config = Config({k: v[0] if len(v) == 1 else tuple(v) for k, v in case["config"]})

    def get_tracking_branch(self):
        return (self.order[0], "refs/heads/main") if self.order else (None, None)

    def get_last_commit_hexsha(self, path):
        return "0" * 40

    def for_each_ref_(self, **kwargs):
        return [{"refname:strip=2": name + "/main"} for name in self.order]

    def get_remotes(self, with_urls_only=False):
        return [name for name in self.order if self.urls[name]]

    def get_remote_url(self, name, push=False):
        return self.urls[name]


def plain(candidates):
    return [{"url": c["url"], "name": c["name"], "cost": c["cost"]} for c in candidates]


def attempts(config, candidates):
    """What git is asked for each candidate; nothing where DataLad gives up."""
    out = []
    for c in candidates:
        try:
            (url,) = _map_urls(config, [c["url"]])
            decoded = decode_source_spec(url, cfg=config)
            out.append(_get_flexible_source_candidates(decoded["giturl"]))
        except Exception:
            out.append([])
    return out


def answer(case):
    parent = case["dir"] or "/nowhere"
    record = {"gitmodule_" + k: v for k, v in case["module"]}
    record.update(parentds=parent, path=os.path.join(parent, case["path"]))
    repo = Repo(case)
    try:
        found = get._get_flexible_source_candidates_for_submodule(SimpleNamespace(repo=repo, path=parent), record)
    except Exception as e:
        return {"error": repr(e)}
    return {"list": plain(found), "attempts": attempts(repo.config, found)}


def members(path):
    dataset = Dataset(path)
    out = {}
    for sm in dataset.subdatasets(result_renderer="disabled", state="any"):
        found = get._get_flexible_source_candidates_for_submodule(dataset, sm)
        out[os.path.relpath(sm["path"], path)] = {"list": plain(found), "attempts": attempts(dataset.config, found)}
    return out


asked = json.load(sys.stdin)
json.dump(
    {
        "cases": [answer(case) for case in asked["cases"] or []],
        "datasets": [members(path) for path in asked["datasets"] or []],
    },
    sys.stdout,
)
