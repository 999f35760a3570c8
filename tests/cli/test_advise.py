"""`layersig advise`: from somebody's data and model to layers, with what is known of them."""

from __future__ import annotations

import re
from pathlib import Path

import click
import peft
import pytest

from layersig.cli.advise import Share, _ranges, _surer
from layersig.cli.first_recipe import Start
from layersig.recipe.load import load
from tests.study import call, chats, write_lines
from tests.tiny import save_tiny


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAYERSIG_CACHE", str(tmp_path / "cache"))
    write_lines(tmp_path / "chats.jsonl", chats(24))
    return tmp_path


@pytest.mark.parametrize(("text", "share"), [("30%", 0.3), ("0.25", 0.25), ("100 %", 1.0), ("1", 1.0)])
def test_a_budget_is_a_share(text: str, share: float) -> None:
    assert Share().convert(text, None, None) == pytest.approx(share)


@pytest.mark.parametrize("text", ["30", "0", "150%", "many", "-1%", "nan"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"such as 30% or 0\.3"):
        Share().convert(text, None, None)


def test_blocks_are_shown_as_ranges() -> None:
    assert _ranges([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"
    assert _ranges([]) == ""


def test_a_recipe_of_the_user_is_never_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "chats.toml").write_text("mine")
    code, _, err = call(capsys, "advise", "chats.jsonl", "--model", "path:model")
    assert code == 2
    assert "chats.toml exists already, and `layersig advise` did not write it" in err
    assert (folder / "chats.toml").read_text() == "mine"


def test_data_that_is_not_there_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "advise", "nothing.jsonl")
    assert (code, "there is no file nothing.jsonl" in err) == (2, True)


def test_what_makes_an_answer_surer_repeats_nothing_that_has_run() -> None:
    start = Start(Path("my chats.jsonl"), "path:model", 0.3, 3, 6)
    again = "layersig advise 'my chats.jsonl' --model path:model --budget 30% --heldout 6"
    rows = (
        "more rows in my chats.jsonl, and a larger --heldout than 6: differences between arms are measured on held-out "
    )
    assert list(_surer(start, Path("my-chats.toml"), Path("runs"))) == [
        f"{again} --seeds 5  # runs 2 more of every training",
        f"{again} --seeds 3 --search  # the best of three learning rates for every arm",
        f"{rows}conversations",
    ]
    more, last = _surer(start._replace(search=True, seeds=5), Path("mine.toml"), Path("away"))
    assert more == f"{again} -o mine.toml --runs away --seeds 10 --search  # runs 5 more of every training"
    assert last == f"{rows}conversations"


@pytest.mark.slow
def test_advice_names_layers_what_is_known_of_them_and_what_to_do_next(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_tiny(folder / "model", "llama")
    asked = ("advise", "chats.jsonl", "--model", "path:model", "--budget", "30%", "--heldout", 6)
    code, out, err = call(capsys, *asked)
    assert code == 0, err
    assert "stages to run, " in err
    for wanted in (
        "6 of 21 layers:",
        "better than random layers of the same types",
        "the 6 layers chosen most often over 3 seeds",
        "the seeds of ila on chats",
        "How far this goes",
        "--budget 30% --heldout 6 --seeds 5",
        "selected --to names",
    ):
        assert wanted in out, wanted
    assert (load("chats.toml").recipe.seeds, load("chats.toml").recipe.arms[0].select.params["fraction"]) == (
        (0, 1, 2),
        0.3,
    )
    code, again, err = call(capsys, *asked, "--to", "peft")
    assert (code, again) == (0, out)
    assert "0 of 39 stages to run" in err
    code, searched, err = call(capsys, *asked, "--search")
    assert code == 0, err
    rate = r"0\.\d+ \(\d of 3\)"
    assert re.search(f"Learning rate that was best for them: {rate}(, {rate})*; for all layers: {rate}", searched)
    assert "is the best of trials at 3 learning rates" in searched
    assert ("The learning rate was not searched." in out, "--search  # " in out) == (True, True)
    assert ("The learning rate was not searched." in searched, "--seeds 5 --search  # " in searched) == (False, True)
    (folder / "chats-adapter_config.json").rename(folder / "adapter_config.json")
    assert len(peft.LoraConfig.from_pretrained(str(folder)).target_modules) == 6
