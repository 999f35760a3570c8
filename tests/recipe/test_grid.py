from __future__ import annotations

import itertools
import tomllib
from pathlib import Path

import pytest

from layersig.pipeline import stages
from layersig.recipe.grid import MOST
from layersig.recipe.load import load
from tests.recipe.example import line_of
from tests.recipe.swept import DATA, HEAD, ILA, SCORERS, faults, loaded


def test_an_arm_becomes_one_for_each_value_and_nothing_else_changes(tmp_path: Path) -> None:
    found = loaded(tmp_path, DATA, SCORERS, ILA, "[analyze]\ncontrols = false\n")
    by_hand = "".join(
        f'[[arms]]\nname = "ila-{value}"\nscorer = "ila"\nselect = {{ kind = "top", fraction = {value} }}\n'
        for value in (0.3, 0.05)
    )
    hand = loaded(tmp_path, DATA, SCORERS, by_hand, "[analyze]\ncontrols = false\n")
    assert found.recipe.arms == hand.recipe.arms
    known = found.components
    assert stages(found.recipe, known) == stages(hand.recipe, known)


@pytest.mark.parametrize(
    ("section", "grid", "names", "values"),
    [
        (DATA, "grid.limit = [50, 200, 1000]", ["chats-50", "chats-200", "chats-1000"], [50, 200, 1000]),
        (DATA, "grid = { heldout = [0.1, 0.25] }", ["chats-0.1", "chats-0.25"], [0.1, 0.25]),
        (DATA, "[data.grid]\nmax_tokens = [64, 128]", ["chats-64", "chats-128"], [64, 128]),
    ],
)
def test_data_sets_vary(tmp_path: Path, section: str, grid: str, names: list[str], values: list[float]) -> None:
    found = loaded(tmp_path, section + grid, SCORERS)
    assert [data.name for data in found.recipe.data] == names
    (sweep,) = found.recipe.sweeps
    assert (sweep.of, list(sweep.entries), list(sweep.values)) == ("data", names, values)
    key = sweep.quantity
    assert [getattr(data, key) for data in found.recipe.data] == values


def test_arms_that_name_an_entry_with_a_grid_vary_with_it(tmp_path: Path) -> None:
    scorers = '[scorers.ila]\nkind = "ila"\ngrid.checkpoint = [0.5, 1.0]\n'
    control = (
        '[[arms]]\nname = "rand"\nselect = { kind = "matched-random", like = "ila" }\ngrid.select.draw = [0, 1]\n'
        '[[arms]]\nname = "rule"\nscorer = "ila"\nselect = { kind = "type-depth", like = "ila" }\n'
    )
    found = loaded(tmp_path, DATA, scorers, ILA, control, "[analyze]\ncontrols = false\n")
    assert sorted(found.recipe.scorers) == ["ila-0.5", "ila-1"]
    assert [found.recipe.scorers[name].checkpoints for name in ("ila-0.5", "ila-1")] == [(0.5,), (1.0,)]
    points = [f"{fraction}-{checkpoint}" for fraction, checkpoint in itertools.product(("0.3", "0.05"), ("0.5", "1"))]
    named = {arm.name: arm for arm in found.recipe.arms}
    assert sorted(named) == sorted(
        [f"ila-{point}" for point in points]
        + [f"rule-{checkpoint}-{fraction}" for fraction, checkpoint in (point.split("-") for point in points)]
        + [f"rand-{draw}-{point}" for draw in (0, 1) for point in points]
    )
    for name, arm in named.items():
        if name.startswith("ila"):
            fraction, checkpoint = name.split("-")[1:]
            assert arm.select.params["fraction"] == float(fraction)
            assert arm.scorer == f"ila-{checkpoint}"
        elif name.startswith("rule"):
            checkpoint, fraction = name.split("-")[1:]
            assert (arm.scorer, arm.select.params["like"]) == (f"ila-{checkpoint}", f"ila-{fraction}-{checkpoint}")
        else:
            draw, point = name.removeprefix("rand-").split("-", 1)
            assert (arm.select.params["draw"], arm.select.params["like"]) == (int(draw), f"ila-{point}")


def test_a_sweep_for_every_number_that_varies_and_every_combination_of_the_others(tmp_path: Path) -> None:
    found = loaded(tmp_path, DATA, SCORERS, ILA + "grid.train.rank = [8, 16, 32]\n", "[analyze]\ncontrols = false\n")
    told = {sweep.name: (sweep.quantity, sweep.entries, sweep.values) for sweep in found.recipe.sweeps}
    assert told == {
        **{
            f"ila.fraction-{rank}": ("select.fraction", (f"ila-0.05-{rank}", f"ila-0.3-{rank}"), (0.05, 0.3))
            for rank in (8, 16, 32)
        },
        **{
            f"ila.rank-{fraction}": ("train.rank", tuple(f"ila-{fraction}-{rank}" for rank in (8, 16, 32)), (8, 16, 32))
            for fraction in (0.3, 0.05)
        },
    }
    assert {arm.name: arm.train["rank"] for arm in found.recipe.arms}["ila-0.05-16"] == 16


