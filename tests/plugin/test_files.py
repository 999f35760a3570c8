from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest

from layersig.errors import UserError
from layersig.plugin.files import from_file
from layersig.plugin.identity import identity

TEXT = """
from __future__ import annotations
from dataclasses import dataclass
from layersig import Params, policy, scorer

@dataclass
class Helper:
    value: int = 3

@scorer("mine", needs={"model"})
def mine(context, steps: int = 3):
    return {"x": float(steps)}

alias = mine

@policy("every", rankings="none")
class Every:
    def select(self, context):
        return context
"""


def test_the_decorated_objects_of_a_file_are_its_components(tmp_path: Path) -> None:
    path = tmp_path / "my scorer.py"
    path.write_text(TEXT)
    mine, every = from_file(path)
    assert (mine.name, every.name) == ("mine", "every")
    assert mine.label == 'scorer "mine" (my scorer.py)'
    assert mine.create().score(SimpleNamespace(params=mine.parse({"steps": 5}))) == {"x": 5.0}
    assert identity(mine) == {
        "component": "scorer:mine",
        "version": 1,
        "source": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def test_what_a_file_imports_to_derive_from_is_not_its_own(tmp_path: Path) -> None:
    path = tmp_path / "variant.py"
    head = "from layersig import method\nfrom layersig.training.methods.lora import Lora\n"
    path.write_text(f"{head}@method('mine')\nclass Mine(Lora):\n    pass\n")
    assert [each.name for each in from_file(path)] == ["mine"]


def test_a_file_for_another_api_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "later.py"
    path.write_text(TEXT + 'LAYERSIG_API = ">=2"\n')
    with pytest.raises(UserError, match=r"works with version >=2 of the plugin API, and this layersig has 1\."):
        from_file(path)


def test_a_file_is_executed_once_for_each_content(tmp_path: Path) -> None:
    path, log = tmp_path / "counted.py", tmp_path / "log"
    text = TEXT + f"\nwith open({str(log)!r}, 'a') as log: log.write('x')\n"
    path.write_text(text)
    assert from_file(path)[0].implementation is from_file(path)[0].implementation
    assert log.read_text() == "x"
    path.write_text(text.replace('"mine"', '"yours"'))
    assert from_file(path)[0].name == "yours"
    assert log.read_text() == "xx"


def test_an_edit_changes_the_identity_only_of_code_that_is_loaded_after_it(tmp_path: Path) -> None:
    path = tmp_path / "edited.py"
    path.write_text(TEXT)
    old = from_file(path)[0]
    before = identity(old)
    path.write_text(TEXT.replace("float(steps)", "0.0"))
    assert identity(old) == before
    assert identity(from_file(path)[0]) != before
    path.unlink()
    assert identity(old) == before


def test_objects_of_a_file_can_be_pickled(tmp_path: Path) -> None:
    path = tmp_path / "classes.py"
    path.write_text(TEXT)
    every = from_file(path)[1]
    assert pickle.loads(pickle.dumps(every)) == every


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1", "declares nothing: decorate a function or class with @scorer"),
        ("x = (", "cannot be executed: SyntaxError"),
        ("import no_such_module_at_all", "cannot be executed: ModuleNotFoundError: No module named"),
        ("1 / 0", "cannot be executed: ZeroDivisionError"),
        ("raise SystemExit(0)", "cannot be executed: SystemExit"),
        (TEXT.replace('{"model"}', '{"gpu"}'), "cannot be executed: scorer 'mine': unknown needs 'gpu'"),
        ("x = '\\0\x00'", "cannot be executed: "),
    ],
)
def test_a_file_that_does_not_work_is_an_error_that_names_it(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        from_file(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


def test_a_missing_file_a_folder_and_another_suffix_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        from_file(tmp_path / "none.py")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        from_file(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT)
    with pytest.raises(UserError, match=r"must end in \.py"):
        from_file(tmp_path / "text.txt")


def test_the_error_itself_is_raised_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "broken.py"
    path.write_text("1 / 0")
    monkeypatch.setenv("LAYERSIG_RAISE_PLUGIN_ERRORS", "1")
    with pytest.raises(ZeroDivisionError):
        from_file(path)
