"""Plugin files that do not load, and scorers that give no ranking."""

from __future__ import annotations

from collections.abc import Callable

from tests.broken.bench import Bench, Case, each, recipe

HEAD = "from layersig import scorer\n"


def plugin(text: str, *, kind: str = "mine") -> Callable[[Bench], None]:
    def harm(bench: Bench) -> None:
        (bench.folder / "mine.py").write_text(text)
        bench.edit("recipe.toml", "seeds = [0]", 'seeds = [0]\nplugins = ["mine.py"]')
        bench.edit("recipe.toml", 'kind = "ila"\nsteps = 2\nkeep_every = 1', f'kind = "{kind}"')

    return harm


def declared(body: str, *, name: str = "mine", needs: str = "model", function: str = "mine") -> str:
    return f'@scorer("{name}", needs={{"{needs}"}}, version=1)\ndef {function}(context):\n    {body}\n'


def scorer(body: str) -> Callable[[Bench], None]:
    return plugin(HEAD + declared(body))


CASES = [
    Case(
        "no file",
        recipe("seeds = [0]", 'seeds = [0]\nplugins = ["mine.py"]'),
        2,
        ("recipe.toml:3: plugins.0", "mine.py cannot be read"),
    ),
    Case("no Python", plugin("def mine(:\n"), 2, ("recipe.toml:3: plugins.0", "SyntaxError", "mine.py, line 1")),
    Case(
        "an import that fails", plugin("import no_such_module\n"), 2, ("mine.py cannot be executed", "'no_such_module'")
    ),
    Case("nothing declared", plugin("x = 1\n"), 2, ("mine.py declares nothing: decorate a function",)),
    Case(
        "two scorers of one name",
        plugin(HEAD + declared("pass") + declared("pass", function="again")),
        2,
        ('scorer "mine" is offered twice', "rename one"),
    ),
    Case(
        "the name of a built-in",
        plugin(HEAD + declared("pass", name="ila"), kind="ila"),
        2,
        ('scorer "ila" is offered twice', "mine.py"),
    ),
    Case(
        "unknown needs",
        plugin(HEAD + declared("pass", needs="modle")),
        2,
        ("unknown needs 'modle'; allowed are model, weights, gradients",),
    ),
    Case(
        "needs not declared",
        scorer("return context.update"),
        2,
        ('score/ila: scorer "mine" (mine.py)', "add 'update' to its `needs`"),
    ),
    Case(
        "an unknown layer",
        scorer('return context.weight("model.x")'),
        2,
        ('scorer "mine"', "'model.x', which is no layer"),
    ),
    Case(
        "NaN for a score",
        scorer('return {name: float("nan") for name in context.layers}'),
        2,
        ('score/ila: scorer "mine"', "must be finite"),
    ),
    Case(
        "too few scores",
        scorer("return {name: 1.0 for name in context.layers[1:]}"),
        2,
        ('scorer "mine"', "no score for 1 of 21 layers"),
    ),
    Case(
        "scores of strangers",
        scorer('return {name: 1.0 for name in (*context.layers, "x")}'),
        2,
        ('scorer "mine"', "scored 'x'"),
    ),
    Case(
        "no mapping",
        scorer("return [1.0 for _ in context.layers]"),
        2,
        ('scorer "mine" (mine.py) must return a mapping', "got list"),
    ),
    Case(
        "tensors",
        scorer("return {name: context.weight(name).norm() for name in context.layers}"),
        2,
        ("a Tensor", "call `.item()`"),
    ),
    Case(
        "a scorer that raises",
        scorer("return 1 / 0"),
        1,
        ('score/ila: scorer "mine" (mine.py) failed: ZeroDivisionError',),
    ),
    Case(
        "a scorer that leaves",
        scorer("raise SystemExit(0)"),
        1,
        ('score/ila: scorer "mine" (mine.py) failed: SystemExit',),
    ),
]


@each(CASES)
def test_a_broken_plugin(bench: Bench, case: Case) -> None:
    case.check(bench)
