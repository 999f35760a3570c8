"""Recipes that are wrong, through the command line; `tests/recipe` has every fault of the loader."""

from __future__ import annotations

from tests.broken.bench import Bench, Case, each

OVERRIDE = ("run", "recipe.toml")


def recipe(old: str, new: str):  # type: ignore[no-untyped-def]
    return lambda bench: bench.edit("recipe.toml", old, new)


def whole(text: str | bytes):
    def harm(bench: Bench) -> None:
        content = text if isinstance(text, bytes) else text.encode()
        (bench.folder / "recipe.toml").write_bytes(content)

    return harm


def folder(bench: Bench) -> None:
    (bench.folder / "recipe.toml").unlink()
    (bench.folder / "recipe.toml").mkdir()


def nothing(bench: Bench) -> None:
    pass


CASES = [
    Case("wrong type", recipe("rank = 2", 'rank = "two"'), 2, ()),
    Case("unknown key", recipe("rank = 2", "rnak = 2"), 2, ()),
    Case("unknown scorer", recipe('kind = "ila"', 'kind = "illa"'), 2, ()),
    Case("unknown policy", recipe('kind = "top"', 'kind = "tpo"'), 2, ()),
    Case("fraction 1.2", recipe("fraction = 0.30", "fraction = 1.2"), 2, ()),
    Case("two arms of one name", recipe('"matched-random"\nselect', '"ila-30"\nselect'), 2, ()),
    Case("name leads out", recipe('name = "tiny"', 'name = "../tiny"'), 2, ()),
    Case("arm leads out", recipe('name = "graft-30"', 'name = "../../graft"'), 2, ()),
    Case("no data table", recipe("[[data]]", "[[dataa]]"), 2, ()),
    Case("nonfinite", recipe("learning_rate = 0.01", "learning_rate = nan"), 2, ()),
    Case("not TOML", recipe("[model]", "[model"), 2, ()),
    Case("empty", whole(""), 2, ()),
    Case("binary", whole(bytes(range(256))), 2, ()),
    Case("folder", folder, 2, ()),
    Case("missing", lambda bench: (bench.folder / "recipe.toml").unlink(), 2, ()),
    Case("override of nothing", nothing, 2, (), ("run", "recipe.toml", "train.rnak=3")),
    Case("override without value", nothing, 2, (), ("run", "recipe.toml", "train.rank")),
    Case("override out of range", nothing, 2, (), ("run", "recipe.toml", "arms.9.name=x")),
    Case("override wrong", nothing, 2, (), ("run", "recipe.toml", "arms.0.select.fraction=1.2")),
    Case("unknown option", nothing, 2, (), ("run", "recipe.toml", "--ofline")),
    Case("unknown verb", nothing, 2, (), ("rnu", "recipe.toml")),
    Case("no recipe", nothing, 2, (), ("run",)),
    Case("unknown scheme", recipe('"path:model"', '"pth:model"'), 2, ()),
    Case("dtype", nothing, 2, (), ("run", "recipe.toml", "model.dtype=float13")),
    Case("device tpu", nothing, 2, (), ("run", "recipe.toml", "model.device=tpu")),
    Case("device cuda", nothing, 2, (), ("run", "recipe.toml", "model.device=cuda")),
    Case("device cuda 9", nothing, 2, (), ("run", "recipe.toml", "model.device=cuda:9")),
    Case("attention", nothing, 2, (), ("run", "recipe.toml", "model.attention=flash_attention_2")),
    Case("quant", nothing, 2, (), ("run", "recipe.toml", "model.quantization=nf4")),
    Case("bad template", nothing, 2, (), ("run", "recipe.toml", "model.chat_template=file:none.jinja")),
    Case("bad template name", nothing, 2, (), ("run", "recipe.toml", "model.chat_template=chatlm")),
    Case("validate", recipe("rank = 2", 'rank = "two"'), 2, (), ("validate", "recipe.toml")),
    Case("plan", recipe("rank = 2", 'rank = "two"'), 2, (), ("plan", "recipe.toml")),
    Case("fetch", recipe("rank = 2", 'rank = "two"'), 2, (), ("fetch", "recipe.toml")),
    Case("recipes show", nothing, 2, (), ("recipes", "show", "quikstart")),
    Case("recipes cp", nothing, 2, (), ("recipes", "cp", "quickstart", "recipe.toml")),
    Case("recipes cp nowhere", nothing, 2, (), ("recipes", "cp", "quickstart", "no/where.toml")),
    Case("list nothing", recipe('{ kind = "matched-random", like = "ila-30" }', '{ kind = "list", layers = ["model.layers.*.self_atn.q_proj"] }'), 2, ()),
    Case("intersection empty", recipe('scorer = "ila"\nselect = { kind = "top", fraction = 0.30 }\n\n[[arms]]\nname = "matched-random"\nselect = { kind = "matched-random", like = "ila-30" }', 'scorer = ["f", "l"]\nselect = { kind = "intersection", fraction = 0.10 }\n[scorers.f]\nkind = "first-k"\n[scorers.l]\nkind="last-k"\n'), 2, ()),
]


@each(CASES)
def test_a_broken_recipe(bench: Bench, case: Case) -> None:
    case.check(bench)
