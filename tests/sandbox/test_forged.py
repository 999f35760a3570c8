"""Whatever a program sends to the process that watches it, that process keeps running."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from layersig.errors import MachineError
from layersig.sandbox import run
from tests.sandbox.world import SMALL, confined, hostile

FORGE = """
import gc, json, os
order = next(each for each in gc.get_objects() if isinstance(each, dict) and "token" in each and "tell" in each)
def say(**said):
    tell((json.dumps({"token": order["token"], **said})).encode())
def tell(line):
    os.write(order["tell"], line + b"\\n")
def ask(raw):
    os.write(order["errands"], raw)
"""


@confined
@pytest.mark.parametrize(
    ("lie", "ended"),
    [
        pytest.param("say()", "died", id="nothing"),
        pytest.param("say(ended='unconfined', kinds=[], message='x')", "died", id="that it is not confined"),
        pytest.param("say(ended=['completed'], kinds=[], message='x')", "died", id="a list"),
        pytest.param("say(ended='timeout', kinds=[], message='x')", "died", id="what only the parent can see"),
        pytest.param("say(ended='raised', kinds=3, message='x')", "died", id="a number for kinds"),
        pytest.param("say(ended='raised', kinds=[{}], message='x')", "died", id="objects for kinds"),
        pytest.param("say(ended='raised', kinds=[], message={})", "died", id="an object for a message"),
        pytest.param("tell(b'[' * 60000)", "died", id="a deep nest"),
        pytest.param("tell(b'1' * 60000)", "died", id="a long number"),
        pytest.param("tell(bytes(range(256)))", "died", id="no text"),
        pytest.param("tell(b'unconfined: x')", "died", id="the launcher's first line"),
        pytest.param("say(ended='raised', kinds=[chr(0xD800)], message=chr(0xD800))", "raised", id="half a character"),
        pytest.param("ask(b'[' * 9000)", "died", id="a deep errand"),
        pytest.param("ask(b'[\"mode\", 3, 4]')", "died", id="an errand of other types"),
        pytest.param("ask(json.dumps(['mode', os.getcwd() + chr(0), [1]]).encode())", "died", id="an errand for NUL"),
        pytest.param("ask(json.dumps(['times', os.getcwd(), [1 << 99, 1]]).encode())", "died", id="a far time"),
        pytest.param("[ask(b'x') for _ in range(500)]", "died", id="errands without an end"),
        pytest.param("os.close(order['errands'])", "died", id="no errands"),
    ],
)
def test_whatever_a_program_says_is_no_error_for_the_parent(lie: str, ended: str) -> None:
    found, _ = hostile(f"{FORGE}\n{lie}\nos._exit(1)")
    assert found.ended == ended, found
    assert all(text.encode() for text in (found.message, *found.kinds) if text)


@confined
def test_garbage_on_every_descriptor_is_no_verdict() -> None:
    found, _ = hostile(
        'import os\nfor n in range(3, 64):\n  try: os.write(n, b\'{"ended": "completed"}\\n[1]\\n\')\n'
        "  except OSError: pass\nraise KeyError('x')"
    )
    assert (found.ended, found.kinds[0]) == ("raised", "KeyError")


@confined
def test_a_message_that_is_no_text_is_written_as_one() -> None:
    found, _ = hostile("raise ValueError('\\ud800')")
    assert (found.ended, found.message) == ("raised", "?")


@confined
@pytest.mark.parametrize(
    ("launcher", "said"),
    [
        pytest.param("raise SystemExit(7)", "ended with 7 before it began", id="an exit"),
        pytest.param("", "ended with 0 before it began", id="no word"),
        pytest.param(
            "import json, os, sys\no = json.load(sys.stdin)\nos.write(o['tell'], b'unconfined: no Landlock\\n')",
            "unconfined: no Landlock",
            id="no confinement",
        ),
    ],
)
def test_a_launcher_that_ends_early_grades_nothing(
    launcher: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "launch.py"
    script.write_text(launcher)
    monkeypatch.setattr(importlib.import_module("layersig.sandbox.run"), "_LAUNCHER", script)
    with pytest.raises(MachineError, match=said):
        run("pass", SMALL)
