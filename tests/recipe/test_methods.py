"""Tuning methods in recipes: unknown ones, their parameters, and what they do not go with."""

from __future__ import annotations

import pytest

from layersig.errors import UserError
from layersig.recipe.load import load
from tests.recipe.example import EXAMPLE


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ('method = "dorra"', 'train.method: there is no method "dorra"; did you mean "dora"?'),
        ('method = "pissa"\npissa = { iterations = 0 }', "train.pissa.iterations: must be at least 1; got 0"),
        ('method = "pissa"\npissa = { turns = 2 }', "train.pissa.turns: unknown key. Allowed: iterations"),
        ('method = "pissa"\npissa = 3', "train.pissa: must be a table"),
        ('method = "eva"\neva = { rho = 0.5 }', "train.eva.rho: must be at least 1; got 0.5"),
        ('method = "eva"', 'scorers.ila.kind: "eva" may leave layers without a rank'),
        ('method = "dora"\nuntil = "rank-stable"', 'train.until: "dora" has an update'),
    ],
)
def test_a_wrong_method_is_one_clear_message(tmp_path, keys, message):
    path = tmp_path / "recipe.toml"
    path.write_text(EXAMPLE.replace("rank = 8", f"rank = 8\n{keys}"))
    with pytest.raises(UserError) as raised:
        load(path)
    assert message in str(raised.value)


@pytest.mark.parametrize("method", ["dora", "pissa", "full"])
def test_4_bit_weights_are_refused_by_the_method(tmp_path, method):
    path = tmp_path / "recipe.toml"
    path.write_text(EXAMPLE.replace("rank = 8", f'method = "{method}"'))
    with pytest.raises(UserError, match=f'train.method: "{method}" .*take "lora", or no quantization'):
        load(path, ['model.quantization="nf4"'])


