"""Recipes that are too deep, too long or not of this world are refused fast, and every fault has a line."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from layersig.errors import UserError
from layersig.recipe.load import load
from layersig.recipe.nesting import DEEPEST, LONGEST_WORD, out_of_bounds
from tests.recipe.example import EXAMPLE

DEEP = ".".join(["a"] * 50_000)


def faults(path: Path, text: str, *overrides: str) -> list[str]:
    """What a message says about a recipe, one fault an entry, each of which must have a place."""
    path = path / "study.toml"
    path.write_text(text)
    began = time.process_time()
    with pytest.raises(UserError) as caught:
        load(path, overrides)
    assert time.process_time() - began < 5
    first, *others = str(caught.value).split("\n  ")
    told = others or [first]
    assert all(re.match(rf"({re.escape(str(path))}:\d+|override )", fault) for fault in told), told
    assert all(len(fault) < 2_000 for fault in told)
    return [fault.removeprefix(str(path)) for fault in told]


@pytest.mark.parametrize(
    "line",
    [
        f"[{DEEP}]",
        f"[[{DEEP}]]",
        f"{DEEP} = 1",
        f'"a".{DEEP} = 1',
        f"x = {'[' * 50_000}1{']' * 50_000}",
        f"x = {'{a=' * 400}1{'}' * 400}",
        f"x = {'[{a.b.c=' * 12}1{'}]' * 12}",
        f"x = {'[' * 50_000}",
    ],
    ids=["table", "array-of-tables", "key", "quoted-key", "array", "inline-table", "mixed", "not-closed"],
)
def test_deep_nesting_is_told_with_its_line(tmp_path: Path, line: str) -> None:
    (fault,) = faults(tmp_path, f'name = "x"\n\n{line}\n')
    assert fault.startswith(":3: values are nested too deeply")


def test_what_is_deep_but_within_bounds_or_only_looks_deep_is_read() -> None:
    dots = ".".join(["1"] * 200)
    for text in (
        f'x = "{dots}"',
        f"x = '''\n[{dots}]\n'''",
        f"# [{dots}]",
        f"x = {'[' * (DEEPEST - 1)}{']' * (DEEPEST - 1)}",
        "\n".join(f"[a{number}.b.c]" for number in range(200)),
        "x = [" + ", ".join(["[1.5, [2.5]]"] * 200) + "]",
    ):
        assert out_of_bounds(text) is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a" * 400_000 + " = 1", f"a key or number of more than {LONGEST_WORD} characters"),
        ("seeds = [" + "9" * 5_000 + "]", f"a key or number of more than {LONGEST_WORD} characters"),
        ('"' + "a" * 400_000 + '" = 1', "unknown key"),
        ("root_seed = 0x" + "f" * 500, "must fit into 64 bits"),
        ("root_seed = 99999999999999999999", "must fit into 64 bits"),
        ('description = "a\\u0000b"', "must not contain the character U+0000"),
        ('"a\\u0000b" = 1', "must not contain the character U+0000"),
    ],
)
def test_long_words_and_numbers_and_unusable_text_are_told(tmp_path: Path, line: str, words: str) -> None:
    (fault,) = faults(tmp_path, EXAMPLE.replace("seeds = [0, 1]", "").replace('description = "a study"', line))
    assert fault.startswith(":2: ")
    assert words in fault


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('source = "file:rows.jsonl"', 'source = "file:rows\\u0000.jsonl"', "U+0000"),
        ('name = "local"', 'name = "lo\\u0000cal"', "U+0000"),
        ("plugins = []", 'plugins = ["./a\\u0000.py"]', "U+0000"),
        ('dtype = "float32"', 'chat_template = "file:a\\u0000.jinja"', "U+0000"),
        ('"hellaswag"', '"file:a\\u0000.yaml"', "U+0000"),
        ('name = "example"', 'name = "exa/mple"', "must be letters, digits"),
        ('name = "ila-30"', 'name = "../ila-30"', "must be letters, digits"),
        ("[scorers.ila]", '[scorers."i/la"]', "must be letters, digits"),
        ('name = "chats"', 'name = "chats\\n"', "must be letters, digits"),
        ('name = "chats"', 'name = "' + "c" * 300_000 + '"', "at most 80 characters"),
    ],
)
def test_a_name_that_cannot_name_a_file_is_told_with_its_line(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in EXAMPLE
    text = EXAMPLE.replace(old, new, 1)
    line = text[: text.index(new)].count("\n") + 1
    assert any(fault.startswith(f":{line}: ") and words in fault for fault in faults(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    [
        EXAMPLE.replace("seeds = [0, 1]", f"seeds = [{', '.join(map(str, range(20_000)))}, -1]"),
        EXAMPLE + "".join(f"[x{number}]\ny = 1\n" for number in range(4_000)),
        EXAMPLE
        + "".join(
            f'[[arms]]\nname = "x{n}"\nselect = {{ kind = "matched-random", like = "x{n + 1}" }}\n'
            for n in range(1_500)
        ),
        EXAMPLE + "".join(f"[scorers.x{number}]\nkind = 'nothing'\n" for number in range(2_000)),
        EXAMPLE + "[model." + "a" * 900 + "]\n",
        EXAMPLE.replace("[analyze]", "[analyze]\ncontrol_sets = 1000000000"),
    ],
    ids=["seeds", "tables", "arms", "scorers", "long-key", "controls"],
)
def test_many_entries_take_no_more_than_linear_time(tmp_path: Path, text: str) -> None:
    assert 1 <= len(faults(tmp_path, text)) <= 100


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (f"{DEEP}=1", "no key of a recipe is that long"),
        ("a" * 5_000 + "=1", "no key of a recipe is that long"),
        (f"seeds={'[' * 50_000}", "must be a list"),
        (f"seeds={'{a=' * 300}1{'}' * 300}", "must be a list"),
        (f"root_seed={'9' * 5_000}", "must be a whole number"),
        ("name=a\0b", "U+0000"),
        ("description=\udc80", "U+DC80"),
        ("model.source=hub:\x1b[2Ja\nb", "must be `scheme:reference`"),
    ],
)
def test_an_override_is_held_to_the_same_bounds(tmp_path: Path, override: str, words: str) -> None:
    (fault,) = faults(tmp_path, EXAMPLE, override)
    assert fault.startswith("override ")
    assert words in fault
    assert fault.isprintable()
    assert fault.encode()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (EXAMPLE.replace('name = "example"\n', ""), "name"),
        (EXAMPLE[: EXAMPLE.index("[[data]]")], "data"),
        ('name = "x"\n', "model"),
        ("", "name"),
    ],
)
def test_what_is_missing_altogether_is_told_at_the_first_line(tmp_path: Path, text: str, key: str) -> None:
    assert any(fault.startswith(f":1: {key}: missing") for fault in faults(tmp_path, text))
