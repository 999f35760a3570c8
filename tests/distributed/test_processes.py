"""What several processes compute together, against one process; each test starts processes as `torchrun` does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from tests.distributed import trainings
from tests.study import RECIPE, WRITTEN, write_study
from tests.training.world import digests, write_inputs

_ROOT = Path(__file__).parents[2]
_BOTH = ("reference", "mask")
_ALL = (*_BOTH, "dry", "full")
_SCORERS = tuple(trainings.SCORERS)
EXACT = 1e-14
"""How far what several processes compute may be from what one does; all is in float64."""
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "{count}", "-m")
ACCELERATE = (
    "accelerate.commands.launch",
    *("--multi_gpu", "--num_processes", "{count}", "--num_machines", "1", "--mixed_precision", "no"),
    *("--dynamo_backend", "no", "--main_process_port", "0", "-m"),
)


def launch(
    count: int, module: str, *arguments: object, by: Sequence[str] = TORCHRUN, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a module in several processes, with one thread each."""
    command = [sys.executable, "-m", *(part.format(count=count) for part in by)]
    paths = os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [*command, module, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs, and what one process made of them."""
    root = tmp_path_factory.mktemp("trainings")
    write_inputs(root, chosen=("model.layers.1.mlp.up_proj", "model.layers.2.self_attn.v_proj"))  # with a kept prefix
    trainings.main(root, "one", (*_ALL, *_SCORERS))
    return root


def assert_equal(folder: Path, name: str, chosen: tuple[str, ...]) -> None:
    """Losses, gradient norms and mask scores of every step, and what was trained, are those of one process."""
    one, other = trainings.found(folder, "one"), trainings.found(folder, name)
    assert other.keys() == set(chosen)
    for called, values in other.items():
        assert len(values) == trainings.STEPS
        np.testing.assert_allclose(values, one[called], rtol=0, atol=EXACT, err_msg=called)
    tensors = [path for path in sorted((folder / name).rglob("*.safetensors")) if "work" not in path.parts]
    assert tensors
    for path in tensors:
        found, due = load_file(path), load_file(folder / "one" / path.relative_to(folder / name))
        assert found.keys() == due.keys()
        for key, value in found.items():
            np.testing.assert_allclose(value, due[key], rtol=0, atol=EXACT, err_msg=f"{path} {key}")


def assert_ranked_alike(folder: Path, name: str) -> None:
    """Scores that are made of gradients are those of one process."""
    one, other = trainings.rankings(folder, "one"), trainings.rankings(folder, name)
    assert other.keys() == one.keys() == set(_SCORERS)
    for scorer, scores in one.items():
        assert other[scorer] == pytest.approx(scores, rel=EXACT, abs=0), scorer


def test_two_processes_train_and_score_as_one(folder: Path) -> None:
    ran = launch(2, "tests.distributed.trainings", folder, "two", ",".join((*_BOTH, *_SCORERS)))
    assert ran.returncode == 0, ran.stderr
    assert_equal(folder, "two", _BOTH)
    assert_ranked_alike(folder, "two")


@pytest.mark.slow
def test_accelerate_starts_processes_as_torchrun_does(folder: Path) -> None:
    ran = launch(2, "tests.distributed.trainings", folder, "accelerate", ",".join(_BOTH), by=ACCELERATE)
    assert ran.returncode == 0, ran.stderr
    assert_equal(folder, "accelerate", _BOTH)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "options"), [(2, ["--shard"]), (4, []), (4, ["--shard", "--plain"])], ids=["2-shard", "4", "4-plain"]
)
def test_any_number_of_processes_trains_as_one(folder: Path, count: int, options: list[str]) -> None:
    name = f"{count}{''.join(options)}"
    ran = launch(count, "tests.distributed.trainings", folder, name, ",".join(_ALL), *options)
    assert ran.returncode == 0, ran.stderr
    assert_equal(folder, name, _ALL)
    if "--shard" in options:
        _assert_split(folder / "one", folder / name, count)


def _assert_split(one: Path, several: Path, count: int) -> None:
    """Blocks and weights that are trained take a share of their bytes, all else what it takes in one process."""
    shapes = load_file(one.parent / "model" / "model.safetensors")
    blocks = sum(8 * value.numel() for name, value in shapes.items() if ".layers." in name)
    for called in ("reference", "dry", "full"):
        alone, shared = _cost(one, called), _cost(several, called)
        trained = alone["trained_memory"] if called == "full" else 0
        assert shared["weights_memory"] == alone["weights_memory"] - blocks + blocks / count
        assert shared["trained_memory"] == alone["trained_memory"] - trained + trained / count


def _cost(folder: Path, called: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads((folder / called / "cost.json").read_text())
    return found


@pytest.mark.slow
def test_a_process_holds_its_share_of_a_split_model() -> None:
    ran = launch(2, "tests.distributed.held")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("HELD") == 2


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--shard"]], ids=["whole", "shard"])
def test_a_training_whose_process_dies_continues(folder: Path, options: list[str]) -> None:
    name = f"dies{''.join(options)}"
    for called in ("dry", "full"):
        ran = launch(2, "tests.distributed.trainings", folder, name, called, "--dies", *options)
        assert ran.returncode != 0
        assert not list((folder / name / called / "out").iterdir())
        assert (folder / name / called / "work" / "training.safetensors").is_file()
    ran = launch(2, "tests.distributed.trainings", folder, name, "dry,full", *options)
    assert ran.returncode == 0, ran.stderr
    assert_equal(folder, name, ("dry", "full"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "rank", "message"),
    [
        ("raise", 1, "ENDED failed process 1 of 2 (counting from 0): ValueError: no such thing []"),
        ("raise", 0, "ENDED failed ValueError: no such thing []"),
        ("kill", 1, "RAISED MachineError broken: process 1 of 2 (counting from 0) ended without an error message"),
        ("kill", 0, ""),
    ],
)
def test_when_a_process_fails_all_end_and_nothing_is_kept(tmp_path: Path, how: str, rank: int, message: str) -> None:
    ran = launch(2, "tests.distributed.breaking", tmp_path, how, rank)
    lines = [line for line in ran.stdout.splitlines() if line.startswith(("ENDED", "RAISED"))]
    assert any(line.startswith(message) for line in lines) or not message
    assert not list(tmp_path.glob("stages/*/*"))
    assert launch(2, "tests.distributed.breaking", tmp_path, "none", 0).stdout.count("ENDED done") == 1
    assert len(list(tmp_path.glob("stages/*/*"))) == 1


@pytest.mark.slow
def test_a_study_is_evaluated_the_same(tmp_path: Path) -> None:
    recipe = write_study(
        tmp_path, recipe=RECIPE.replace('"file:choice.yaml"', '"file:choice.yaml", "file:written.yaml"')
    )
    (tmp_path / "written.yaml").write_text(WRITTEN)

    def run(count: int, cache: str, *options: str) -> dict[str, dict[str, Any]]:
        runs = tmp_path / f"runs-{count}-{cache}{''.join(options)}"
        ran = launch(count, "layersig", "run", recipe, "--runs", runs, *options, LAYERSIG_CACHE=str(tmp_path / cache))
        assert ran.returncode == 0, ran.stderr
        (manifest,) = runs.glob("tiny/*/manifest.json")
        return {stage["id"]: stage for stage in json.loads(manifest.read_text())["stages"]}

    def base(cache: str) -> dict[str, str]:
        (out,) = (tmp_path / cache / "stages").glob(f"*/{one['evaluate/base']['fingerprint']}/out")
        return digests(out)

    one, two, split = run(1, "one"), run(2, "two"), run(2, "split", "--shard")
    for other in (two, split):
        same = {name for name, stage in one.items() if other[name]["fingerprint"] == stage["fingerprint"]}
        # Selections go by the content of rankings, which may agree to the last bit.
        others = {name for name in same if not name.startswith("select/")}
        assert others == {"layers", "data/chats", "evaluate/base", "overlap/chats"}
        assert "select/matched-random/chats/seed-0" in same
    assert {"items.jsonl", "responses.jsonl"} <= base("one").keys()
    assert base("one") == base("two") == base("split")
    assert two["evaluate/base"]["tokens"] == one["evaluate/base"]["tokens"]
    assert all(stage["cached"] for stage in run(2, "two").values())
