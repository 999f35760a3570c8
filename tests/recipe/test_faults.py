from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from layersig.errors import UserError
from layersig.recipe.load import load
from tests.recipe.example import EXAMPLE, line_of, write


class Broken(NamedTuple):
    """A change that breaks the example, the only line that then holds `marker`, and what must be said."""

    old: str
    new: str
    marker: str
    key: str
    words: str


CASES = [
    Broken("rank = 8", 'rank = "eight"', '"eight"', "train.rank", 'must be a whole number; got "eight" (a string)'),
    Broken("rank = 8", "rank = 8.5", "8.5", "train.rank", "must be a whole number; got 8.5"),
    Broken("rank = 8", "rank = true", "rank =", "train.rank", "must be a whole number; got true"),
    Broken("rank = 8", "rank = 0", "rank =", "train.rank", "must be at least 1; got 0"),
    Broken("rank = 8", "rnak = 8", "rnak", "train.rnak", 'unknown key; did you mean "rank"? Allowed: method, rank'),
    Broken("rank = 8", "learning_rate = nan", "nan", "train.learning_rate", "must be a finite number; got nan"),
    Broken("rank = 8", "weight_decay = inf", "inf", "train.weight_decay", "must be a finite number; got inf"),
    Broken("rank = 8", "epochs = 2", "[train]", "train", "give `epochs` or `steps`, not both"),
    Broken("rank = 8", 'method = "ful"', "ful", "train.method", 'there is no method "ful"; did you mean "full"?'),
    Broken("rank = 8", 'ranks = "scorse"', "scorse", "train.ranks", 'did you mean "scores"?'),
    Broken("rank = 8", 'ranks = "scores"', "ranks", "train.ranks", "reads the scores of an arm"),
    Broken("rank = 8", 'schedule = "cosin"', "cosin", "train.schedule", 'did you mean "cosine"?'),
    Broken("rank = 8", "milestones = [0.5, 1.5]", "milestones", "train.milestones.1", "must be at most 1; got 1.5"),
    Broken("[0.9, 0.99]", "[0.9, 1.0]", "betas", "train.betas.1", "must be less than 1; got 1.0"),
    Broken("[0.9, 0.99]", "[0.9]", "betas", "train.betas.1", "missing: the list has too few entries"),
    Broken("[0.9, 0.99]", "0.9", "betas", "train.betas", "must be a list; got 0.9"),
    Broken("[train]", "[trian]", "[trian]", "trian", 'unknown key; did you mean "train"?'),
    Broken('name = "example"', 'name = "../escape"', "escape", "name", "must be letters, digits"),
    Broken('name = "example"', 'name = "a/b"', "a/b", "name", "must be letters, digits"),
    Broken('name = "example"', "name = 2026-01-01", "2026", "name", "must not be a date or time"),
    Broken('name = "example"', "name = 7", "= 7", "name", "must be a string; got 7"),
    Broken('name = "example"', f'name = "{"x" * 81}"', "xxx", "name", "must have at most 80 characters"),
    Broken('name = "example"', 'name = "a\\nb\\u001b"', "u001b", "name", 'got "a\\nb\\u001b" (a string)'),
    Broken("rank = 8", '"ra\\nk" = 8', "nk", 'train."ra\\nk"', "unknown key"),
    Broken("rank = 8", "learning_rate = 1e400", "1e400", "train.learning_rate", "must be a finite number; got inf"),
    Broken("seeds = [0, 1]", "seeds = []", "seeds", "seeds", "must have at least 1 entry; got an empty list"),
    Broken("seeds = [0, 1]", "seeds = [0, -1]", "seeds", "seeds.1", "must be at least 0; got -1"),
    Broken("seeds = [0, 1]", "seeds = [3, 3]", "seeds", "seeds.1", "seed 3 is given twice"),
    Broken("seeds = [0, 1]", "seeds = [0,\n  1,\n  1.5]", "1.5", "seeds.2", "must be a whole number; got 1.5"),
    Broken("plugins = []", 'plugins = ["./none.py"]', "none.py", "plugins.0", "cannot be read: No such file"),
    Broken("plugins = []", 'plugins = ["./study.toml"]', "study.toml", "plugins.0", "must end in .py"),
    Broken('"hub:org/model"', '"hubb:org/model"', "hubb", "model.source", 'no scheme "hubb"; did you mean "hub"?'),
    Broken('"hub:org/model"', '"file:model"', "file:model", "model.source", "Allowed: hub, path, pypi"),
    Broken('"hub:org/model"', '"org/model"', "org/model", "model.source", "must be `scheme:reference`"),
    Broken('source = "hub:org/model"\n', "", "[model]", "model.source", "missing (`hub:ID[@REVISION]`"),
    Broken('"float32"', '"float16"', "float16", "model.dtype", "bfloat16"),
    Broken('"float32"', '"float32"\ndevice = "gpu"', "gpu", "model.device", "must be `auto`, `cpu`, `mps`, `cuda`"),
    Broken('unit = "module"', 'unit = "moduel"', "moduel", "layers.unit", 'did you mean "module"?'),
    Broken('"pypi:alpaca-gpt4-sample"', '"s3:x"', "s3:x", "data.0.fallback", 'there is no scheme "s3"'),
    Broken("heldout = 20", "heldout = 1.5", "1.5", "data.1.heldout", "must be a whole number, or less than 1"),
    Broken("heldout = 20", 'heldout = "some"', "some", "data.1.heldout", "must be a whole number, or a number"),
    Broken("heldout = 20", "limit = 0", "limit = 0", "data.1.limit", "must be at least 1; got 0"),
    Broken('kind = "ila"', 'kind = "illa"', "illa", "scorers.ila.kind", 'no scorer "illa"; did you mean "ila"?'),
    Broken('kind = "ila"', "kind = 3", "kind = 3", "scorers.ila.kind", "must be a string; got 3"),
    Broken('kind = "ila"\n', "", "[scorers.ila]", "scorers.ila.kind", "missing; allowed: "),
    Broken("steps = 32", "steps = 0", "steps = 0", "scorers.ila.steps", "must be at least 1; got 0"),
    Broken("steps = 32", "stesp = 32", "stesp", "scorers.ila.stesp", 'unknown key; did you mean "steps"?'),
    Broken("checkpoint = 0.5", "checkpoint = 0", "checkpoint", "scorers.ila.checkpoint", "must be greater than 0"),
    Broken("[scorers.chance]", '[scorers."a/b"]', "a/b", 'scorers."a/b"', "must be letters, digits"),
    Broken('name = "ila-30"', 'name = "base"', '"base"', "arms.0.name", '"base" is reserved'),
    Broken('name = "common"', 'name = "ILA-30"', "ILA-30", "arms.1.name", '"ILA-30" is taken'),
    Broken('name = "common"', 'name = "x/../y"', "x/../y", "arms.1.name", "must be letters, digits"),
    Broken("fraction = 0.3", "fraction = 1.2", "1.2", "arms.0.select.fraction", "must be at most 1; got 1.2"),
    Broken(", fraction = 0.3", "", '"top"', "arms.0.select.fraction", "missing (Share of the units"),
    Broken('"top"', '"tpo"', "tpo", "arms.0.select.kind", 'there is no policy "tpo"; did you mean "top"?'),
    Broken('scorer = "ila"', 'scorer = "ill"', '"ill"', "arms.0.scorer", 'no [scorers.ill]; did you mean "ila"?'),
    Broken('scorer = "ila"', 'scorer = ["ila", "chance"] #', "] #", "arms.0.scorer", "got 2 scorers"),
    Broken('["ila", "chance"]', '["ila", 4]', '", 4]', "arms.1.scorer.1", "must be a string; got 4"),
    Broken('["ila", "chance"]', '["ila", "luck"]', "luck", "arms.1.scorer.1", "there is no [scorers.luck]"),
    Broken('name = "control"', 'name = "control"\nscorer = "ila"#', "#", "arms.2.scorer", "reads no ranking; remove"),
    Broken('like = "ila-30"', 'like = "ila-3"', '"ila-3"', "arms.2.select.like", 'did you mean "ila-30"?'),
    Broken('like = "ila-30"', 'like = "base"', '"base"', "arms.2.select.like", '"base" selects no layers'),
    Broken('like = "ila-30"', 'like = "control"', "like =", "arms.2.select.like", 'circle: "control" -> "control"'),
    Broken("epochs = 2", "epcohs = 2", "epcohs", "arms.2.train.epcohs", 'unknown key; did you mean "epochs"?'),
    Broken("epochs = 2", 'rank = "x"', '"x"', "arms.2.train.rank", 'must be a whole number; got "x"'),
    Broken("epochs = 2", "epochs = 2\nsteps = 3", "[arms.train]", "arms.2.train", "give `epochs` or `steps`, not both"),
    Broken("epochs = 2", "milestones = [0.5]", "milestones", "arms.2.train.milestones", "belong to the reference"),
    Broken('"graft"', '"graft"\ntrain = { rank = 4 }', "rank = 4", "arms.1.train", "a grafted arm is not trained"),
    Broken('"graft"', '"prone"', "prone", "arms.1.action", 'must be "tune", "graft" or "prune"; got "prone"'),
    Broken('"graft"', '["graft"]\ntrain = { rank = 4 }', '["graft"]', "arms.1.action", "got a list of 1"),
    Broken('"hellaswag"', '{ shots = 5 }', "shots = 5 }", "evaluate.tasks.0.source", "missing (A task of lm-eval"),
    Broken('"hellaswag"', "5", "tasks", "evaluate.tasks.0", "must be the name of a task"),
    Broken('"hellaswag"', '"mmlu"', "tasks", "evaluate.tasks.1", 'task "mmlu" is listed twice'),
    Broken('"hellaswag"', '"pypi:mmlu"', "tasks", "evaluate.tasks.1", 'task "mmlu" has the results of "pypi:mmlu"'),
    Broken("limit = 200", "limit = -1", "-1", "evaluate.tasks.1.limit", "must be at least 1; got -1"),
    Broken('baseline = "control"', 'baseline = "contro"', '"contro"', "analyze.baseline", 'did you mean "control"?'),
    Broken('baseline = "control"', "alpha = 0.7", "alpha", "analyze.alpha", "must be less than 0.5; got 0.7"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.key}: {case.words}")
def test_a_fault_tells_file_line_key_and_remedy(tmp_path: Path, case: Broken) -> None:
    assert EXAMPLE.count(case.old) >= 1
    text = EXAMPLE.replace(case.old, case.new, 1)
    path = write(tmp_path, text)
    with pytest.raises(UserError) as caught:
        load(path)
    told = [line.strip() for line in str(caught.value).splitlines()]
    place = f"{path}:{line_of(text, case.marker)}: {case.key}: "
    (fault,) = (line for line in told if line.startswith(place))
    assert case.words in fault
    assert caught.value.exit_code == 2


def only_fault(folder: Path, text: str) -> str:
    with pytest.raises(UserError) as caught:
        load(write(folder, text))
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(f"{folder}/")


def test_one_mistake_is_one_fault(tmp_path: Path) -> None:
    for case in CASES:
        if case.key in {
            "train.rank",
            "data.1.heldout",
            "arms.1.scorer.1",
            "seeds.2",
            "train.learning_rate",
            "evaluate.tasks.0",
        }:
            only_fault(tmp_path, EXAMPLE.replace(case.old, case.new, 1))


def test_a_data_set_of_a_taken_name(tmp_path: Path) -> None:
    text = EXAMPLE.replace('name = "local"', 'name = "chats"')
    assert only_fault(tmp_path, text) == (
        'study.toml:19: data.1.name: "chats" is taken by an earlier entry of `data`; names are unique'
    )


def test_a_policy_without_its_ranking(tmp_path: Path) -> None:
    text = EXAMPLE.replace('scorer = "ila"\n', "", 1)
    assert only_fault(tmp_path, text) == (
        'study.toml:36: arms.0.scorer: missing: policy "top" reads a ranking; name one of [scorers]'
    )


def test_arms_that_follow_one_another_in_a_circle(tmp_path: Path) -> None:
    more = '[[arms]]\nname = "{0}"\nselect = {{ kind = "matched-random", like = "{1}" }}\n'
    text = EXAMPLE + more.format("a", "b") + more.format("b", "c") + more.format("c", "a") + more.format("d", "a")
    with pytest.raises(UserError) as caught:
        load(write(tmp_path, text))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/study.toml:62: ")
    assert 'arms.3.select.like: these arms refer to one another in a circle: "a" -> "b" -> "c" -> "a"' in message


def test_all_faults_are_told_at_once_sorted_by_line(tmp_path: Path) -> None:
    text = (
        EXAMPLE.replace("rank = 8", "rank = 0")
        .replace('"hub:org/model"', '"hubb:org/model"')
        .replace("fraction = 0.3", "fraction = 1.2, colour = 3")
        .replace('baseline = "control"', 'baseline = "nobody"')
        .replace('name = "example"\n', "")
    )
    path = write(tmp_path, text)
    with pytest.raises(UserError) as caught:
        load(path, ["train.alpha=-1", "nonsense", "train.alpa=3"])
    told = str(caught.value).splitlines()
    assert told[0] == f"{path}: 9 faults"
    assert [line.partition(": ")[0].strip().removeprefix(str(path)) for line in told[1:]] == [
        ":1",
        f":{line_of(text, 'hubb')}",
        f":{line_of(text, 'rank = 0')}",
        f":{line_of(text, '1.2')}",
        f":{line_of(text, '1.2')}",
        f":{line_of(text, 'nobody')}",
        "override train.alpha=-1",
        "override train.alpa=3",
        "override nonsense",
    ]
    assert told[1] == f"  {path}:1: name: missing (Name of the study, and of its folder in the folder of runs)"


def test_a_recipe_with_nothing_in_it_misses_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load(write(tmp_path, ""))
    message = str(caught.value)
    for words in ("name: missing", "model: missing", "data: missing", "there is nothing to do"):
        assert words in message


@pytest.mark.parametrize(
    "text",
    [
        'arms = "x"\ndata = 3\nscorers = []\nseeds = "no"\nevaluate = 1\nanalyze = []\nmodel = [1]\nplugins = {}',
        'arms = [1, {name = [], select = 3, scorer = {}, train = []}]\ndata = [[], {name = {}, source = 4}]',
        'arms = [{select = {kind = [], like = {}}}, {name = "a", select = {kind = "matched-random", like = 3}}]',
        'scorers = {a = 1, b = {kind = {}}, c = {}}\nevaluate = {tasks = [[], {source = []}]}\nseeds = [{}, []]',
        'plugins = [1, {}]\nmodel = {source = 5, fallback = []}\nanalyze = {baseline = 4}',
    ],
)  # fmt: skip
def test_wrong_types_everywhere_are_faults_and_never_a_crash(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError) as caught:
        load(write(tmp_path, text))
    assert "faults" in str(caught.value).splitlines()[0]


def test_a_plugin_whose_parameters_break_is_a_fault_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        """
from pydantic import model_validator
from layersig import Params as Base, scorer

@scorer("mine")
class Mine:
    class Params(Base):
        steps: int = 3

        @model_validator(mode="after")
        def check(self):
            return 1 // (self.steps - 4) and self

    def score(self, context):
        return {}
"""
    )
    text = EXAMPLE.replace("plugins = []", 'plugins = ["mine.py"]').replace('"random"', '"mine"\nsteps = 4')
    assert only_fault(tmp_path, text).startswith(
        f"study.toml:{line_of(text, '[scorers.chance]')}: scorers.chance: "
        'scorer "mine" (mine.py) failed while it checked its parameters: ZeroDivisionError'
    )
