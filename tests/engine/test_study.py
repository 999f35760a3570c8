"""What is said when a run begins."""

from __future__ import annotations

from rich.console import Console

from layersig.engine.progress import Display
from layersig.engine.study import Options, opened
from layersig.jsonform import dumps
from layersig.recipe.load import load
from tests.study import RECIPE, write_study


def test_a_run_begins_with_what_validate_says_of_its_recipe(tmp_path, monkeypatch):
    monkeypatch.setenv("LAYERSIG_CACHE", str(tmp_path / "cache"))
    start = RECIPE.index("[[arms]]")
    twin = RECIPE[start : RECIPE.index("[[arms]]", start + 1)].replace('"ila-30"', '"twin"')
    recipe = RECIPE.replace("[evaluate]", f"{twin}[evaluate]").replace(
        'tasks = ["file:choice.yaml"]', "heldout = false"
    )
    loaded = load(write_study(tmp_path, recipe=recipe))
    with Display(Console(quiet=True)) as display, opened(loaded, Options(tmp_path / "runs"), display) as study:
        warned = study.publisher.manifest["warnings"]
    for note in ("nothing is measured on them", "arm twin is ila-30 by another name"):
        assert dumps(warned).count(note) == 1
