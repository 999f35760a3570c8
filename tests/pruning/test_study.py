"""Pruning in a whole study: what is removed, published, trained again and evaluated."""

from __future__ import annotations

import json
import warnings

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from layersig.cli.main import main
from layersig.models.block_removal import without_blocks
from layersig.models.layermap import layer_map
from layersig.pipeline import stages
from layersig.plugin.manager import installed
from layersig.recipe.resolve import with_defaults
from layersig.recipe.schema import Recipe
from layersig.scoring.context import ScoringContext
from tests.study import RECIPE, call, write_study
from tests.tiny import tiny_batch

HEAD = RECIPE.partition("[scorers.ila]")[0]
PRUNE = f"""{HEAD}
[layers]
unit = "block"

[scorers.first-k]
kind = "first-k"

[[arms]]
name = "last"
scorer = "first-k"
select = {{ kind = "lowest", count = 1 }}
action = "prune"

[[arms]]
name = "last-recovered"
scorer = "first-k"
select = {{ kind = "lowest", count = 1 }}
action = "prune"
recover = {{ steps = 2 }}

[[arms]]
name = "last-retrained"
scorer = "first-k"
select = {{ kind = "lowest", count = 1 }}
action = "prune"
recover = {{ method = "full", steps = 2, learning_rate = 0.001 }}

[analyze]
resamples = 100
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pruning")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAYERSIG_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        recipe = write_study(folder, recipe=PRUNE)
        with pytest.raises(SystemExit) as ended:
            main(["run", str(recipe), "--runs", str(folder / "runs")])
        assert not ended.value.code
        (run,) = (folder / "runs").glob("tiny/*")
        yield folder, run


def loss_of(run, arm):
    return json.loads((run / "evaluations" / arm / "chats/seed-0/results.json").read_text())["tasks"]["heldout/chats"]


def test_what_is_published_is_a_plain_checkpoint(study):
    folder, run = study
    original = AutoModelForCausalLM.from_pretrained(folder / "model").eval()
    pruned = AutoModelForCausalLM.from_pretrained(run / "models/last/chats/seed-0").eval()
    with torch.no_grad(), without_blocks(original, [2]):
        assert torch.equal(pruned(tiny_batch()).logits, original(tiny_batch()).logits)


def test_recovery_trains_all_that_is_left_and_is_evaluated_on_it(study):
    _, run = study
    pruned = AutoModelForCausalLM.from_pretrained(run / "models/last-recovered/chats/seed-0").eval()
    adapter = run / "adapters/last-recovered/chats/seed-0"
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert len(config["target_modules"]) == 2 * 7
    assert config["base_model_name_or_path"].endswith("model without model.layers.2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT reads a deprecated property of transformers
        adapted = PeftModel.from_pretrained(pruned, adapter)
    assert adapted(tiny_batch()).logits.isfinite().all()
    assert loss_of(run, "last-recovered")["loss"] < loss_of(run, "last")["loss"]
    read = {stage["id"]: stage["inputs"] for stage in json.loads((run / "manifest.json").read_text())["stages"]}
    trained = read["recover/last-recovered/chats/seed-0"]
    assert trained["model"] == "prune/last-recovered/chats/seed-0/model"
    assert (trained["base"], trained["data"]) == ("source/model", "data/chats")
    parents = "| prune/last-recovered/chats/seed-0 | data/chats | the data set |"
    assert f"| recover/last-recovered/chats/seed-0 {parents}" in (run / "report.md").read_text()


def test_recovery_by_full_fine_tuning_leaves_one_plain_checkpoint(study):
    _, run = study
    pruned = AutoModelForCausalLM.from_pretrained(run / "models/last/chats/seed-0").state_dict()
    retrained = AutoModelForCausalLM.from_pretrained(run / "models/last-retrained/chats/seed-0")
    moved = {name for name, value in retrained.state_dict().items() if not torch.equal(value, pruned[name])}
    assert moved == {f"{name}.weight" for name in layer_map(retrained).names}
    assert not (run / "adapters/last-retrained").exists()
    assert loss_of(run, "last-retrained")["loss"] < loss_of(run, "last")["loss"]


def test_two_arms_with_one_selection_share_one_surgery(study):
    _, run = study
    found = {stage["id"]: stage for stage in json.loads((run / "manifest.json").read_text())["stages"]}
    assert not found["prune/last/chats/seed-0"]["cached"]
    assert found["prune/last-recovered/chats/seed-0"]["cached"]


def test_controls_prune_as_many_blocks_from_the_same_end(study):
    _, run = study
    rows = [json.loads(line) for line in (run / "selections.jsonl").read_text().splitlines()]
    blocks = {row["arm"]: {name.split(".")[2] for name in row["layers"]} for row in rows}
    assert blocks["last"] == blocks["last.rule"] == {"2"}
    assert len(blocks["last.random"]) == 1
    assert (run / "models/last.random/chats/seed-0/model.safetensors").is_file()


def export(capsys, run, arm, dest, *more):
    return call(capsys, "export", run, arm, dest, *more)


@pytest.mark.parametrize("arm", ["all-layers", "last-recovered"])
def test_an_export_has_its_adapter_merged(study, capsys, tmp_path, arm):
    folder, run = study
    assert export(capsys, run, arm, tmp_path / "plain")[0] == 0
    base = folder / "model" if arm == "all-layers" else run / "models/last-recovered/chats/seed-0"
    adapted = AutoModelForCausalLM.from_pretrained(base)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT reads a deprecated property of transformers
        adapted = PeftModel.from_pretrained(adapted, run / f"adapters/{arm}/chats/seed-0").eval()
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "plain").eval()
    with torch.no_grad():
        torch.testing.assert_close(plain(tiny_batch()).logits, adapted(tiny_batch()).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("arm", ["last", "last-retrained"])
def test_an_exported_pruned_model_is_a_copy(study, capsys, tmp_path, arm):
    _, run = study
    code, out, _ = export(capsys, run, arm, tmp_path / "plain", "--json")
    assert (code, json.loads(out)["merged"]) == (0, False)
    for path in (run / f"models/{arm}/chats/seed-0").iterdir():
        assert (tmp_path / "plain" / path.name).read_bytes() == path.read_bytes()
        assert not (tmp_path / "plain" / path.name).samefile(path)


@pytest.mark.parametrize(
    ("arm", "more", "told"),
    [
        ("lost", (), "has no model or adapter of an arm 'lost'; its arms are: all-layers, last,"),
        ("last", ("--seed", 3), "last has no training that fits; choose one of: --data chats --seed 0"),
    ],
)
def test_an_export_of_what_is_not_there_is_refused(study, capsys, tmp_path, arm, more, told):
    code, _, err = export(capsys, study[1], arm, tmp_path / "plain", *more)
    assert code == 2
    assert told in err
    assert not (tmp_path / "plain").exists()


def test_an_export_never_writes_over_anything(study, capsys, tmp_path):
    (tmp_path / "plain").mkdir()
    code, _, err = export(capsys, study[1], "last", tmp_path / "plain")
    assert code == 2
    assert "plain exists already; name a new folder" in err
    assert not list((tmp_path / "plain").iterdir())


CHOSEN = f"""{HEAD}
[layers]
unit = "block"

