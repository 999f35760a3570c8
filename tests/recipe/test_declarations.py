"""What `[analyze]` declares: misspelt names are refused, names of fallbacks and controls are known."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from layersig.errors import UserError
from layersig.pipeline import declaration, without_seeds
from layersig.recipe.load import LoadedRecipe, load
from tests.recipe.example import EXAMPLE, write
from tests.study import RECIPE, write_study

PRUNED = """
[layers]
unit = "block"

[scorers.influence]
kind = "block-influence"

[[arms]]
name = "cut"
scorer = "influence"
select = { kind = "lowest", count = 1 }
action = "prune"
"""
JUDGE = '[judge]\nendpoint = "http://localhost:1/v1"\nmodel = "j"\n'


def loaded(
    tmp_path: Path, analyze: str, evaluate: str = 'tasks = ["hellaswag", "pypi:mmlu"]', more: str = ""
) -> LoadedRecipe:
    head = EXAMPLE.partition("[evaluate]")[0]
    arm = '[[arms]]\nname = "first-30"\nscorer = "ila"\nselect = { kind = "top", fraction = 0.3 }\n'
    text = f"{head}{arm}\n[evaluate]\n{evaluate}\n{more}\n[analyze]\n{analyze}\n"
    return load(write(tmp_path, text), ())


@pytest.mark.parametrize(
    "analyze",
    [
        'primary = ["ila-30"]\noutcome = "hellaswag"',
        'outcome = ["heldout", "mmlu"]',
        'contrasts = [["first-30", "ila-30"], ["ila-30", "base"]]',
        'primary = ["first-30"]\ncontrasts = [["ila-30", "first-30.random"], ["ila-30", "first-30.rule"]]',
        'primary = ["first-30"]\ncontrol_sets = 3\ncontrasts = [["ila-30", "first-30.random-3"]]',
        'sharing = ["ila"]',
    ],
)
def test_what_is_there_can_be_declared(tmp_path: Path, analyze: str) -> None:
    loaded(tmp_path, analyze)


@pytest.mark.parametrize(
    ("analyze", "words"),
    [
        ('primary = ["ila-3"]', 'analyze.primary.0: there is no arm "ila-3"; did you mean "ila-30"?'),
        ('outcome = "hellaswagg"', 'is called "hellaswagg"; did you mean "hellaswag"?'),
        (
            'outcome = ["heldout", "mmul"]',
            'analyze.outcome.1: no task or set of questions of the recipe is called "mmul"',
        ),
        ('outcome = "arc_easy"', 'no task or set of questions of the recipe is called "arc_easy"'),
        ('outcome = ["mmlu", "mmlu"]', '"mmlu" is named twice'),
        ('contrasts = [["ila-30", "frist-30"]]', 'contrasts.0.1: there is no arm "frist-30"; did you mean "first-30"?'),
        ('contrasts = [["ila-30", "ila-30"]]', '"ila-30" cannot be compared with itself'),
        ('contrasts = [["ila-30", "first-30"], ["first-30", "ila-30"]]', "are named twice"),
        ('primary = ["ila-30"]\ncontrasts = [["first-30", "first-30.random"]]', "primary arms get controls"),
        ('controls = false\ncontrasts = [["first-30", "ila-30.rule"]]', 'there is no arm "ila-30.rule"'),
        (
            'contrasts = [["ila-30", "ila-30.random"]]',
            'there will be no arm "ila-30.random": "control" is the random control of "ila-30"; name that',
        ),
        (
            'baseline = "control"\ncontrasts = [["ila-30", "control"]]',
            '"ila-30" is primary, so it is compared with "control" already',
        ),
        ("controls = false\ncontrol_sets = 19", "analyze.control_sets: no arm gets controls"),
        ("primary = []\ncontrol_sets = 19", "analyze.control_sets: no arm gets controls"),
        ('primary = ["ila-30"]\ncontrasts = [["ila-30", "all-layers"]]', "is compared with"),
        ('baseline = "ila-30"\nprimary = ["ila-30"]', "cannot be compared with itself"),
        ('contrasts = [["ila-30"]]', "analyze.contrasts.0"),
        ("outcome = []", "analyze.outcome"),
        ('sharing = ["illa"]', 'analyze.sharing.0: there is no scorer "illa"; did you mean "ila"?'),
        ('sharing = ["ila", "ila"]', 'analyze.sharing.1: "ila" is named twice'),
        ('sharing = ["chance"]', 'analyze.sharing.0: "chance" (random) ranks without the model and the data'),
    ],
)
def test_what_is_not_there_is_refused_with_its_place(tmp_path: Path, analyze: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        loaded(tmp_path, analyze)
    assert words in str(caught.value)


def test_controls_of_all_arms_can_be_named_in_contrasts(tmp_path: Path) -> None:
    loaded(tmp_path, 'controls = "all"\nprimary = ["ila-30"]\ncontrasts = [["first-30", "first-30.random"]]')


@pytest.mark.parametrize("ending", ["random", "rule", "random-2"])
@pytest.mark.parametrize("primary", ["ila-3", "base", "all-layers"])
def test_only_arms_of_the_recipe_have_controls(tmp_path: Path, primary: str, ending: str) -> None:
    analyze = f'primary = ["{primary}"]\ncontrol_sets = 2\ncontrasts = [["first-30", "{primary}.{ending}"]]'
    with pytest.raises(UserError) as caught:
        loaded(tmp_path, analyze)
    assert f'there is no arm "{primary}.{ending}"' in str(caught.value)
    assert f'did you mean "{primary}.' not in str(caught.value)


def test_tasks_with_the_same_items_must_be_tasks_of_the_recipe(tmp_path: Path) -> None:
    loaded(tmp_path, 'same_items = [["hellaswag", "arithmetic_2da"]]', 'tasks = ["hellaswag", "arithmetic"]')
    with pytest.raises(
        UserError, match=r'same_items\.0\.0: no task of the recipe is called "hellaswg"; did you mean "hel'
    ):
        loaded(tmp_path, 'same_items = [["hellaswg", "arithmetic_2da"]]', 'tasks = ["hellaswag", "arithmetic"]')


def test_tasks_with_the_same_items_have_the_same_limit(tmp_path: Path) -> None:
    same_items = 'same_items = [["arithmetic_answer", "arithmetic_written"]]'
    tasks = 'tasks = [{{ source = "arithmetic_answer", limit = 9 }}, {}]'
    loaded(tmp_path, same_items, tasks.format('{ source = "arithmetic_written", limit = 9 }'))
    with pytest.raises(UserError, match=r"same_items\.0: their limits differ \(9 and none\), so they would have"):
        loaded(tmp_path, same_items, tasks.format('"arithmetic_written"'))
    for name in ("one", "other"):
        (tmp_path / f"{name}.yaml").write_text(f"task: {name}\n")
    own = 'tasks = [{ source = "file:one.yaml", limit = 9 }, { source = "file:other.yaml", limit = 8 }]'
    with pytest.raises(UserError, match=r"their limits differ \(9 and 8\)"):
        loaded(tmp_path, 'same_items = [["one", "other"]]', own)


def test_a_primary_arm_that_is_no_name_is_a_fault_and_no_crash(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"analyze\.primary\.0"):
        loaded(tmp_path, 'primary = [["ila-30"]]')


def test_the_heldout_loss_cannot_be_the_outcome_where_it_is_off(tmp_path: Path) -> None:
    off = 'tasks = ["hellaswag", "pypi:mmlu"]\nheldout = false'
    for analyze in ("", 'outcome = "heldout"', 'primary = []\ncontrasts = [["ila-30", "base"]]'):
        with pytest.raises(UserError) as caught:
            loaded(tmp_path, analyze, off)
        assert "analyze.outcome: the outcome is heldout, which is not measured: `evaluate.heldout` is off;" in str(
            caught.value
        )
        assert str(caught.value).endswith("set analyze.outcome to one of: hellaswag, mmlu")
    loaded(tmp_path, 'outcome = "mmlu"', off)


def test_where_nothing_is_declared_the_outcome_need_not_be_measured(tmp_path: Path) -> None:
    found = loaded(tmp_path, "primary = []", 'tasks = ["hellaswag"]\nheldout = false')
    path = tmp_path / "resolved.toml"
    path.write_text(found.resolved, encoding="utf-8")
    assert load(path).recipe == found.recipe


def test_no_heldout_loss_is_measured_where_nothing_is_held_out(tmp_path: Path) -> None:
    recipe = RECIPE.replace("heldout = 6", "heldout = 0")
    path = write_study(tmp_path, recipe=recipe)
    with pytest.raises(UserError, match=r"every \[\[data\]\] has heldout = 0; set analyze.outcome to one of: choice$"):
        load(path)
    load(path, ("analyze.outcome=choice",))


RULE = """
[[arms]]
name = "my-rule"
scorer = "ila"
select = { kind = "type-depth", like = "ila-30" }
"""


def test_a_control_that_the_recipe_brings_is_the_one_to_name(tmp_path: Path) -> None:
    path = write_study(tmp_path, recipe=RECIPE + RULE)
    contrasts = 'analyze.contrasts=[["ila-30", "{}"]]'
    load(path, (contrasts.format("my-rule"),))
    with pytest.raises(
        UserError, match=r'there will be no arm "ila-30.rule": "my-rule" is the rule control of "ila-30"'
    ):
        load(path, (contrasts.format("ila-30.rule"),))
    fixed = RULE.replace("type-depth", "matched-random").replace('like = "ila-30"', 'like = "ila-30", fixed = true')
    path.write_text(RECIPE + fixed.replace('scorer = "ila"\n', ""))
    load(path, ("analyze.control_sets=3", contrasts.format("ila-30.random-3")))
    with pytest.raises(UserError, match=r'no arm "ila-30.random-4": "my-rule" is the random control of "ila-30"'):
        load(path, ("analyze.control_sets=3", contrasts.format("ila-30.random-4")))


@pytest.mark.parametrize(
    "analyze", ['primary = ["all-layers"]\nbaseline = "base"', 'contrasts = [["all-layers", "base"]]']
)
def test_all_layers_cannot_be_declared_where_it_is_not_measured(tmp_path: Path, analyze: str) -> None:
    written = f"\n[analyze]\n{analyze}\n"
    path = write_study(tmp_path, recipe=RECIPE + written)
    load(path)
    with pytest.raises(UserError, match=r'"all-layers" is not measured: evaluate.all_layers is off; name'):
        load(path, ("evaluate.all_layers=false",))
    path.write_text(RECIPE.partition("[scorers")[0] + PRUNED + written)
    with pytest.raises(UserError, match='"all-layers" is not measured: no arm is trained, and no scorer reads updates'):
        load(path)
    load(path, ('scorers.size={kind="weight-change"}',))


def test_all_layers_is_measured_where_it_is_the_baseline_of_arms_that_prune(tmp_path: Path) -> None:
    contrasts = '\n[analyze]\nbaseline = "all-layers"\ncontrasts = [["all-layers", "base"]]\n'
    load(write_study(tmp_path, recipe=RECIPE.partition("[scorers")[0] + PRUNED + contrasts))


@pytest.mark.parametrize("analyze", ['primary=["base"]', 'contrasts=[["all-layers", "base"]]'])
def test_nothing_can_be_declared_where_nothing_is_measured(tmp_path: Path, analyze: str) -> None:
    path = write_study(tmp_path, recipe=RECIPE.partition("[[arms]]")[0])
    with pytest.raises(
        UserError, match=f"analyze.{analyze.partition('=')[0]}: nothing is measured that could be compared"
    ):
        load(path, (f"analyze.{analyze}",))
    load(path, (f"analyze.{analyze}", 'evaluate.tasks=["file:choice.yaml"]'))


def test_parts_of_a_group_and_sets_of_questions_can_be_outcomes(tmp_path: Path) -> None:
    loaded(tmp_path, 'outcome = "arithmetic_2da"', 'tasks = ["arithmetic"]')
    loaded(tmp_path, 'outcome = "mt-bench"', 'conversations = ["pypi:mt-bench"]', JUDGE)


def test_a_task_of_the_users_own_is_known_by_its_definition(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("task: my_task\n", encoding="utf-8")
    loaded(tmp_path, 'outcome = "my_task"', 'tasks = ["file:mine.yaml"]')
    with pytest.raises(UserError, match='did you mean "my_task"'):
        loaded(tmp_path, 'outcome = "my_tusk"', 'tasks = ["file:mine.yaml"]')


def test_a_task_in_a_file_of_its_name_is_listed_once(tmp_path: Path) -> None:
    (tmp_path / "choice.yaml").write_text("task: choice\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"Allowed: heldout, choice$"):
        loaded(tmp_path, 'outcome = "helswag"', 'tasks = ["file:choice.yaml"]')


def test_a_recipe_that_asks_for_too_much_is_refused_at_once(tmp_path: Path) -> None:
    seeds = f"seeds = {list(range(9_000))}"
    text = EXAMPLE.replace(next(line for line in EXAMPLE.splitlines() if line.startswith("seeds")), seeds)
    with pytest.raises(UserError, match=r"seeds: the recipe asks for [\d,]+ trainings and scorings"):
        load(write(tmp_path, text), ())


@pytest.mark.parametrize(
    "analyze",
    [
        f"outcome = [{', '.join(f'{chr(34)}name-{n}{chr(34)}' for n in range(300))}]",
        f"margins = {{ {', '.join(f'name-{n} = 1' for n in range(300))} }}",
    ],
    ids=["outcomes", "margins"],
)
def test_the_library_is_searched_once_for_however_many_names(
    tmp_path: Path, analyze: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches: list[str] = []

    def walk(place: Path) -> Iterator[tuple[str, list[str], list[str]]]:
        searches.append(str(place))
        yield str(place), [], []

    monkeypatch.setattr("layersig.recipe.checks.library.os.walk", walk)
    with pytest.raises(UserError, match="300 faults"):
        loaded(tmp_path, analyze)
    assert len(searches) == 1


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        ("[2, 5]", "looks are declared at 2, 5 seeds, and `seeds` has 3"),
        ("[3]", "must have at least 2 entries"),
        ("[1, 3]", "must be at least 2"),
        ("[5, 3]", "looks are taken at growing numbers of seeds"),
        ('{ seeds = [3, 5], spending = "pocok" }', "pocock"),
    ],
)
def test_a_design_of_looks_that_cannot_be_is_refused(tmp_path: Path, looks: str, said: str) -> None:
    path = tmp_path / "study.toml"
    head = 'name = "study"\nseeds = [0, 1, 2]\n[model]\nsource = "path:model"\n'
    data = '[[data]]\nname = "chats"\nsource = "file:chats.jsonl"\n'
    path.write_text(f"{head}{data}[analyze]\nlooks = {looks}\n")
    with pytest.raises(UserError) as refused:
        load(path)
    assert said in str(refused.value)


def test_one_ranking_has_nothing_to_agree_with(tmp_path: Path) -> None:
    recipe = RECIPE.partition("[[arms]]")[0] + '[analyze]\nsharing = ["ila"]\n'
    with pytest.raises(UserError, match=r"analyze\.sharing: one scorer on one data set has nothing to agree with"):
        load(write_study(tmp_path, recipe=recipe), ())


@pytest.mark.parametrize(
    ("scorer", "more"),
    [
        ('kind = "ablation"\ntasks = ["pypi:arc_easy"]', ""),
        ('kind = "transfer"\nsource = "file:run"\nscorer = "ila"', ""),
        ('kind = "weight-change"', '[update]\nsource = "path:u"\n'),
    ],
)
def test_a_ranking_that_is_the_same_on_every_data_set_has_nothing_to_agree_with(
    tmp_path: Path, scorer: str, more: str
) -> None:
    other = '[[data]]\nname = "other"\nsource = "file:other.jsonl"\n'
    recipe = RECIPE.partition("[train]")[0] + other + f"[scorers.same]\n{scorer}\n" + more
    beside = '[scorers.norm]\nkind = "gradient-norm"\n'
    alone, both = ('[analyze]\nsharing = ["same"]\n', '[analyze]\nsharing = ["same", "norm"]\n')
    path = write_study(tmp_path, recipe=recipe + alone)
    said = r'analyze\.sharing\.0: "same": its ranking is the same on every data set; remove it'
    with pytest.raises(UserError, match=said):
        load(path)
    path.write_text(recipe + beside + both)
    with pytest.raises(UserError, match=said):
        load(path)
    path.write_text(recipe + beside + '[layers]\nunit = "block"\n' + both)
    load(path)  # scores of blocks are correlated with those of another scorer


def test_milestones_of_a_scorer_without_an_update_are_none(tmp_path: Path) -> None:
    recipe = RECIPE.partition("[scorers")[0] + '[scorers.norm]\nkind = "gradient-norm"\ncheckpoint = [0.5, 1.0]\n'
    with pytest.raises(UserError) as caught:
        load(write_study(tmp_path, recipe=recipe + '[analyze]\nsharing = ["norm"]\n'))
    assert "one scorer on one data set has nothing to agree with" in str(caught.value)
    assert "scorers.norm.checkpoint" in str(caught.value)


def declared(path: Path, *overrides: str, digests: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    found = load(path, overrides)
    return declaration(found.recipe, found.components, digests)


@pytest.mark.parametrize(
    "keys",
    [
        ("root_seed=7",),
        ("model.dtype=float64",),
        ("layers.head=true",),
        ("data.0.max_tokens=48",),
        ("data.0.where={device='phone'}", "data.0.where={device='desk'}"),
        ("train.learning_rate=0.02",),
        ("train.search.learning_rates=[0.01, 0.02]",),
        ("scorers.ila.steps=3",),
        ("scorers.fast={kind='ila', steps=3}", "scorers.fast={kind='ila', steps=5}"),
        ("evaluate={heldout=false}",),
    ],
)
def test_a_second_try_is_another_declaration(tmp_path: Path, keys: tuple[str, ...]) -> None:
    path = write_study(tmp_path)
    every = [declared(path), *(declared(path, key) for key in keys)]
    assert len({json.dumps(each, sort_keys=True) for each in every}) == len(every)
    assert {each["model"] for each in every} == {"path:model"}


@pytest.mark.parametrize(
    "key",
    [
        'name="other"',
        'description="the same"',
        'about.funding="none"',
        "model.device=cpu",
        "train.micro_batch_tokens=64",
        "train.gradient_checkpointing=true",
        "evaluate.batch_tokens=64",
        "evaluate.memorisation=true",
        "scorers.ila.train.micro_batch_tokens=64",
        "arms.0.train.gradient_checkpointing=true",
    ],
)
def test_a_name_and_the_machine_make_no_other_declaration(tmp_path: Path, key: str) -> None:
    path = write_study(tmp_path)
    assert declared(path, key) == declared(path)


def test_seeds_and_what_is_compared_make_no_other_study(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    one, other = declared(path), declared(path, "seeds=[0,1]", "analyze.alpha=0.1")
    assert one != other
    assert without_seeds(one) == without_seeds(other)
    assert without_seeds(one) != without_seeds(declared(path, "train.steps=4"))


def test_a_local_file_is_declared_by_its_content_wherever_it_lies(tmp_path: Path) -> None:
    path, found = write_study(tmp_path), []
    for place, digest in (("chats.jsonl", "a"), ("moved/chats.jsonl", "a"), ("chats.jsonl", "b")):
        override = f'data.0.source="file:{tmp_path / place}"'
        spec = load(path, (override,)).recipe.data[0].source
        found.append(declared(path, override, digests={spec: digest * 64}))
    near, moved, other = found
    assert near == moved != other


def test_a_parameter_at_its_default_that_came_later_is_not_declared(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    scorer = "scorers.g={kind='gradient-norm', batches=2}"
    silent, said, other = (
        declared(path, scorer, *more)["scorers"]["g"]
        for more in ((), ("scorers.g.reduce=norm",), ("scorers.g.reduce=sum",))
    )
    assert silent == said == {"kind": "gradient-norm", "batches": 2, "relative": False}
    assert other == silent | {"reduce": "sum"}


def test_an_empty_table_that_says_something_is_declared(tmp_path: Path) -> None:
    recipe = RECIPE.partition("[scorers")[0] + PRUNED
    said, silent = (declared(write_study(tmp_path, recipe=recipe + recover)) for recover in ("recover = {}\n", ""))
    assert said != silent


def test_a_key_at_its_default_makes_no_other_declaration(tmp_path: Path) -> None:
    tasks = 'tasks = ["hellaswag", "pypi:mmlu"]'
    silent, said, other = (
        declaration((found := loaded(tmp_path, analyze, f"{tasks}\n{evaluate}")).recipe, found.components, {})
        for analyze, evaluate in (
            ("", ""),
            ("gain_kept = 0.9\nalpha = 0.05", 'batch_tokens = "auto"\nheldout = true'),
            ("gain_kept = 0.8", ""),
        )
    )
    assert said == silent
    assert other == silent | {"analyze": silent["analyze"] | {"gain_kept": 0.8}}
