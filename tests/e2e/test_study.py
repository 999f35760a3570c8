"""A whole study: what its run folder holds, and what runs again when something changes."""

from __future__ import annotations

import datetime as dt
import json
import re

import pytest
from safetensors.torch import load_file

from layersig.layers import LayerMap
from layersig.records import Outcome
from layersig.training import loop
from tests.e2e.world import Run, Told, World, calls

TUNED = ("ila-30", "matched-random", "ila-30.rule")
SELECTED = (*TUNED[:2], "graft-30", TUNED[2])
ARMS = ("all-layers", *SELECTED)
FILES = {
    "recipe.toml",
    "resolved.toml",
    "manifest.json",
    "layers.json",
    "data/chats.json",
    "metrics.jsonl",
    "scores.jsonl",
    "selections.jsonl",
    "trajectories/ila/chats/seed-0.jsonl",
    "evaluations/base/results.json",
    "evaluations/base/items.jsonl",
    "overlap/chats.json",
    "analysis.json",
    "report.html",
    "report.md",
    ".lock",
    *(f"repeat/{name}" for name in ("recipe.toml", "requirements.txt", "chats.jsonl", "choice.yaml", "choice.jsonl")),
    *(f"evaluations/{arm}/chats/seed-0/{name}" for arm in ARMS for name in ("results.json", "items.jsonl")),
    *(
        f"adapters/{arm}/chats/seed-0/{name}"
        for arm in ARMS
        for name in ("adapter_config.json", "adapter_model.safetensors", "README.md")
    ),
    *(f"trainings/{arm}/chats/seed-0.json" for arm in ("all-layers", *TUNED)),
}
HEX = re.compile(r"[0-9a-f]{64}")


def test_json_goes_to_stdout_and_everything_else_to_stderr(told: Told, first: Run) -> None:
    assert told.code == 0
    assert told.json == {"run": f"runs/tiny/{first.path.name}", "status": "complete"}
    assert len(told.out.splitlines()) == 1
    assert "tune/ila-30/chats/seed-0" in told.err
    assert "error" not in told.err.lower()
    assert "\x1b" not in told.out + told.err


def test_the_run_folder_holds_what_it_promises_and_nothing_else(told: Told, first: Run) -> None:
    assert first.path.name == first.manifest["id"]
    beyond = first.files() - FILES
    assert first.files() >= FILES
    assert all(re.fullmatch(r"figures/[\w-]+\.svg|\w+\.csv", name) for name in beyond), beyond
    assert (first.path / "recipe.toml").read_text() == (told.base / "recipe.toml").read_text()
    assert not [path for path in first.path.rglob("*") if path.suffix in {".pkl", ".pt", ".bin"}]


def test_the_resolved_recipe_is_a_recipe_with_the_same_id(world: World, first: Run) -> None:
    # A resolved recipe stands beside what it names only when it is brought there.
    copy = world.base / "resolved.toml"
    copy.write_text((first.path / "resolved.toml").read_text())
    plan = world.call("plan", copy, "--json")
    assert [stage["id"] for stage in plan.json["stages"]] == list(first.stages)
    again = World(world.base, copy).run().run
    assert (again.path.name, again.ran) == (first.path.name, set())


def test_the_manifest_tells_how_the_run_was_made(first: Run) -> None:
    manifest = first.manifest
    assert manifest.keys() == {
        *("schema", "name", "id", "status", "started", "finished", "argv", "smoke", "versions", "packages"),
        *("machine", "root_seed", "seeds", "sources", "inputs", "stages", "warnings", "files", "looks", "scorers"),
        "study",
    }
    assert (manifest["schema"], manifest["name"], manifest["status"]) == (1, "tiny", "complete")
    assert re.fullmatch(r"[0-9a-f]{12}", manifest["id"])
    assert dt.datetime.fromisoformat(manifest["started"]) <= dt.datetime.fromisoformat(manifest["finished"])
    assert (manifest["smoke"], manifest["root_seed"], manifest["seeds"]) == (False, 0, [0])
    assert manifest["versions"].keys() >= {"layersig", "python", "torch", "transformers", "peft", "lm-eval"}
    assert manifest["machine"].keys() >= {"device", "dtype", "cpu", "cores", "memory_gib", "platform"}
    assert manifest["machine"]["dtype"] == "float32"


