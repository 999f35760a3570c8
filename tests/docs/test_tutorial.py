"""The tutorial's commands run as they are printed, on a tiny model in place of the embedded one."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.docs.test_site import DOCS, commands
from tests.e2e.world import World
from tests.study import write_study

PAGE = DOCS / "tutorial.md"


@pytest.mark.slow
def test_the_tutorial_runs_from_its_first_command_to_its_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webbrowser.open", lambda page: True)
    write_study(tmp_path / "stand-in")
    (text,) = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.M | re.S)
    for named, used in (
        ("pypi:smollm2-135m-instruct", "path:stand-in/model"),
        ("pypi:alpaca-gpt4-sample", "file:stand-in/chats.jsonl"),
        ("limit = 60", "limit = 16"),
        ("heldout = 20", "heldout = 6"),
    ):
        assert named in text
        text = text.replace(named, used)
    (tmp_path / "first.toml").write_text(text, encoding="utf-8")
    world = World(tmp_path, tmp_path / "first.toml")
    every = commands(PAGE)
    verbs = ["validate", "plan", "run", "show", "open", "run", "run", "export", "export"]
    assert [words[1] for words in every] == verbs
    said = []
    for words in every:
        told = world.call(*words[1:])
        assert told.code == 0, (words, told.err)
        said.append(told.out)
    assert len(list((tmp_path / "runs" / "first").iterdir())) == 3
    assert "self_attn" in said[-2]
    shutil.rmtree(tmp_path / "cache")