def test_parameters_are_written_out_and_count_for_their_method_alone(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(EXAMPLE.replace("rank = 8", 'method = "pissa"\npissa = { iterations = 4 }'))
    loaded = load(path)
    known = loaded.components
    assert "iterations = 4" in loaded.resolved
    assert loaded.recipe.train.effective(known.get("method", "pissa"))["pissa"] == {"iterations": 4}
    assert "pissa" not in loaded.recipe.train.effective(known.get("method", "lora"))


def test_turns_by_scores_need_one_ranking_and_leave_a_fingerprint_only_where_asked_for(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(EXAMPLE)
    loaded = load(path, ['arms.0.train={resample={weights="scores"}}'])
    lora = loaded.components.get("method", "lora")
    settings = [loaded.recipe.training_of(arm) for arm in loaded.recipe.arms]
    assert settings[0].effective(lora)["resample"] == {"blocks": 2, "every": 20, "weights": "scores"}
    assert settings[0].reads_ranking
    controls = [arm for arm in loaded.recipe.arms if arm.name.startswith("ila-30.")]
    assert controls
    for arm in controls:  # they have no scores to draw by
        assert not loaded.recipe.training_of(arm).reads_ranking
        assert loaded.recipe.training_of(arm).effective(lora)["resample"] == {"blocks": 2, "every": 20}
    with pytest.raises(UserError, match=r'resample.weights: weights = "scores" needs one ranking'):
        load(path, ['arms.2.train={resample={weights="scores"}}'])


def _trainings(tmp_path, shared, *own, more=""):
    path = tmp_path / "recipe.toml"
    text = EXAMPLE.replace("rank = 8", f"rank = 8\n{shared}").replace("epochs = 2", "\n".join(own)) + more
    path.write_text(text.replace('action = "graft"', "") if "objective" in shared else text)
    return load(path)


@pytest.mark.parametrize(
    ("method", "shared", "own", "kept"),
    [
        ("pissa", "{ iterations = 4 }", "{}", {"iterations": 4}),
        (
            "adalora",
            "{ init_r = 6, target_r = 2 }",
            "{ target_r = 3, tfinal = 1 }",
            {"init_r": 6, "target_r": 3, "tfinal": 1},
        ),
    ],
)
def test_a_table_in_an_arm_changes_the_keys_that_it_has_and_leaves_the_others(tmp_path, method, shared, own, kept):
    loaded = _trainings(
        tmp_path,
        f'objective = "dpo"\ndpo = {{ beta = 0.3 }}\n{method} = {shared}',
        "dpo = { label_smoothing = 0.1 }",
        f'method = "{method}"\n{method} = {own}',
    )
    arm = next(each for each in loaded.recipe.arms if each.name == "control")
    trained = loaded.recipe.training_of(arm)
    dpo = trained.params(loaded.components.get("objective", "dpo"))
    assert (dpo.beta, dpo.label_smoothing) == (0.3, 0.1)
    assert trained.table(method).items() >= kept.items()
    again = tmp_path / "again.toml"
    again.write_text(loaded.resolved)
    assert load(again).recipe == loaded.recipe


def test_a_grid_of_a_key_in_a_table_keeps_the_others_too(tmp_path):
    grid = '[[arms]]\nname = "many"\nscorer = "ila"\nselect = { kind = "top", fraction = 0.5 }\n'
    grid += "grid.train.dpo.beta = [0.2, 0.4]\n"
    shared = 'objective = "dpo"\ndpo = { label_smoothing = 0.25 }'
    loaded = _trainings(tmp_path, shared, more=grid)
    arms = [each for each in loaded.recipe.arms if each.name.startswith("many-")]
    tables = [loaded.recipe.training_of(arm).table("dpo") for arm in arms]
    assert [(each["beta"], each["label_smoothing"]) for each in tables] == [(0.2, 0.25), (0.4, 0.25)]


def test_a_table_is_checked_with_the_keys_that_it_keeps(tmp_path):
    # Alone, an `init_r` of 6 would lie below the default of `target_r`.
    _trainings(tmp_path, "adalora = { target_r = 2 }", 'method = "adalora"', "adalora = { init_r = 6 }")
    with pytest.raises(UserError, match=r"arms.2.train.adalora: `target_r` must be below `init_r`; got 7 and 6"):
        _trainings(
            tmp_path, "adalora = { init_r = 6, target_r = 2 }", 'method = "adalora"', "adalora = { target_r = 7 }"
        )


def test_a_smoke_run_leaves_adalora_steps_to_cut_ranks_in_every_arm(tmp_path):
    path = tmp_path / "recipe.toml"
    own = 'method = "adalora"\nadalora = { tinit = 5, tfinal = 6, target_r = 3 }\nwarmup_ratio = 0.5'
    path.write_text(EXAMPLE.replace("epochs = 2", own))
    recipe = load(path, ['scorers.ila.train={method="adalora",adalora={tfinal=9}}'], smoke=True).recipe
    for each in (next(arm for arm in recipe.arms if arm.name == "control"), recipe.scorers["ila"]):
        trained = recipe.training_of(each)
        assert (trained.steps, trained.warmup_ratio) == (2, 0.0)
        assert (trained.adalora.tinit, trained.adalora.tfinal) == (0, 0)
    assert recipe.training_of(next(arm for arm in recipe.arms if arm.name == "control")).adalora.target_r == 3


@pytest.mark.parametrize(
    ("train", "arm", "key"),
    [
        ('method = "adalora"\nrank = 64', "", "train.rank"),
        ('method = "full"\nalpha = 8', "", "train.alpha"),
        ('method = "full"\ndropout = 0.1', "rank = 4", "train.dropout"),
        ('method = "lora"\npissa = { iterations = 4 }', "", "train.pissa"),
        ('objective = "sft"\ndpo = { beta = 0.3 }', "", "train.dpo"),
        ("rank = 8", 'method = "full"\nrank = 4', "arms.2.train.rank"),
        ("rank = 8", 'method = "lora"\nadalora = { target_r = 2 }', "arms.2.train.adalora"),
    ],
)
def test_a_key_beside_a_method_that_does_not_read_it_is_refused(tmp_path, train, arm, key):
    path = tmp_path / "recipe.toml"
    path.write_text(EXAMPLE.replace("rank = 8", train).replace("epochs = 2", arm))
    with pytest.raises(
        UserError, match=rf'recipe.toml:\d+: {key}: (method|objective) "\w+" does not read it; remove it'
    ):
        load(path)


@pytest.mark.parametrize(
    ("train", "arm", "overrides"),
    [
        ('method = "full"\nrank = 4', 'method = "lora"', ()),  # an arm inherits it
        ('method = "adalora"\nadalora = { target_r = 2 }', 'method = "full"', ()),  # an arm does without
        ("adalora = { target_r = 2 }", 'method = "adalora"', ()),  # an arm alone reads it
        ("adalora = { target_r = 2 }", "", ('train.method="adalora"',)),
        ("adalora = { target_r = 2 }", "", ('scorers.ila.train={method="adalora"}',)),
        ("rank = 4", 'pissa = { iterations = 4 }\n[arms.grid.train]\nmethod = ["lora", "pissa"]', ()),
        ("rank = 4", "", ('train.method="full"',)),  # a recipe is tried with another method
        ('method = "pissa"\nrank = 4\npissa = { iterations = 4 }', "rank = 6", ('arms.2.train.method="full"',)),
        ("rank = 4", 'rank = 6\n[arms.grid.train]\nmethod = ["lora", "full"]', ()),
    ],
)
def test_a_key_that_is_inherited_may_stay_unread(tmp_path, train, arm, overrides):
    path = tmp_path / "recipe.toml"
    text = EXAMPLE.replace("rank = 8", train).replace("epochs = 2", arm)
    path.write_text(text.replace('baseline = "control"', ""))
    loaded = load(path, overrides)
    again = tmp_path / "again.toml"
    again.write_text(loaded.resolved)
    assert load(again).recipe == loaded.recipe


@pytest.mark.parametrize(
    ("train", "arm", "override", "message"),
    [
        ("dpo = { beta = 0.5 }", "", "seeds=[0]", 'train.dpo: no training with this table has objective = "dpo"'),
        ("adalora = { target_r = 4 }", "", "seeds=[0]", 'train.adalora: no training with this table has method = "ada'),
        (
            "rank = 8",
            "gora = { batches = 2 }",
            "seeds=[0]",
            "arms.2.train.gora: no training with this table has method",
        ),
        ("pissa = {}", "", 'arms.2.train.method="full"', "train.pissa: no training with this table has method"),
        ("rank = 8", "", "scorers.ila.train={dpo={beta=0.5}}", "scorers.ila.train.dpo: no training with this table"),
        ("rank = 8", "", "train.simpo.beta=2.5", "override train.simpo.beta=2.5: train.simpo: no training with this"),
    ],
)
def test_a_table_of_a_method_or_an_objective_that_no_training_has_is_refused(tmp_path, train, arm, override, message):
    path = tmp_path / "recipe.toml"
    path.write_text(EXAMPLE.replace("rank = 8", train).replace("epochs = 2", arm))
    with pytest.raises(UserError) as raised:
        load(path, [override])
    assert message in str(raised.value)
    assert str(raised.value).endswith("; set it, or remove the table")


def test_an_override_of_both_is_refused(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(EXAMPLE)
    with pytest.raises(UserError, match=r'override train.rank=4: train.rank: method "full" does not read it'):
        load(path, ['train.method="full"', "train.rank=4"])


@pytest.mark.parametrize("key", ["epochs", "steps"])
def test_one_length_beside_those_of_a_search_is_refused(tmp_path, key):
    path = tmp_path / "recipe.toml"
    path.write_text(EXAMPLE.replace("steps = 10", f"{key} = 10\nsearch = {{ epochs = [1, 2] }}"))
    with pytest.raises(UserError, match=rf"train\.{key}: the trials of \[train.search\] have `epochs`"):
        load(path)