def test_the_manifest_names_every_source_and_its_content(first: Run) -> None:
    sources = {source["name"]: source for source in first.manifest["sources"]}
    assert {name: source["role"] for name, source in sources.items()} == {
        "model": "model",
        "chats": "data",
        "file:choice.yaml": "benchmark",
    }
    for source in sources.values():
        assert HEX.fullmatch(source["digest"])
        assert source["spec"] in {"path:model", "file:chats.jsonl", "file:choice.yaml"}
        assert source["resolved"].split(":")[1].endswith(source["spec"].split(":")[1])
        assert (source["fallback"], source["revision"], source["licence"], source["notes"]) == (False, None, None, [])


def test_every_stage_is_recorded_with_what_it_cost(first: Run) -> None:
    assert set(first.stages) == {
        "layers",
        "data/chats",
        "reference/chats/seed-0",
        "score/ila/chats/seed-0/at-1",
        *(f"select/{arm}/chats/seed-0" for arm in SELECTED),
        *(f"tune/{arm}/chats/seed-0" for arm in TUNED),
        "graft/graft-30/chats/seed-0",
        "evaluate/base",
        *(f"evaluate/{arm}/chats/seed-0" for arm in ARMS),
        "overlap/chats",
    }
    for stage in first.stages.values():
        assert HEX.fullmatch(stage["fingerprint"])
        assert stage["status"] == "done"
        assert stage["seconds"] >= 0
        assert stage["warnings"] == []
        if stage["kind"] in {"reference", "score", "tune", "evaluate"}:
            assert stage["tokens"] > 0
            assert stage["peak_memory"] > 2**20
    assert first.stages["tune/ila-30/chats/seed-0"]["cell"] == {"arm": "ila-30", "data": "chats", "seed": 0}
    # graft-30 selects as ila-30 does, so its selection was there already.
    assert first.stages["select/graft-30/chats/seed-0"]["cached"]
    assert first.ran >= {"layers", "data/chats", "reference/chats/seed-0", "tune/ila-30/chats/seed-0", "evaluate/base"}


def test_scores_and_selections_speak_of_every_layer(first: Run) -> None:
    layers = LayerMap.from_json(json.loads((first.path / "layers.json").read_text()))
    (score,) = first.lines("scores.jsonl")
    assert list(score) == [
        *("cell", "fingerprint", "model", "scorer", "data", "seed", "checkpoint", "unit", "scores"),
    ]
    assert (score["cell"], score["checkpoint"], score["unit"]) == ("ila/chats/seed-0/at-1", 1.0, "module")
    assert list(score["scores"]) == list(layers.names)
    assert score["fingerprint"] == first.stages["score/ila/chats/seed-0/at-1"]["fingerprint"]
    selections = first.lines("selections.jsonl")
    assert [row["arm"] for row in selections] == list(SELECTED)
    for row in selections:
        assert list(row) == [
            *("cell", "fingerprint", "model", "arm", "data", "seed", "layers", "trained_parameters"),
        ]
        assert len(row["layers"]) == round(0.3 * len(layers))
        assert row["trained_parameters"] == sum(layers.by_name[name].parameters for name in row["layers"])
    best = sorted(score["scores"], key=lambda name: -score["scores"][name])[: len(selections[0]["layers"])]
    assert set(selections[0]["layers"]) == set(best)
    kinds = [sorted(layers.by_name[name].kind for name in row["layers"]) for row in selections]
    assert kinds[0] == kinds[1]
    assert selections[0]["layers"] == selections[2]["layers"] != selections[1]["layers"]


def test_every_training_step_is_told(first: Run) -> None:
    rows = first.lines("metrics.jsonl")
    assert all(row.keys() >= {"cell", "step", "loss", "lr", "tokens", "seconds"} for row in rows)
    steps: dict[str, list[int]] = {}
    for row in rows:
        steps.setdefault(row["cell"], []).append(row["step"])
    assert steps == {
        "all-layers/chats/seed-0": [1, 2, 3],
        "ila/chats/seed-0/at-1": [1, 2],
        **{f"{arm}/chats/seed-0": [1, 2, 3] for arm in TUNED},
    }
    trajectory = first.lines("trajectories/ila/chats/seed-0.jsonl")
    assert [row["step"] for row in trajectory] == [1, 2]
    assert trajectory[-1]["scores"] == first.lines("scores.jsonl")[0]["scores"]


