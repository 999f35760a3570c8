from __future__ import annotations

import tomllib
from typing import Any

import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from layersig.recipe.positions import KeyPath, locate
from tests.recipe.example import EXAMPLE

TRICKY = '''\
# [not.a.table] = 1
a = 1 # b = 2
"quoted key" = "# no comment" # c
'literal.key'."x\\"y" = 3
text = """
[fake]
key = "in a string"
ends with quotes""""
raw = \'\'\'
k = \\\'\'\'
after = [ # comment ]
  "x", # [[no]]
  { p = 1, q = [ [1], [
    2,
  ] ] },

  [],
  1979-05-27 07:32:00,
  0x1F
]
empty = {}

[ table . sub ] # header
   key = true
[[list]]
[[list]]
v = { w.z = 1 }
[list.inner]
u = -1.5e3
[[list.many]]
[[list.many]]
last = 1
[after-list]\r
x = 2\r
y = 3'''

LINES: dict[KeyPath, int] = {
    ("a",): 2,
    ("quoted key",): 3,
    ("literal.key", 'x"y'): 4,
    ("text",): 5,
    ("raw",): 9,
    ("after",): 11,
    ("after", 0): 12,
    ("after", 1): 13,
    ("after", 1, "q"): 13,
    ("after", 1, "q", 0, 0): 13,
    ("after", 1, "q", 1, 0): 14,
    ("after", 2): 17,
    ("after", 3): 18,
    ("after", 4): 19,
    ("empty",): 21,
    ("table",): 23,
    ("table", "sub"): 23,
    ("table", "sub", "key"): 24,
    ("list",): 25,
    ("list", 0): 25,
    ("list", 1): 26,
    ("list", 1, "v", "w", "z"): 27,
    ("list", 1, "inner"): 28,
    ("list", 1, "inner", "u"): 29,
    ("list", 1, "many", 0): 30,
    ("list", 1, "many", 1): 31,
    ("list", 1, "many", 1, "last"): 32,
    ("after-list",): 33,
    ("after-list", "x"): 34,
    ("after-list", "y"): 35,
}


def paths(value: Any, path: KeyPath = ()) -> set[KeyPath]:
    """Every key path of parsed values, but the root."""
    inner: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {path for path in [path] if path} | {found for key, each in inner for found in paths(each, (*path, key))}


def test_lines_of_every_syntax() -> None:
    found = locate(TRICKY)
    assert {path: found[path] for path in LINES} == LINES
    assert set(found) == paths(tomllib.loads(TRICKY))


def test_every_key_of_a_recipe_has_the_line_it_stands_on() -> None:
    found = locate(EXAMPLE)
    assert set(found) == paths(tomllib.loads(EXAMPLE))
    lines = EXAMPLE.splitlines()
    for path, line in found.items():
        if isinstance(path[-1], str):
            assert path[-1] in lines[line - 1]


scalars = st.one_of(st.booleans(), st.integers(-9, 9), st.floats(allow_nan=False), st.text(max_size=8), st.datetimes())
keys = st.text(st.characters(codec="utf-8", exclude_characters="\x7f"), min_size=1, max_size=5)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(keys, values, max_size=4))
def test_no_key_of_any_document_is_missed_or_made_up(data: dict[str, Any]) -> None:
    text = tomlkit.dumps(data)
    read = tomllib.loads(text)
    found = locate(text)
    assert set(found) == paths(read)
    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())