def test_words_make_arms_but_no_curve(tmp_path: Path) -> None:
    arm = '[[arms]]\nname = "a"\nselect = { kind = "top", fraction = 0.2 }\ngrid.scorer = ["ila", "chance"]\n'
    found = loaded(tmp_path, DATA, SCORERS, arm, "[analyze]\ncontrols = false\n")
    assert [(each.name, each.scorer) for each in found.recipe.arms] == [("a-ila", "ila"), ("a-chance", "chance")]
    assert found.recipe.sweeps == ()


def test_true_and_false_are_no_numbers_of_a_curve(tmp_path: Path) -> None:
    scorers = '[scorers.norm]\nkind = "gradient-norm"\ngrid.relative = [false, true]\n'
    arm = '[[arms]]\nname = "a"\nscorer = "norm"\nselect = { kind = "top", fraction = 0.2 }\n'
    found = loaded(tmp_path, DATA, scorers, arm, "[analyze]\ncontrols = false\n")
    assert [each.name for each in found.recipe.arms] == ["a-false", "a-true"]
    assert found.recipe.sweeps == ()


def test_every_point_is_primary_and_has_its_controls(tmp_path: Path) -> None:
    found = loaded(tmp_path, DATA, SCORERS, ILA)
    assert found.recipe.analyze.primary == ("ila-0.3", "ila-0.05")
    controls = {arm.name: arm.select.params["like"] for arm in found.recipe.arms if "like" in arm.select.params}
    assert controls == {f"ila-{x}.{kind}": f"ila-{x}" for x in (0.3, 0.05) for kind in ("random", "rule")}


def test_controls_of_every_point_can_be_named_in_contrasts(tmp_path: Path) -> None:
    found = loaded(tmp_path, DATA, SCORERS, ILA, '[analyze]\ncontrasts = [["ila-0.05", "ila-0.05.random"]]\n')
    assert "ila-0.05.random" in {arm.name for arm in found.recipe.arms}


def test_controls_of_every_point_count_in_the_size(tmp_path: Path) -> None:
    overrides = (f"seeds={list(range(50))}", "analyze.control_sets=100")
    (fault,) = faults(tmp_path, DATA, SCORERS, ILA, overrides=overrides)
    # Two arms, two scorers, and for each arm the rule, a random control of every seed and 100 that stay.
    assert "analyze.control_sets: the recipe asks for 10,400 trainings and scorings" in fault


def test_a_grid_that_is_declared_primary_stands_for_its_copies(tmp_path: Path) -> None:
    other = '[[arms]]\nname = "flat"\nscorer = "chance"\nselect = { kind = "top", fraction = 0.5 }\n'
    found = loaded(tmp_path, DATA, SCORERS, other, ILA, '[analyze]\nprimary = ["flat", "ila"]\n')
    assert found.recipe.analyze.primary == ("flat", "ila-0.3", "ila-0.05")


def test_the_resolved_recipe_is_a_recipe_without_grids(tmp_path: Path) -> None:
    found = loaded(tmp_path, DATA + "grid.limit = [10, 20]", SCORERS, ILA)
    assert "grid" not in tomllib.loads(found.resolved)["arms"][0]
    again = tmp_path / "again.toml"
    again.write_text(found.resolved, encoding="utf-8")
    assert load(again).recipe == found.recipe
    assert load(again).id == found.id


def test_overrides_reach_the_grid(tmp_path: Path) -> None:
    found = loaded(tmp_path, DATA, SCORERS, ILA, overrides=("arms.0.grid.select.fraction=[0.1, 0.2, 0.4]",))
    assert [arm.name for arm in found.recipe.arms][:3] == ["ila-0.1", "ila-0.2", "ila-0.4"]
    told = faults(tmp_path, DATA, SCORERS, ILA, overrides=("arms.0.grid.select.fraction=[0.1, 2]",))
    assert told == [
        "override arms.0.grid.select.fraction=[0.1, 2]: arms.0.grid.select.fraction.1: must be at most 1; got 2"
    ]