def test_results_are_the_means_of_their_items(first: Run) -> None:
    for arm in ("base", *(f"{arm}/chats/seed-0" for arm in ARMS)):
        results = json.loads((first.path / "evaluations" / arm / "results.json").read_text())["tasks"]
        items = [Outcome.from_json(row) for row in first.lines(f"evaluations/{arm}/items.jsonl")]
        assert set(results) == {"heldout/chats", "choice"}
        losses = [item for item in items if item.task == "heldout/chats"]
        assert {item.metric for item in losses} == {"loss"}
        assert all(item.cluster for item in losses)
        mean = sum(item.value * item.weight for item in losses) / sum(item.weight for item in losses)
        assert results["heldout/chats"]["loss"] == pytest.approx(mean, rel=1e-12)
        assert results["heldout/chats"]["n"] == len(losses) == 6
        right = [item.value for item in items if (item.task, item.metric) == ("choice", "acc")]
        assert results["choice"]["acc"] == pytest.approx(sum(right) / 12)
        assert results["choice"]["n"] == len(right) == 12


def test_the_report_stands_alone_and_names_every_arm(first: Run) -> None:
    page = (first.path / "report.html").read_text()
    assert not re.search(r"(?:src|href)=[\"'](?!#|data:)[^\"']*//", page), "the page reaches for the network"
    text = (first.path / "report.md").read_text()
    for arm in ("base", *ARMS):
        assert arm in page
        assert arm in text
    for figure in re.findall(r"\]\((figures/[^)]+)\)", text):
        assert (first.path / figure).is_file()


def test_a_second_run_trains_nothing_and_changes_nothing(world: World, first: Run) -> None:
    before, started = first.results(), first.manifest["started"]
    with calls(loop, "Step") as steps:
        again = world.run().run
    assert again.path.name == first.path.name
    assert (again.ran, steps) == (set(), [])
    assert (again.results(), again.manifest["started"]) == (before, started)
    assert again.lines("metrics.jsonl")
    assert all("seconds" in stage for stage in again.stages.values())


def test_another_fraction_uses_reference_and_ranking_again(world: World, first: Run) -> None:
    other = world.run("arms.0.select.fraction=0.5").run
    assert other.path.name != first.path.name
    steps = ("select", "tune", "evaluate")
    assert other.ran <= {f"{step}/{arm}/chats/seed-0" for step in steps for arm in TUNED}
    # A control may happen to choose the layers of another arm, which are not trained twice.
    assert other.ran >= {f"{step}/ila-30/chats/seed-0" for step in steps} | {"select/matched-random/chats/seed-0"}
    assert other.lines("scores.jsonl") == first.lines("scores.jsonl")
    assert len(other.layers("ila-30")) == round(0.5 * 21 + 1e-9)


def test_what_changes_one_arm_leaves_the_others(world: World, first: Run) -> None:
    assert world.run("arms.1.train={ rank = 3 }").run.ran == {
        "tune/matched-random/chats/seed-0",
        "evaluate/matched-random/chats/seed-0",
    }
    renamed = world.run("arms.0.name=renamed", "arms.1.select.like=renamed", "analyze.controls=false", "name=other").run
    assert renamed.ran == {"select/matched-random/chats/seed-0"}
    assert renamed.layers("matched-random") == first.layers("matched-random")


def test_stage_one_and_all_layers_come_from_one_training(world: World) -> None:
    with calls(loop, "Step") as steps:
        run = world.run(
            "scorers.ila.checkpoint=0.5", "train.steps=4", "train.milestones=[0.3, 1.0]", "arms=[]", "evaluate.tasks=[]"
        ).run
    (reference,) = [stage for stage in run.stages.values() if stage["kind"] == "reference"]
    told = [row for row in run.lines("metrics.jsonl") if row["cell"] == "all-layers/chats/seed-0"]
    assert [row["step"] for row in told] == [1, 2, 3, 4]
    assert steps == [1, 2, 3, 4, 1, 2]
    assert reference["tokens"] == sum(row["tokens"] for row in told)
    assert set(run.stages) == {"layers", "data/chats", reference["id"], "score/ila/chats/seed-0/at-0.5"}
    entry = world.cache / "stages" / reference["fingerprint"][:2] / reference["fingerprint"] / "out"
    kept = {folder.name: load_file(folder / "adapter_model.safetensors") for folder in sorted(entry.glob("at-*"))}
    assert set(kept) == {"at-0.01", "at-0.25", "at-0.3", "at-0.5", "at-0.75", "at-1"}
    published = load_file(run.adapter("all-layers") / "adapter_model.safetensors")
    assert all(published[name].equal(value) for name, value in kept["at-1"].items())
    assert any(not kept["at-0.5"][name].equal(value) for name, value in kept["at-1"].items())


