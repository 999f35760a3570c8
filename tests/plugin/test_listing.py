"""`layersig plugins`: who offers what, with options and a line of help."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from layersig.plugin.components import BUILT_IN_SCHEMES
from layersig.sources.resolve import LOADERS
from tests.study import call

TEXT = '''
from layersig import policy, scorer

LAYERSIG_API = ">=1.0,<2"

@scorer("fisher", needs={"gradients", "data"}, version=4)
def fisher(context, *, steps: int = 3, mean: bool = False):
    """Empirical Fisher information. More of it."""

@policy("every-other")
def every_other(context):
    """Every other unit."""
'''
LAZY = """
from layersig import Component, hookimpl

@hookimpl
def layersig_components():
    return [Component("scorer", "lost", "layersig_lazy.nowhere:Lost")]
"""

Install = Callable[..., Path]


def test_a_plugin_is_listed_with_what_it_offers(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install("layersig-fisher", TEXT, version="0.2.0")
    code, out, _ = call(capsys, "plugins", "--kind", "scorer")
    assert code == 0
    paragraph = next(part for part in out.split("\n\n") if part.startswith("layersig-fisher"))
    head, first, *more = paragraph.splitlines()
    assert head == "layersig-fisher 0.2.0, plugin API >=1.0,<2"
    assert first.split(maxsplit=2) == ["scorer", "fisher", "Empirical Fisher information"]
    assert [line.strip() for line in more] == ["needs: data, gradients", "options: steps, mean"]
    listed = json.loads(call(capsys, "plugins", "--json")[1])
    assert listed["plugins"] == [
        {"distribution": "layersig-fisher", "version": "0.2.0", "api": ">=1.0,<2", "problem": None}
    ]
    own = [row for row in listed["components"] if row["origin"] == "layersig-fisher 0.2.0"]
    assert [(row["kind"], row["name"], row["version"]) for row in own] == [
        ("scorer", "fisher", 4),
        ("policy", "every-other", 1),
    ]
    sources = {row["name"] for row in listed["components"] if row["kind"] == "source"}
    assert sources == set(LOADERS) == BUILT_IN_SCHEMES
    assert {"sft", "dpo", "simpo"} == {row["name"] for row in listed["components"] if row["kind"] == "objective"}


def test_what_cannot_be_loaded_is_listed_with_the_reason(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install("layersig-lazy", LAZY)
    out = " ".join(call(capsys, "plugins", "--kind", "scorer")[1].split())
    assert "layersig-lazy 1.0, plugin API not declared scorer lost cannot be loaded: " in out
    assert "No module named 'layersig_lazy.nowhere'" in out


def test_topics_are_listed_when_they_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert "provenance" in call(capsys, "plugins", "--kind", "topic")[1]
