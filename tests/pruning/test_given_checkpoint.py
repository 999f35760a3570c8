"""A checkpoint that was made elsewhere as an arm: measured on the same items, compared, or refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from layersig.cli.main import main
from layersig.pipeline import stages
from layersig.plugin.manager import installed
from layersig.recipe.load import load
from tests.pruning.test_study import PRUNE
from tests.study import RECIPE, call, write_study
from tests.tiny import save_tiny, tiny_tokenizer

pytestmark = pytest.mark.slow

HEAD, _, _ = RECIPE.partition("[scorers.ila]")
GIVEN = """
[[arms]]
name = "elsewhere"
checkpoint = "path:elsewhere"
"""
ALONE = f'{HEAD}{GIVEN}[evaluate]\ntasks = ["file:choice.yaml"]\n[analyze]\nresamples = 100\ncontrols = false\n'
BOTH = PRUNE.partition('[[arms]]\nname = "last-recovered"')[0] + GIVEN + ALONE.partition(GIVEN)[2]


def without_last_block(model: Path, target: Path) -> None:
    """Plain transformers, no layersig."""
    from transformers import AutoConfig, AutoModelForCausalLM

    whole = AutoModelForCausalLM.from_pretrained(model)
    config = AutoConfig.from_pretrained(model, num_hidden_layers=whole.config.num_hidden_layers - 1)
    pruned = AutoModelForCausalLM.from_config(config)
    pruned.load_state_dict({name: whole.state_dict()[name] for name in pruned.state_dict()})
    pruned.save_pretrained(target)
    tiny_tokenizer().save_pretrained(target)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAYERSIG_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, recipe=BOTH)
    return tmp_path


def test_it_is_measured_like_an_arm_of_the_run_and_compared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    without_last_block(folder / "model", folder / "elsewhere")
    code, _, err = call(capsys, "run", folder / "recipe.toml", "--runs", "runs")
    assert code == 0, err
    (run,) = (folder / "runs").glob("tiny/*")
    ours, theirs = (run / "evaluations" / arm / "items.jsonl" for arm in ("last/chats/seed-0", "elsewhere"))
    assert theirs.read_bytes() == ours.read_bytes()  # the same blocks were removed by layersig
    manifest = json.loads((run / "manifest.json").read_text())
    (stage,) = [each for each in manifest["stages"] if each["id"] == "evaluate/elsewhere"]
    assert stage["inputs"]["model"] == "source/checkpoint/elsewhere"
    (source,) = [each for each in manifest["sources"] if each["node"] == "source/checkpoint/elsewhere"]
    assert source["digest"]
    analysis = json.loads((run / "analysis.json").read_text())
    pairs = {(row["arm"], row["reference"], row["data"]) for row in analysis["comparisons"]}
    assert ("elsewhere", "base", None) in pairs
    losses = [row for row in analysis["comparisons"] if (row["task"], row["reference"]) == ("heldout/chats", "base")]
    compared = {row["arm"]: (row["estimate"], row["low"], row["high"]) for row in losses}
    assert compared["elsewhere"] == compared["last"]
    assert {row["arm"] for row in analysis["retention"]} >= {"elsewhere", "last"}
    assert "elsewhere" in (run / "report.md").read_text()
    # The recipe in full is a recipe.
    (run / "resolved.toml").rename(folder / "again.toml")
    assert load(folder / "again.toml").id == run.name


@pytest.mark.slow
def test_an_arm_of_its_own_needs_neither_scorer_nor_training(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "recipe.toml").write_text(ALONE)
    without_last_block(folder / "model", folder / "elsewhere")
    code, _, err = call(capsys, "run", folder / "recipe.toml", "--runs", "runs")
    assert code == 0, err
    (run,) = (folder / "runs").glob("tiny/*")
    kinds = [stage["kind"] for stage in json.loads((run / "manifest.json").read_text())["stages"]]
    assert kinds == ["layers", "data", "evaluate", "evaluate", "overlap"]
    items = run / "evaluations/elsewhere/items.jsonl"
    before = items.read_bytes()
    save_tiny(folder / "elsewhere", seed=5)  # other weights in the same place are another result
    assert call(capsys, "run", folder / "recipe.toml", "--runs", "runs")[0] == 0
    assert items.read_bytes() != before


def test_it_is_evaluated_once_whatever_the_data_and_the_seeds(folder: Path) -> None:
    (folder / "recipe.toml").write_text(BOTH.replace("seeds = [0]", "seeds = [0, 1]"))
    loaded = load(folder / "recipe.toml", ())
    graph = stages(loaded.recipe, installed())
    found = [stage for stage in graph.stages if stage.cell.arm == "elsewhere"]
    assert [stage.id for stage in found] == ["evaluate/elsewhere"]
    assert "adapter" not in found[0].inputs


def test_it_answers_once_and_is_judged_beside_the_baseline(folder: Path) -> None:
    judge = """