def test_stage_one_ends_at_its_last_reader_and_is_continued_by_the_next(world: World) -> None:
    words = ("train.steps=8", "arms=[]", "evaluate.tasks=[]", "scorers.ila.steps=1")
    cell = "all-layers/chats/seed-0"

    def trained(*more: str) -> tuple[Run, list[int]]:
        with calls(loop, "Step") as steps:
            run = world.run(*words, *more).run
        told = [row["step"] for row in run.lines("metrics.jsonl") if row["cell"] == cell]
        stage = run.stages["reference/chats/seed-0"]
        assert (stage["steps"], stage["planned_steps"]) == (len(told), 8)
        assert len(json.loads((run.path / "trainings" / f"{cell}.json").read_text())["steps"]) == len(told)
        return run, steps

    short, steps = trained("scorers.ila.checkpoint=0.25")
    assert steps == [1, 2, 1]  # the last one is ILA's
    assert not (short.path / "adapters").exists()
    longer, steps = trained("scorers.ila.checkpoint=[0.25, 0.5]")
    assert steps == [3, 4, 1]
    assert "score/ila/chats/seed-0/at-0.25" not in longer.ran
    whole, steps = trained("scorers.ila.checkpoint=[0.25, 1.0]")
    assert steps == [5, 6, 7, 8, 1]
    assert "score/ila/chats/seed-0/at-0.25" not in whole.ran
    assert whole.adapter("all-layers").exists()
    # What only the long training left is read from there.
    other, steps = trained("scorers.ila.checkpoint=0.75")
    assert other.stages["reference/chats/seed-0"]["continued_from"] == 6
    assert steps == [1]


def test_arms_without_all_layers_save_the_rest_of_stage_one(world: World) -> None:
    arm = '{ name = "ila-30", scorer = "ila", select = { kind = "top", fraction = 0.3 } }'
    words = (f"arms=[{arm}]", "evaluate.all_layers=false", "scorers.ila.checkpoint=0.25", "train.steps=8")
    run = world.run(*words, "scorers.ila.steps=1", "analyze.controls=false").run
    assert (run.stages["reference/chats/seed-0"]["steps"], run.stages["tune/ila-30/chats/seed-0"]["steps"]) == (2, 8)
    assert "evaluate/all-layers/chats/seed-0" not in run.stages
    report = (run.path / "report.md").read_text()
    assert "1 training ended after 2 of 8 planned steps (25 %), since nothing reads the rest" in report
    found = json.loads((run.path / "analysis.json").read_text())
    assert {row["reference"] for row in found["comparisons"] if row["role"] == "baseline"} == {"base"}


def test_seeds_added_after_a_report_are_told_with_every_later_report(world: World) -> None:
    words = ("arms=[]", "scorers.ila.checkpoint=0.25", "scorers.ila.steps=1", "train.steps=8")
    title = "Results of this study had been looked at before"
    for seeds, looks in (([0], []), ([0, 1], [[0]]), ([0], []), ([0, 1], [[0]]), ([1, 2], [[0], [0, 1]])):
        run = world.run(*words, f"seeds={seeds}").run
        assert run.manifest["looks"] == looks
        assert (title in (run.path / "report.md").read_text()) == bool(looks)
    other = world.run(*words, "seeds=[0, 1]", "train.rank=3").run
    assert other.manifest["looks"] == []


def test_a_chat_template_is_known_by_its_text_not_by_its_name(world: World, first: Run) -> None:
    template = world.base / "own.jinja"
    words = ("model.chat_template=file:own.jinja", "analyze.controls=false", "evaluate.tasks=[]", "arms=[]")
    template.write_text(
        "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    run = world.run(*words).run
    report = json.loads((run.path / "data" / "chats.json").read_text())
    assert report["template"] == "file"
    assert report["example"][0] == {"text": "user: say 7</s>assistant: ", "target": False}
    again = world.run(*words).run
    assert (again.path, again.ran) == (run.path, set())
    template.write_text(template.read_text().replace("{{ m.role }}: ", "<{{ m.role }}> "))
    other = world.run(*words).run
    assert other.path != run.path
    assert "data/chats" in other.ran
