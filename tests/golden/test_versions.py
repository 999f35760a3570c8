"""A stage whose code changed must say whether its results did."""

from __future__ import annotations

import json

from layersig.pipeline import KINDS
from tests.golden.versions import ACCEPTED, SOURCES, present


def test_every_kind_of_stage_is_watched():
    assert SOURCES.keys() == KINDS.keys()


def test_no_stage_changed_without_a_new_version():
    accepted, now = json.loads(ACCEPTED.read_text(encoding="utf-8")), present()
    unversioned = [
        name
        for name, found in now.items()
        if name in accepted and found != accepted[name] and found["version"] == accepted[name]["version"]
    ]
    assert not unversioned, (
        f"the code of {unversioned} changed and the version did not: bump it (layersig/pipeline/kinds.py, or the "
        "decorator), or, if every result stays as it was, run `python -m tests.golden.versions`"
    )
    assert now == accepted, "run `python -m tests.golden.versions` to accept the new versions"
