"""Damaged recipes: every shipped one, changed by bytes, tokens, keys and values, or run with damaged overrides.

They are read as `layersig validate` reads them; one that is accepted must also give a graph of stages and be equal to
itself after it was written out in full and read back.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from layersig.errors import UserError
from layersig.pipeline import stages
from layersig.recipe.bundled import shipped
from layersig.recipe.load import load_all, stored
from tests.torture.harness import Trial

_DEPTHS = (40, 200, 2_000, 50_000)
_LENGTHS = (300, 5_000, 300_000)
_ODD = ("\0", "\\u0000", "/", "../", "\\n", "\n", "\u202e", "é", "🦙", "\ufeff", "'", '"', '"""', "%", "\\", "$(x)")
_VALUES = (
    "0",
    "-1",
    "1e999",
    "nan",
    "-inf",
    "true",
    '""',
    '" "',
    "[]",
    "{}",
    "[[]]",
    "[{}]",
    "99999999999",
    "9999999999999999999999",
    "0x" + "f" * 400,
    "1" * 5_000,
    "1979-05-27",
    "07:32:00",
    "1979-05-27T07:32:00Z",
    '"\\u0000"',
    '"a/b"',
    '"../x"',
    '"file:"',
    '"file:\\u0000"',
    '"hub:a/b@c@d"',
    '"pypi:../x"',
    '["a", 1, {}]',
    "{ kind = 1 }",
    "'''\na\n'''",
)
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])")
_TOKEN = re.compile(r'"[^"\n]*"|[A-Za-z_][\w\-]*|\d[\w.]*|[\[\]{}=,.]')
_VALUE = re.compile(r"(?m)^([\w\-.\"]+[ \t]*=[ \t]*)([^#\n]+)")
_KEY = re.compile(r"(?m)^([\w\-.\"]+)([ \t]*=)")
_STRING = re.compile(r'"[^"\n]*"')

Change = Callable[[random.Random, str], str]


def trials(count: int, folder: Path) -> Iterator[Trial]:
    """Damaged recipes, every family in turn.

    Args:
        count: How many.
        folder: Where the recipes are written; one file, again and again.
    """
    texts = {
        path.relative_to(shipped()).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(shipped().rglob("*.toml"))
    }
    names, families = list(texts), [*_CHANGES, "override"]
    for number in range(count):
        family = families[number % len(families)]
        draws = random.Random(f"recipes/{number}")
        name = draws.choice(names)
        path = folder / "study.toml"
        told = f"{number} {family} of {name}"
        if family == "override":
            yield Trial(told, _validate(path, texts[name].encode(), _overrides(draws, texts[name])), "override ")
        else:
            content = _CHANGES[family](draws, texts[name]).encode("utf-8", "surrogatepass")
            if family == "bytes":
                content = _bytes(draws, content)
            yield Trial(told, _validate(path, content, []), f"{path}:")


def _validate(path: Path, content: bytes, overrides: list[str]) -> Callable[[], object]:
    def run() -> None:
        path.write_bytes(content)
        try:
            every = load_all(path, overrides)
        except UserError as error:
            homeless = [
                line for line in _faults(str(error)) if not re.match(rf"({re.escape(str(path))}:\d+|override )", line)
            ]
            assert not homeless, f"a fault without a line: {homeless[0]}"
            raise
        for loaded in every:
            stages(loaded.recipe, loaded.components)
            resolved = path.with_name("resolved.toml")
            resolved.write_text(loaded.resolved, encoding="utf-8")
            assert stored(resolved) == loaded.recipe, "written out and read back it is another recipe"

    return run


def _faults(message: str) -> list[str]:
    """The faults of a message: one, or the lines below the one that counts them."""
    first, *others = message.split("\n  ")
    return others or [first]