FAULTY: dict[str, tuple[str, str, str]] = {
    "values out of range": (
        ILA.replace("0.3, 0.05", "3, 0.05, 5"),
        "grid.select.fraction",
        "arms.0.grid.select.fraction.2: must be at most 1; got 5",
    ),
    "a value out of range": (
        ILA.replace("0.05", "5"),
        "grid.select.fraction",
        "arms.0.grid.select.fraction.1: must be at most 1; got 5",
    ),
    "a wrong type": (
        ILA.replace("0.05", '"much"'),
        "grid.select.fraction",
        'arms.0.grid.select.fraction.1: must be a number; got "much" (a string)',
    ),
    "an unknown key": (
        ILA + "grid.train.rnak = [8, 16]\n",
        "grid.train.rnak",
        'arms.0.grid.train.rnak: unknown key; did you mean "rank"?',
    ),
    "no list": (
        ILA.replace("[0.3, 0.05]", "0.3"),
        "grid.select.fraction",
        "arms.0.grid.select.fraction: must be a list of values, one for each copy of the entry; got 0.3",
    ),
    "an empty list": (
        ILA.replace("[0.3, 0.05]", "[]"),
        "grid.select.fraction",
        "arms.0.grid.select.fraction: must be a list of values, one for each copy of the entry; got an empty list",
    ),
    "a value twice": (
        ILA.replace("[0.3, 0.05]", "[0.3, 0.30]"),
        "grid.select.fraction",
        "arms.0.grid.select.fraction.1: 0.3 is given twice, or gives a copy the same name as an earlier value",
    ),
    "a key twice": (
        ILA.replace('"top"', '"top", fraction = 0.5'),
        "grid.select.fraction",
        "arms.0.grid.select.fraction: `select.fraction` is given in the entry too; remove it there, or here",
    ),
    "a name": (
        ILA + 'grid.name = ["a", "b"]\n',
        "grid.name",
        "arms.0.grid.name: `name` cannot vary: the copies are named by the values of the other keys",
    ),
    "a list as a value": (
        ILA.replace("0.05", "[0.05]"),
        "grid.select.fraction",
        "arms.0.grid.select.fraction.1: must be a number, true, false or a string; got a list of 1",
    ),
    "a text that cannot name": (
        ILA.replace(
            "grid.select.fraction = [0.3, 0.05]", 'select.fraction = 0.3\ngrid.action = ["tune", "a b"]'
        ).replace('select = { kind = "top" }', 'select.kind = "top"'),
        'name = "ila"',
        "arms.0.name: must be letters, digits, `-`, `_` and inner `.`, starting with a letter or digit; "
        'got "ila-a b" (a string)',
    ),
    "a scorer that is not there": (
        ILA.replace('scorer = "ila"', 'scorer = "illa"'),
        'scorer = "illa"',
        'arms.0.scorer: there is no [scorers.illa]; did you mean "ila"? Allowed: ila, chance',
    ),
    "a name that is taken": (
        ILA + '[[arms]]\nname = "ila-0.3"\nscorer = "chance"\nselect = { kind = "top", fraction = 0.1 }\n',
        'name = "ila-0.3"',
        'arms.1.name: "ila-0.3" is taken by an earlier entry of `arms`; names are unique',
    ),
    "a table without lists": (
        ILA.replace("grid.select.fraction = [0.3, 0.05]", "grid = {}"),
        "grid = {}",
        "arms.0.grid: must be a table of keys with lists of values, such as `limit = [100, 200]`",
    ),
    "a key inside a value": (
        ILA + "grid.scorer.x = [1, 2]\n",
        "grid.scorer.x",
        "arms.0.grid.scorer.x: `scorer.x` cannot be set in the entry: one of its parts is a value, not a table",
    ),
}


@pytest.mark.parametrize("name", FAULTY)
def test_faults_stand_where_the_recipe_has_them_and_once(tmp_path: Path, name: str) -> None:
    text, marker, message = FAULTY[name]
    parts = (DATA, SCORERS, text)
    told = faults(tmp_path, *parts)
    line = line_of("\n".join((HEAD, *parts)), marker)
    assert any(each.startswith(f"study.toml:{line}: {message}") for each in told), told
    assert len({each.partition(": ")[2] for each in told}) == len(told)


def test_a_fault_behind_a_grid_keeps_its_number(tmp_path: Path) -> None:
    late = '[[arms]]\nname = "late"\nscorer = "chanc"\nselect = { kind = "top", fraction = 0.1 }\n'
    (told,) = faults(tmp_path, DATA, SCORERS, ILA, late)
    assert "arms.1.scorer: there is no [scorers.chanc]" in told
    assert told.startswith(f"study.toml:{line_of(chr(10).join((HEAD, DATA, SCORERS, ILA, late)), 'chanc' + chr(34))}:")


def test_copies_of_scorers_take_no_name_of_another(tmp_path: Path) -> None:
    scorers = '[scorers.ila]\nkind = "ila"\ngrid.checkpoint = [0.5, 1.0]\n[scorers."ila-0.5"]\nkind = "ila"\n'
    (told,) = faults(tmp_path, DATA, scorers)
    assert told.endswith('"ila-0.5" is taken by an earlier entry of `scorers`; names are unique')


def test_a_grid_too_large_is_refused_before_it_is_made(tmp_path: Path) -> None:
    many = f"grid.train.rank = {list(range(1, MOST))}\n"
    (told,) = faults(tmp_path, DATA, SCORERS, ILA + many)
    assert told.endswith(
        f"the grids expand to {2 * (MOST - 1)} entries; at most {MOST} are possible, so give fewer values"
    )


def test_arms_in_a_circle_are_told_as_before(tmp_path: Path) -> None:
    arms = "".join(
        f'[[arms]]\nname = "{name}"\nselect = {{ kind = "matched-random", like = "{like}" }}\n{grid}'
        for name, like, grid in (("a", "b", "grid.select.draw = [0, 1]\n"), ("b", "a", ""))
    )
    told = faults(tmp_path, DATA, SCORERS, arms)
    assert any("these arms refer to one another in a circle" in each for each in told)
