"""Recipes and arguments that are wrong; `tests/recipe` has every fault of the loader."""

from __future__ import annotations

from tests.broken.bench import Bench, Case, each, nothing, recipe, remove, write

RANDOM_ARM = 'select = { kind = "matched-random", like = "ila-30" }'
FIRST_AND_LAST = """\
scorer = ["first", "last"]
select = { kind = "intersection", fraction = 0.10 }
[scorers.first]
kind = "first-k"
[scorers.last]
kind = "last-k"
"""


ILA = """\
kind = "ila"
steps = 2
keep_every = 1
"""
TRANSFER = """\
kind = "transfer"
source = "file:{}"
scorer = "ila"
"""


def folder(bench: Bench) -> None:
    remove("recipe.toml")(bench)
    (bench.folder / "recipe.toml").mkdir()


def code_task(bench: Bench) -> None:
    write("code.yaml", "task: code\nmetric_list:\n  - metric: passes\n")(bench)
    recipe('tasks = ["file:choice.yaml"]', 'tasks = ["file:code.yaml"]')(bench)


def run(*arguments: str) -> tuple[str, ...]:
    return ("run", "recipe.toml", *arguments)


CASES = [
    Case(
        "a value of a wrong type",
        recipe("rank = 2", 'rank = "two"'),
        2,
        ("recipe.toml:15: train.rank", 'must be a whole number; got "two"'),
    ),
    Case("an unknown key", recipe("rank = 2", "rnak = 2"), 2, ("recipe.toml:15: train.rnak", 'did you mean "rank"?')),
    Case(
        "an unknown scorer",
        recipe('kind = "ila"', 'kind = "illa"'),
        2,
        ("recipe.toml:22: scorers.ila.kind", 'there is no scorer "illa"; did you mean "ila"?'),
    ),
    Case(
        "an unknown policy",
        recipe('kind = "top"', 'kind = "tpo"'),
        2,
        ("recipe.toml:29: arms.0.select.kind", 'did you mean "top"?'),
    ),
    Case(
        "a fraction of 1.2",
        recipe("fraction = 0.30", "fraction = 1.2"),
        2,
        ("recipe.toml:29: arms.0.select.fraction", "must be at most 1; got 1.2"),
    ),
    Case(
        "samples that are all equal",
        recipe('name = "chats"', 'name = "chats"\ngenerate = { samples = 2, temperature = 0 }'),
        2,
        ("recipe.toml:10: data.0.generate", "all samples of a prompt are equal"),
    ),
    Case(
        "a filter that there is not",
        recipe('name = "chats"', 'name = "chats"\ngenerate = { filters = { truncate = true } }'),
        2,
        ("recipe.toml:10: data.0.generate.filters.truncate", 'did you mean "truncated"?'),
    ),
    Case(
        "a task that runs code unasked",
        recipe('tasks = ["file:choice.yaml"]', 'tasks = [{ source = "humaneval_plus", data = "file:x.jsonl" }]'),
        2,
        ('task "humaneval_plus" runs programs that the model writes', "set `allow_code_execution = true`"),
    ),
    Case(
        "a task of one's own that runs code unasked",
        code_task,
        2,
        ('task "file:code.yaml" runs programs that the model writes',),
    ),
    Case(
        "rows that are no file",
        recipe('tasks = ["file:choice.yaml"]', 'tasks = [{ source = "gsm8k", data = "gsm8k.jsonl" }]'),
        2,
        ("evaluate.tasks.0.data",),
    ),
    Case(
        "two arms of one name",
        recipe('name = "matched-random"', 'name = "ila-30"'),
        2,
        ("recipe.toml:32: arms.1.name", '"ila-30" is taken', "names are unique"),
    ),
    Case(
        "full fine-tuning of 4-bit weights",
        nothing,
        2,
        ("train.method", '"full" trains the weights themselves', 'take "lora"'),
        run('model.quantization="nf4"', 'train.method="full"'),
    ),
    Case(
        "a search beside a rate of an arm's own",
        nothing,
        2,
        ("arms.0.train.learning_rate", "gives every arm the same trials"),
        run("train.search={learning_rates=[1e-4,1e-3]}", "arms.0.train={learning_rate=1e-5}"),
    ),
    Case(
        "a search of an arm's own",
        nothing,
        2,
        ("arms.0.train.search", "every arm has the same trials; put them into [train.search]"),
        run("arms.0.train={search={learning_rates=[1e-4,1e-3]}}"),
    ),
    Case(
        "a search of lengths beside a length",
        nothing,
        2,
        ("train.steps", "have `epochs` of their own; remove it"),
        run("train.search={epochs=[1,2]}"),
    ),
    Case(
        "a search that leaves nothing to train on",
        nothing,
        2,
        ("train.search.validation = 0.999 leaves none of",),
        run("train.search={learning_rates=[1e-4,1e-3],validation=0.999}"),
    ),
    Case(
        "a search of one trial",
        nothing,
        2,
        ("train.search", "two trials at least"),
        run("train.search={learning_rates=[1e-4]}"),
    ),
    Case(
        "ranks by scores without scores",
        nothing,
        2,
        ("arms.1.train.ranks", '"scores" needs one ranking'),
        run('arms.1.train={ranks="scores"}'),
    ),
    Case(
        "ranks by scores for all layers",
        nothing,
        2,
        ("train.ranks", "set it in the `train` of an arm"),
        run('train.ranks="scores"'),
    ),
    Case(
        "AdaLoRA without ranks to cut",
        recipe("rank = 2", 'method = "adalora"\nadalora = { target_r = 12 }'),
        2,
        ("train.adalora", "`target_r` must be below `init_r`; got 12 and 12"),
    ),
    Case(
        "AdaLoRA without steps to cut ranks in",
        recipe("rank = 2", 'method = "adalora"\nadalora = { tinit = 2, tfinal = 1 }'),
        2,
        ("train.adalora: tinit + tfinal is 3, but the training has 3 steps",),
    ),
    Case("a name that leads out", recipe('"tiny"', '"../tiny"'), 2, ("recipe.toml:1: name", 'got "../tiny"')),
    Case("an arm that leads out", recipe('"graft-30"', '"../../x"'), 2, ("recipe.toml:36: arms.2.name", "letters")),
    Case(
        "no table of data",
        recipe("[[data]]", "[[dataa]]"),
        2,
        ("data: missing", 'recipe.toml:8: dataa: unknown key; did you mean "data"?'),
    ),
    Case("a rate that is no number", recipe("= 0.01", "= nan"), 2, ("recipe.toml:19: train.learning_rate", "finite")),
    Case("no TOML", recipe("[model]", "[model"), 2, ("recipe.toml:4:7: not valid TOML", "Expected ']'")),
    Case("an empty recipe", write("recipe.toml", ""), 2, ("name: missing", "model: missing", "data: missing")),
    Case("a binary recipe", write("recipe.toml", bytes(range(256))), 2, ("recipe.toml:2: the file is not UTF-8",)),
    Case("a folder for a recipe", folder, 2, ("recipe.toml is a folder; name the recipe file in it",)),
    Case("no recipe", remove("recipe.toml"), 2, ("there is no recipe recipe.toml",)),
    Case(
        "a transfer from nowhere",
        recipe(ILA, 'kind = "transfer"\nscorer = "ila"\n'),
        2,
        ("recipe.toml:21: scorers.ila.source", 'missing: scorer "transfer" reads another run; give "file:"'),
    ),
    Case(
        "rankings of another run for a scorer that reads none",
        recipe('kind = "ila"', 'kind = "ila"\nsource = "file:runs"'),
        2,
        ("recipe.toml:23: scorers.ila.source", 'scorer "ila" reads no rankings of another run; remove it'),
    ),
    Case(
        "a transfer from a hub",
        recipe(ILA, TRANSFER.replace("file:{}", "hub:me/run")),
        2,
        ("recipe.toml:23: scorers.ila.source", 'the folder of a run or a scores.jsonl; got "hub:me/run"'),
    ),
    Case(
        "a transfer from a run that is not there",
        recipe(ILA, TRANSFER.format("runs/none")),
        2,
        ("runs/none: there is no such run; paths are relative to the recipe",),
    ),
    Case(
        "a transfer from a folder without rankings",
        recipe(ILA, TRANSFER.format("model")),
        2,
        ("model: holds no scores.jsonl; name the folder of a run that ranked layers",),
    ),
    Case(
        "a transfer of a scorer that the run has not",
        recipe(ILA, TRANSFER.format("runs/tiny").replace('scorer = "ila"', 'scorer = "owl"')),
        2,
        ("score/ila: the source has no scorer 'owl'; it has ila",),
    ),
    Case(
        "a ranking on an unknown data set",
        recipe('scorer = "ila"', 'scorer = "ila"\nranked_on = "chat"'),
        2,
        ("recipe.toml:29: arms.0.ranked_on", 'there is no [[data]] named "chat"; did you mean "chats"?'),
    ),
    Case(
        "a data set for a policy without ranking",
        recipe('name = "matched-random"', 'name = "matched-random"\nranked_on = "chats"'),
        2,
        ("recipe.toml:33: arms.1.ranked_on", 'policy "matched-random" reads no ranking; remove `ranked_on`'),
    ),
    Case(
        "two data sets for a policy of one ranking",
        recipe('scorer = "ila"', 'scorer = "ila"\nranked_on = ["chats", "chats"]'),
        2,
        ("recipe.toml:29: arms.0.ranked_on", 'policy "top" reads one ranking; got 2 data sets'),
    ),
    Case(
        "a reference training in turns",
        recipe("rank = 2", "rank = 2\nresample = { blocks = 1 }"),
        2,
        ("recipe.toml:16: train.resample", "the reference training tunes all layers in every step; set it in an arm"),
    ),
    Case(
        "AdaLoRA in turns",
        recipe('scorer = "ila"', 'scorer = "ila"\ntrain = { method = "adalora", resample = { every = 2 } }'),
        2,
        ("recipe.toml:29: arms.0.train.resample", '"adalora" weighs all layers in every step; take "lora" or "full"'),
    ),
    Case("an unknown scheme", recipe('"path:model"', '"pth:model"'), 2, ("recipe.toml:5: model.source", '"path"?')),
    Case(
        "an override of an unknown key",
        nothing,
        2,
        ("override train.rnak=3", 'did you mean "rank"?'),
        run("train.rnak=3"),
    ),
    Case(
        "an override without a value",
        nothing,
        2,
        ("no recipe 'train.rank'; ", "to override a key, write `key.sub=value`"),
        run("train.rank"),
    ),
    Case("an override beyond a list", nothing, 2, ("override arms.9.name=x", "(0 to 2)"), run("arms.9.name=x")),
    Case("an unknown dtype", nothing, 2, ("model.dtype: must be", 'got "float13"'), run("model.dtype=float13")),
    Case(
        "an unknown device", nothing, 2, ("model.device: must be `auto`, `cpu`", 'got "tpu"'), run("model.device=tpu")
    ),
    Case(
        "a GPU that is not there",
        nothing,
        2,
        ("model.device: 'cuda' is not available", "write auto or cpu"),
        run("model.device=cuda"),
    ),
    Case(
        "a tenth GPU",
        nothing,
        2,
        ("model.device: 'cuda:9' is not available", "write auto or cpu"),
        run("model.device=cuda:9"),
    ),
    Case(
        "a chat template without a file",
        nothing,
        2,
        ("model.chat_template: ", "none.jinja cannot be read: No such file"),
        run("model.chat_template=file:none.jinja"),
    ),
    Case(
        "an unknown chat template",
        nothing,
        2,
        ('model.chat_template: must be "auto", "plain" or "file:X.jinja"; got "chatlm"',),
        run("model.chat_template=chatlm"),
    ),
    Case(
        "a pattern that matches no layer",
        recipe(RANDOM_ARM, 'select = { kind = "list", layers = ["model.layers.1.self_atn.q_proj"] }'),
        2,
        ("select/matched-random: select.layers", "did you mean 'model.layers.1.self_attn.q_proj'?"),
    ),
    Case(
        "rankings with nothing in common",
        recipe(RANDOM_ARM, FIRST_AND_LAST),
        2,
        (
            "select/matched-random: ",
            "the top 10% of first/chats, last/chats have no layer in common",
            "larger `fraction`",
        ),
    ),
    Case(
        "an unknown option",
        nothing,
        2,
        ("'--ofline'", "Did you mean", "'--offline'", "`layersig run --help`"),
        run("--ofline"),
    ),
    Case(
        "an unknown verb",
        nothing,
        2,
        ("No such command 'rnu', did you mean 'run'?", "`layersig --help`"),
        ("rnu", "recipe.toml"),
    ),
    Case("a verb without its recipe", nothing, 2, ("Missing argument 'RECIPE'", "`layersig run --help`"), ("run",)),
    Case("validate", recipe("rank = 2", "rank = 0"), 2, ("recipe.toml:15: train.rank",), ("validate", "recipe.toml")),
    Case("plan", recipe("rank = 2", "rank = 0"), 2, ("recipe.toml:15: train.rank",), ("plan", "recipe.toml")),
    Case("fetch", recipe("rank = 2", "rank = 0"), 2, ("recipe.toml:15: train.rank",), ("fetch", "recipe.toml")),
    Case(
        "an unknown shipped recipe",
        nothing,
        2,
        ("'quikstart'", "`layersig recipes ls`"),
        ("recipes", "show", "quikstart"),
    ),
    Case(
        "a copy onto a recipe",
        nothing,
        2,
        ("recipe.toml exists already; give another name",),
        ("recipes", "cp", "quickstart", "recipe.toml"),
    ),
]


@each(CASES)
def test_a_broken_recipe(bench: Bench, case: Case) -> None:
    case.check(bench)