def _bytes(draws: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(draws.choice((1, 1, 3, 30))):
        at = draws.randrange(len(changed))
        changed[at : at + draws.choice((0, 1, 1, 8))] = draws.randbytes(draws.choice((0, 1, 1, 4)))
    return bytes(changed) if draws.random() < 0.8 else bytes(changed[: draws.randrange(len(changed))])


def _one(pattern: re.Pattern[str], replace: Callable[[random.Random, re.Match[str]], str]) -> Change:
    def change(draws: random.Random, text: str) -> str:
        found = draws.choice(list(pattern.finditer(text)))
        return text[: found.start()] + replace(draws, found) + text[found.end() :]

    return change


def _tokens(draws: random.Random, text: str) -> str:
    for _ in range(draws.choice((1, 1, 2, 5))):
        found = list(_TOKEN.finditer(text))
        one, other = sorted(draws.sample(found, 2), key=lambda each: each.start())
        kind = draws.randrange(3)
        if kind == 0:
            text = text[: one.start()] + text[one.end() :]
        elif kind == 1:
            text = text[: one.start()] + one.group() + text[one.start() :]
        else:
            between = text[one.end() : other.start()]
            text = text[: one.start()] + other.group() + between + one.group() + text[other.end() :]
    return text


def _lines(draws: random.Random, text: str) -> str:
    lines = text.splitlines(keepends=True)
    one, other = draws.randrange(len(lines)), draws.randrange(len(lines))
    kind = draws.randrange(3)
    if kind == 0:
        del lines[one]
    elif kind == 1:
        lines.insert(other, lines[one])
    else:
        lines[one], lines[other] = lines[other], lines[one]
    return "".join(lines)


def _deep_value(draws: random.Random, match: re.Match[str]) -> str:
    depth = draws.choice(_DEPTHS)
    opening, closing = draws.choice((("[", "]"), ("{a=", "}"), ("[{a.b=", "}]"), ("[", "")))
    return f"{match.group(1)}{opening * depth}1{closing * depth}"


def _deep_key(draws: random.Random, text: str) -> str:
    key = ".".join(["a"] * draws.choice(_DEPTHS))
    lines = text.splitlines(keepends=True)
    written = draws.choice(
        (f"[{key}]\n", f"[[{key}]]\n", f"{key} = 1\n", f"arms.{key} = 1\n", f"[train.{key}]\nx = 1\n")
    )
    lines.insert(draws.randrange(len(lines)), written)
    return "".join(lines)


def _long_list(draws: random.Random, match: re.Match[str]) -> str:
    entry = draws.choice(("1", '"a"', "{}", '{ name = "a" }', "[]"))
    return f"{match.group(1)}[{', '.join([entry] * draws.choice((300, 10_000)))}]"


def _many(draws: random.Random, text: str) -> str:
    entry = draws.choice(
        (
            '[[arms]]\nname = "x{0}"\nscorer = "nobody{0}"\nselect = {{ kind = "matched-random", like = "x{1}" }}\n',
            '[[data]]\nname = "x{0}"\nsource = "nowhere{0}:x"\n',
            "[scorers.x{0}]\nkind = 'nothing{0}'\n",
            "[x{0}]\ny = 1\n",
        )
    )
    return text + "\n" + "".join(entry.format(number, number + 1) for number in range(draws.choice((100, 3_000))))


def _long_key(draws: random.Random, match: re.Match[str]) -> str:
    key = draws.choice(("a", "rank", "é")) * draws.choice(_LENGTHS)
    return (f'"{key}"' if draws.random() < 0.5 else key) + match.group(2)


def _long_string(draws: random.Random, match: re.Match[str]) -> str:
    inside = match.group()[1:-1]
    piece = draws.choice((inside or "x", "a", "a.", "\\u0041", "/", "file:", "{", "é", " "))
    return f'"{inside}{piece * (draws.choice(_LENGTHS) // len(piece))}"'


def _odd_string(draws: random.Random, match: re.Match[str]) -> str:
    inside, odd = match.group()[1:-1], draws.choice(_ODD)
    at = draws.randrange(len(inside) + 1)
    return f'"{inside[:at]}{odd}{inside[at:]}"'


def _other_string(draws: random.Random, match: re.Match[str]) -> str:
    everywhere = _STRING.findall(match.string)
    return draws.choice([*everywhere, '""', '"x"'])


_CHANGES: dict[str, Change] = {
    "bytes": lambda draws, text: text,
    "tokens": _tokens,
    "lines": _lines,
    "value": _one(_VALUE, lambda draws, match: match.group(1) + draws.choice(_VALUES)),
    "number": _one(_NUMBER, lambda draws, match: draws.choice(("0", "-3", "1.5", "1e9", "100000", "1e-320", '"1"'))),
    "string": _one(_STRING, _other_string),
    "odd string": _one(_STRING, _odd_string),
    "key": _one(
        _KEY, lambda draws, match: draws.choice(("x", '""', '"a b"', "name", "a.b", match[1] + "s")) + match[2]
    ),
    "long key": _one(_KEY, _long_key),
    "long string": _one(_STRING, _long_string),
    "long list": _one(_VALUE, _long_list),
    "many tables": _many,
    "deep value": _one(_VALUE, _deep_value),
    "deep key": _deep_key,
}


def _overrides(draws: random.Random, text: str) -> list[str]:
    tables = ("train", "model", "layers", "evaluate", "analyze", "data.0", "arms.0", "scorers.ila", "judge", "update")
    keys = [key.strip('"') for key, _ in _KEY.findall(text)]
    path = f"{draws.choice(tables)}.{draws.choice(keys)}" if draws.random() < 0.7 else draws.choice(keys)
    if draws.random() < 0.15:
        path = draws.choice(
            (".".join(["a"] * draws.choice(_DEPTHS)), "a" * 5_000, "", ".", "arms.99.name", "a\0b", "==")
        )
    value = draws.choice((*_VALUES, "[" * draws.choice(_DEPTHS), "x" * draws.choice(_LENGTHS), *_ODD, "\udc80"))
    return [f"{path}={value}" if draws.random() < 0.9 else path]
