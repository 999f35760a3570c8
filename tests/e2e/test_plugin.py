"""The scorer of the README, in a file of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from layersig.models.load import load_model
from tests.e2e.world import World

README = (Path(__file__).parents[2] / "README.md").read_text()
ARMS = """\
arms=[
    { name = "ila-30", scorer = "ila", select = { kind = "top", fraction = 0.3 } },
    { name = "heaviest", scorer = "weight-norm", select = { kind = "top", fraction = 0.3 } },
]"""


@pytest.fixture(scope="module")
def plugin(world: World) -> Path:
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "weight-norm" in block]
    path = world.base / "my_scorer.py"
    path.write_text(code)
    return path


WORDS = (
    'plugins=["my_scorer.py"]',
    "scorers.weight-norm.kind=weight-norm",
    "analyze.controls=false",
    ARMS,
)


def test_a_scorer_in_a_file_ranks_and_its_edit_costs_its_own_ranking_alone(world: World, plugin: Path) -> None:
    run = world.run(*WORDS).run
    (row,) = [row for row in run.lines("scores.jsonl") if row["scorer"] == "weight-norm"]
    model = load_model(world.base / "model", dtype=torch.float32, device="cpu")
    modules = dict(model.named_modules())
    assert row["scores"] == pytest.approx({name: modules[name].weight.norm().item() for name in row["scores"]})
    # A ranking of the model alone has neither data set nor seed.
    assert (row["cell"], row["data"], row["seed"]) == ("weight-norm", None, None)

    code = plugin.read_text()
    plugin.write_text(f"{code}\n# a word that changes nothing\n")
    assert world.run(*WORDS).run.ran == {"score/weight-norm"}

    plugin.write_text(code.replace(".norm().item()", ".norm().item() * 2"))
    doubled = world.run(*WORDS).run
    assert doubled.ran == {"score/weight-norm", "select/heaviest"}

    plugin.write_text(code.replace("context.weight(layer)", "-1 / context.weight(layer)"))
    turned = world.run(*WORDS).run
    assert turned.ran <= {
        "score/weight-norm",
        "select/heaviest",
        "tune/heaviest/chats/seed-0",
        "evaluate/heaviest/chats/seed-0",
    }
    plugin.write_text(code)
    assert world.run(*WORDS).run.ran == set()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("return {", "return 1 / 0 and {"), "ZeroDivisionError"),
        ((".item()", ""), "scores are numbers"),
        (("for layer in context.layers", "for layer in context.layers[1:]"), "gave no score for 1 of 21 layers"),
        ((".item()", ".item() * float('nan')"), "must be finite"),
    ],
)
def test_a_scorer_that_breaks_is_named_in_one_message(
    world: World, plugin: Path, change: tuple[str, str], message: str
) -> None:
    broken = plugin.with_name("broken.py")
    broken.write_text(plugin.read_text().replace(*change))
    told = world.run('plugins=["broken.py"]', *WORDS[1:], "arms=[]", f"name=b{abs(hash(message)) % 1000}")
    assert told.code in (1, 2)
    assert len(told.errors) == 1
    assert "weight-norm" in told.errors[0]
    assert message in told.errors[0]
    assert "Traceback" not in told.err


HEAD = "from layersig import method, policy, scorer, source\nfrom layersig.training.methods.lora import Lora\n"
TOP = 'select = { kind = "top", fraction = 0.3 }'


@pytest.mark.parametrize(
    ("code", "words", "message"),
    [
        (
            "@policy('odd', rankings='one')\ndef odd(context):\n    return context.ranking.nothing\n",
            ['arms=[{ name = "odd", scorer = "ila", select = { kind = "odd" } }]'],
            r'select/odd.*: policy "odd" \(FILE\) failed: AttributeError: .*has no attribute .nothing. \(.*FILE:5\)',
        ),
        (
            "@method('odd', reads={'rank'})\nclass Odd(Lora):\n"
            "    def tuning(self, adapted, context):\n        1 / 0\n",
            [f'arms=[{{ name = "odd", scorer = "ila", {TOP}, train = {{ method = "odd" }} }}]'],
            r'tune/odd.*: method "odd" \(FILE\) failed: ZeroDivisionError: division by zero \(.*FILE:6\)',
        ),
        (
            "@source('odd')\nclass Odd:\n    kinds = {'data'}\n    def load(self, kind, reference, request):\n"
            "        raise KeyError(reference)\n",
            ["data.0.source=odd:rows", "arms=[]"],
            r"source \"odd\" \(FILE\) failed: KeyError: 'rows' \(.*FILE:7\)",
        ),
        (
            "@scorer('odd', needs={'model'})\ndef odd(context):\n"
            "    context.weight(context.layers[0]).mul_(2)\n    return dict.fromkeys(context.layers, 0.0)\n",
            ['scorers.odd.kind="odd"', f'arms=[{{ name = "odd", scorer = "odd", {TOP} }}]'],
            r'score/odd: scorer "odd" \(FILE\) changed the model and did not restore it',
        ),
        (
            "from contextlib import contextmanager\n@method('odd', reads={'rank'})\nclass Odd(Lora):\n"
            "    @contextmanager\n    def tune(self, context):\n        with super().tune(context) as tuning:\n"
            "            yield tuning\n        context.model.get_input_embeddings().weight.data.mul_(2)\n",
            [f'arms=[{{ name = "odd", scorer = "ila", {TOP}, train = {{ method = "odd" }} }}]'],
            r'tune/odd.*: method "odd" \(FILE\) changed the model and did not restore it',
        ),
    ],
    ids=["policy", "method", "source", "scorer changes weights", "method changes weights"],
)
def test_a_plugin_that_breaks_in_its_work_is_named_with_its_line(
    world: World, request: pytest.FixtureRequest, code: str, words: list[str], message: str
) -> None:
    name = f"{request.node.callspec.id.replace(' ', '_')}.py"
    (world.base / name).write_text(HEAD + code)
    told = world.run(f'plugins=["{name}"]', "analyze.controls=false", f"name={name.removesuffix('.py')}", *words)
    assert told.code in (1, 2)
    (error,) = told.errors
    assert re.search(message.replace("FILE", re.escape(name)), error), error
    assert "Traceback" not in told.err


def test_the_calls_of_a_plugin_are_traced(world: World, plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYERSIG_TRACE_PLUGINS", "1")
    told = world.run(*WORDS, "scorers.weight-norm.stream=0", "--no-cache", "arms=[]", "name=traced")
    assert told.code == 0, told.err
    lines = [line for line in told.err.splitlines() if line.startswith("plugin: ")]
    assert lines[0] == 'plugin: scorer "weight-norm" (my_scorer.py).score ...'
    assert re.fullmatch(r'plugin: scorer "weight-norm" \(my_scorer.py\).score returned dict of 21 after .* s', lines[1])
    assert len(lines) == 2
