"""Columns of `analysis.json` do not change without its schema version."""

from __future__ import annotations

import json

from tests.golden.columns import ACCEPTED, present


def test_no_column_changed_without_a_new_schema_version():
    accepted, now = json.loads(ACCEPTED.read_text(encoding="utf-8")), present()
    same = now["schema_version"] == accepted["schema_version"]
    assert not (same and now != accepted), (
        "columns changed: raise SCHEMA_VERSION in layersig/findings/tables.py, else files that were written before are "
        "called damaged"
    )
    assert now == accepted, "run `python -m tests.golden.columns` to accept the new columns"
