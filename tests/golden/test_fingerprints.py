"""What caches hold is found again only under the fingerprints of the past."""

from __future__ import annotations

import json

from tests.golden.fingerprints import ACCEPTED, RECIPES, fingerprints


def test_every_stage_of_the_bundled_recipes_keeps_its_fingerprint():
    accepted = json.loads(ACCEPTED.read_text(encoding="utf-8"))
    assert {name: fingerprints(RECIPES / name) for name in accepted} == accepted
