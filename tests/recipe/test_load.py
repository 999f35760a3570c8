from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import layersig
from layersig.errors import UserError
from layersig.recipe.load import load, load_all, stored
from tests.recipe.example import EXAMPLE, line_of, write

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "recipes").rglob("*.toml"))


def test_a_recipe_is_loaded_with_every_default(tmp_path: Path) -> None:
    path = write(tmp_path)
    loaded = load(path, ["train.rank=4"])
    recipe = loaded.recipe
    assert loaded.text == EXAMPLE
    assert loaded.overrides == ("train.rank=4",)
    assert recipe.scorers["ila"].checkpoint == 0.5
    assert recipe.scorers["ila"].params["steps"] == 32
    assert recipe.scorers["ila"].params["optimizer"] == "adam"
    assert recipe.arms[0].select.params == {"fraction": 0.3, "rounding": "nearest", "of": "layers"}
    assert recipe.arms[1].scorers == ("ila", "chance")
    assert [(task.source, task.shots, task.limit) for task in recipe.evaluate.tasks] == [
        ("hellaswag", None, None),
        ("mmlu", 5, 200),
    ]
    trained = recipe.training_of(recipe.arms[2])
    assert (trained.epochs, trained.steps, trained.rank) == (2, None, 4)
    assert loaded.where("data", 1, "source") == f"{path}:{line_of(EXAMPLE, 'file:rows.jsonl')}"
    assert loaded.where("train", "rank") == "override train.rank=4"
    assert loaded.where("train", "clip") == f"{path}:{line_of(EXAMPLE, '[train]')}"


def test_a_single_file_plugin_is_named_by_kind(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        'from layersig import scorer\n@scorer("mine", needs={"model"})\ndef mine(context, *, power: float = 2.0): ...\n'
    )
    text = EXAMPLE.replace("plugins = []", 'plugins = ["./mine.py"]').replace('"random"', '"mine"\npower = 3')
    loaded = load(write(tmp_path, text))
    assert loaded.recipe.scorers["chance"].params == {"power": 3.0}
    assert loaded.plugin_files == (loaded.base_dir / "mine.py",)
    assert loaded.components.get("scorer", "mine").label == 'scorer "mine" (mine.py)'
    with pytest.raises(UserError, match=r'scorers.chance.power: must be a number; got "x"'):
        load(write(tmp_path, text.replace("power = 3", 'power = "x"')))
    (tmp_path / "mine.py").write_text("1 / 0")
    with pytest.raises(UserError) as caught:
        load(write(tmp_path, text))
    assert f"study.toml:{line_of(text, 'mine.py')}: plugins.0: plugin file" in str(caught.value)
    assert "cannot be executed: ZeroDivisionError" in str(caught.value)


def test_a_name_of_a_plugin_file_that_is_taken_names_both_origins(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text('from layersig import scorer\n@scorer("ila")\ndef ila(context):\n    ...\n')
    text = EXAMPLE.replace("plugins = []", 'plugins = ["mine.py"]')
    with pytest.raises(UserError) as caught:
        load(write(tmp_path, text))
    assert 'the scorer "ila" is offered twice, by built into layersig and mine.py' in str(caught.value)


def test_the_resolved_recipe_of_a_run_folder_needs_no_plugin_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text('from layersig import scorer\n@scorer("mine")\ndef mine(context):\n    ...\n')
    text = EXAMPLE.replace("plugins = []", 'plugins = ["mine.py"]').replace('"random"', '"mine"')
    loaded = load(write(tmp_path, text))
    (tmp_path / "run").mkdir()
    kept = write(tmp_path / "run", loaded.resolved)
    assert stored(kept) == loaded.recipe
    kept.write_text("name = 3")
    with pytest.raises(UserError, match=r"study\.toml:1: name: must be a string"):
        stored(kept)


def test_there_are_shipped_recipes() -> None:
    assert SHIPPED


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_shipped_recipe_is_valid_as_it_is_and_as_a_smoke_run(path: Path, tmp_path: Path) -> None:
    for loaded, short in zip(load_all(path), load_all(path, smoke=True), strict=True):
        for plugin in loaded.plugin_files:
            shutil.copy(plugin, tmp_path)
        assert load(write(tmp_path, loaded.resolved)).recipe == loaded.recipe
        assert short.id != loaded.id


def fresh(code: str) -> dict[str, object]:
    """What a new interpreter prints as JSON."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


HEAVY = {"torch", "transformers", "lm_eval", "scipy", "peft", "datasets", "tomlkit", "rich"}


def test_loading_a_recipe_is_quick_and_imports_nothing_heavy(tmp_path: Path) -> None:
    path = write(tmp_path)
    code = f"""
import json, sys, time
from layersig.recipe.load import load
start = time.process_time()  # of this process alone, so that a busy machine does not count
load({str(path)!r})
print(json.dumps({{"seconds": time.process_time() - start, "modules": sorted(sys.modules)}}))
"""
    found = fresh(code)
    assert HEAVY.isdisjoint(found["modules"])  # type: ignore[arg-type]
    assert float(found["seconds"]) < 0.3  # type: ignore[arg-type]


def test_importing_layersig_imports_next_to_nothing() -> None:
    found = fresh("import json, sys; import layersig; print(json.dumps({'modules': sorted(sys.modules)}))")
    modules = found["modules"]
    assert isinstance(modules, list)
    assert {name for name in modules if name.startswith("layersig")} == {"layersig"}
    assert {"pydantic", "numpy", "pluggy"}.isdisjoint(modules)


def test_every_public_name_is_there() -> None:
    for name in layersig.__all__:
        assert getattr(layersig, name) is not None
    assert set(layersig.__all__) <= set(dir(layersig))
    with pytest.raises(AttributeError, match="no attribute 'scorers'"):
        layersig.scorers  # noqa: B018