[judge]
endpoint = "http://localhost:1/v1"
model = "judge"
"""
    text = BOTH.replace("tasks = [", 'conversations = ["file:chats.jsonl"]\ntasks = [') + judge
    (folder / "recipe.toml").write_text(text.replace("seeds = [0]", "seeds = [0, 1]"))
    graph = stages(load(folder / "recipe.toml", ()).recipe, installed())
    ids = [stage.id for stage in graph.stages]
    assert [each for each in ids if each.startswith(("answer/elsewhere", "grade/elsewhere"))] == [
        "answer/elsewhere",
        "grade/elsewhere",
    ]
    assert graph["answer/elsewhere"].inputs["model"].node == "source/checkpoint/elsewhere"
    pairs = [each for each in ids if each.startswith("compare/elsewhere")]
    assert pairs == ["compare/elsewhere"]  # two single models are compared once
    assert {graph[each].inputs["answers"].node for each in pairs} == {"answer/elsewhere"}
    assert {graph[each].inputs["reference"].node for each in pairs} == {"answer/base"}


def broken(name: str) -> Callable[[Path], None]:
    def missing(folder: Path) -> None:
        """Nothing is there."""

    def cut(folder: Path) -> None:
        save_tiny(folder / "elsewhere")
        weights = folder / "elsewhere" / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:2000])

    def tokens(folder: Path) -> None:
        save_tiny(folder / "elsewhere")
        path = folder / "elsewhere" / "tokenizer.json"
        path.write_text(path.read_text().replace('"</s>"', '"<end>"'))
        settings = folder / "elsewhere" / "tokenizer_config.json"
        settings.write_text(settings.read_text().replace('"</s>"', '"<end>"'))

    def adapter(folder: Path) -> None:
        (folder / "elsewhere").mkdir()
        (folder / "elsewhere" / "adapter_config.json").write_text("{}")

    def weights(folder: Path) -> None:
        save_tiny(folder / "elsewhere")
        config = json.loads((folder / "elsewhere" / "config.json").read_text())
        (folder / "elsewhere" / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 7}))

    def untold(folder: Path) -> None:
        save_tiny(folder / "elsewhere")
        shutil.rmtree(folder / "elsewhere" / "tokenizer.json", ignore_errors=True)
        (folder / "elsewhere" / "tokenizer.json").unlink()
        (folder / "elsewhere" / "tokenizer_config.json").unlink()

    return {each.__name__: each for each in (missing, cut, tokens, adapter, weights, untold)}[name]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("missing", "elsewhere"),
        ("cut", "elsewhere"),
        ("tokens", "losses per token cannot be compared"),
        ("adapter", "elsewhere"),
        ("weights", "arm elsewhere: "),
        ("untold", "elsewhere"),
    ],
)
def test_one_that_cannot_be_used_is_one_message_before_anything_runs(
    how: str, words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken(how)(folder)
    with pytest.raises(SystemExit) as ended:
        main(["run", str(folder / "recipe.toml"), "--runs", "runs"])
    err = capsys.readouterr().err
    assert ended.value.code in (2, 3)
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert words in errors[0]
    assert "Traceback" not in err
    assert not list((folder / "runs").glob("**/evaluations"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('scorer = "first-k"\n', "arms.1.scorer: an arm with a `checkpoint` is evaluated as it is; remove `scorer`"),
        ('select = { kind = "top", fraction = 0.5 }\n', "arms.1.select: an arm with a `checkpoint`"),
        ('action = "prune"\n', "arms.1.action: an arm with a `checkpoint`"),
        ("recover = { steps = 3 }\n", "arms.1.recover: an arm with a `checkpoint`"),
        ("train = { steps = 3 }\n", "arms.1.train: an arm with a `checkpoint`"),
        (
            '[[arms]]\nname = "r"\nselect = { kind = "matched-random", like = "elsewhere" }\n',
            '"elsewhere" selects no layers',
        ),
        ('[[arms]]\nname = "r"\n', "arms.2.select: missing; give a policy, or the `checkpoint`"),
    ],
)
def test_keys_that_do_not_go_with_it_are_faults(
    more: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "recipe.toml").write_text(BOTH.replace(GIVEN, GIVEN + more))
    code, _, err = call(capsys, "validate", folder / "recipe.toml")
    assert code == 2
    assert message in err


def test_other_tokens_are_no_matter_without_losses(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken("tokens")(folder)
    import torch

    from layersig.errors import UserError
    from layersig.models.preflight import check_checkpoint

    assert check_checkpoint(folder / "elsewhere", folder / "model", dtype=torch.float32, heldout=False) == []
    with pytest.raises(UserError, match="other tokens"):
        check_checkpoint(folder / "elsewhere", folder / "model", dtype=torch.float32, heldout=True)