[scorers.greedy]
kind = "greedy"
remove = 1
tasks = [{{ source = "file:choice.yaml", limit = 4 }}]

[scorers.ablation]
kind = "ablation"
tasks = ["file:choice.yaml"]
leak = true

[[arms]]
name = "greedy"
scorer = "greedy"
select = {{ kind = "lowest", count = 1 }}
action = "prune"

[[arms]]
name = "worst"
scorer = "ablation"
select = {{ kind = "lowest", count = 1 }}
action = "prune"

[evaluate]
tasks = [{{ source = "file:choice.yaml", limit = 5 }}]

[analyze]
controls = false
"""


def shown_items(run):
    (file,) = (run / "evaluations/base").glob("items.jsonl")
    return {row["item"] for line in file.read_text().splitlines() if (row := json.loads(line))["task"] == "choice"}


@pytest.mark.slow
def test_layers_are_never_chosen_on_items_that_are_evaluated(tmp_path, monkeypatch):
    seen = []
    own = ScoringContext.evaluate

    def watched(self, keep=None):
        seen.append((self.params.leak, {item for task in self.tasks for p in task.parts for item in task.items(p)}))
        return own(self, keep)

    monkeypatch.setattr(ScoringContext, "evaluate", watched)
    monkeypatch.setenv("LAYERSIG_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["run", str(write_study(tmp_path, recipe=CHOSEN)), "--runs", str(tmp_path / "runs")])
    assert not ended.value.code
    (run,) = (tmp_path / "runs").glob("tiny/*")
    evaluated = shown_items(run)
    assert len(evaluated) == 5
    apart = [items for leak, items in seen if not leak]
    assert len(apart) == 1 + 2
    assert all(len(items) == 4 and not items & evaluated for items in apart)
    assert all(items == evaluated for leak, items in seen if leak)
    findings = json.loads((run / "analysis.json").read_text())
    assert [note for note in findings["notes"] if note.startswith("Leak: scorer ablation") and "worst" in note]
    (row,) = [row for row in findings["rigor"] if row["item"] == "selection apart from evaluation"]
    assert (row["status"], row["evidence"]) == ("not met", "Computed on what arms are evaluated on: ablation.")
    assert "too good to be compared" in (run / "report.md").read_text()


def test_where_all_items_are_evaluated_none_is_left_to_choose_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LAYERSIG_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, recipe=CHOSEN.replace(", limit = 5", ""))
    code, _, err = call(capsys, "run", "recipe.toml")
    assert code == 2
    assert "task choice: every item is evaluated, so none is left to choose layers on" in err


def recipe_of(*arms, **changes):
    values = {
        "name": "x",
        "model": {"source": "path:m"},
        "layers": {"unit": "block"},
        "data": [{"name": "a", "source": "file:a.jsonl"}],
        "scorers": {"first-k": {"kind": "first-k"}},
        "arms": [
            {"name": "p", "scorer": "first-k", "select": {"kind": "lowest", "count": 1}, "action": "prune", **arm}
            for arm in arms
        ],
        **changes,
    }
    return with_defaults(Recipe.model_validate_json(json.dumps(values)), installed())


def test_where_nothing_is_trained_there_is_no_reference_training():
    bare = recipe_of({})
    assert bare.analyze.baseline == "base"
    assert {stage.kind for stage in stages(bare, installed()).stages} == {"layers", "data", "select", "prune"} | {
        "score",
        "evaluate",
    }
    asked = stages(recipe_of({}, analyze={"baseline": "all-layers"}), installed())
    assert any(stage.kind == "reference" for stage in asked.stages)
    assert any(stage.kind == "reference" for stage in stages(recipe_of({"recover": {}}), installed()).stages)


def test_a_recovery_has_its_own_training_keys():
    recipe = recipe_of({"recover": {"steps": 7}}, train={"epochs": 2.0, "rank": 4})
    graph = stages(recipe, installed())
    train = graph["recover/p/a/seed-0"].params["train"]
    assert (train["steps"], train["epochs"], train["rank"]) == (7, None, 4)
    assert graph["evaluate/p/a/seed-0"].inputs["adapter"].node == "recover/p/a/seed-0"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('unit = "block"', 'unit = "module"', 'does not score blocks, which are what `prune` removes'),
        ('unit = "block"', 'unit = "block"\nhead = true', "the head is no block and cannot be pruned"),
        ("recover = { steps = 2 }", "train = { steps = 2 }", "a pruned arm is trained by `recover`"),
        ("recover = { steps = 2 }", "recover = { stepz = 2 }", "stepz"),
        ("recover = { steps = 2 }", "recover = { milestones = [0.5] }", "milestones belong to the reference training"),
        ('action = "prune"\nrecover', "recover", "only an arm with `action = \"prune\"` can recover"),
        ("count = 1 }", "count = 1, fraction = 0.5 }", "give `fraction` or `count`"),
        (", count = 1 }", " }", "give `fraction` or `count`"),
    ],
)  # fmt: skip
def test_mistakes_are_told(tmp_path, capsys, old, new, told):
    (tmp_path / "recipe.toml").write_text(PRUNE.replace(old, new))
    code, out, err = call(capsys, "validate", tmp_path / "recipe.toml")
    assert code == 2
    assert told in out + err


def test_choosing_on_tasks_that_run_code_takes_leave(tmp_path, capsys):
    (tmp_path / "recipe.toml").write_text(CHOSEN.replace("file:choice.yaml", "humaneval_plus", 1))
    code, out, err = call(capsys, "validate", tmp_path / "recipe.toml")
    assert code == 2
    assert 'scorers.greedy.tasks.0: task "humaneval_plus" runs programs that the model writes' in out + err
