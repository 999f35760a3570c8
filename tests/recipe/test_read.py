from __future__ import annotations

from pathlib import Path

import pytest

from layersig.errors import UserError
from layersig.recipe.read import read


def message(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = 1\nb = \n", ":2:5: not valid TOML: Invalid value; texts need quotes"),
        ("a = 1\n[b\n", ":2:3: not valid TOML: Expected ']'"),
        ("a = 1\na = 2\n", ":2:6: not valid TOML: a key or table is given twice (cannot overwrite a value)"),
        ("[a]\nx = 1\n[a]\n", ":3:3: not valid TOML: a key or table is given twice (cannot declare ('a',) twice)"),
        ("a = [1,\n2", ":2:2: not valid TOML: "),
        ('a = "open\n', ":1:10: not valid TOML: Illegal character"),
        ("a: 1\n", ":1:2: not valid TOML: Expected '='"),
        ("name: x\n", ":1:5: not valid TOML: Expected '=' after a key in a key/value pair; a recipe has lines such as"),
        ("a = " + "[" * 5000 + "]" * 5000, ":1: values are nested too deeply"),
    ],
)
def test_a_syntax_error_has_line_and_column(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "study.toml"
    path.write_text(text)
    assert message(path).startswith(f"{path}{words}")


def test_a_folder_and_a_missing_file_name_the_recipes_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text("a = 1")
    assert (
        message(tmp_path) == f"{tmp_path} is a folder; name the recipe file in it; in {tmp_path} there are: study.toml"
    )
    assert message(tmp_path / "stdy.toml").endswith(f"; in {tmp_path} there are: study.toml")
    assert message(tmp_path / "no" / "study.toml") == f"there is no recipe {tmp_path}/no/study.toml"
    assert "cannot be read: Not a directory" in message(tmp_path / "study.toml" / "x.toml")
    assert "cannot be read: embedded null byte" in message(Path("a\0b.toml"))


def test_what_is_not_text_or_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_bytes(b'a = 1\nb = "\xff\xfe"\n')
    assert message(path) == f"{path}:2: the file is not UTF-8 text (byte 0xff)"
    path.write_bytes(b"#" * (1 << 20) + b"\n")
    assert message(path) == f"{path}:2: the file is larger than 1 MiB and cannot be a recipe"


def test_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_bytes(b"\xef\xbb\xbfa = 1\r\nb = 2\r\n")
    assert read(path) == ("a = 1\nb = 2\n", {"a": 1, "b": 2})
