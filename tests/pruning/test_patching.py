"""Linear maps where blocks were removed: their fit, the checkpoint that keeps them, and what cannot be done with it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from layersig.cli.main import main
from layersig.data.examples import read_examples
from layersig.models.block_removal import without_blocks
from layersig.models.blocks import BlockRunner
from layersig.models.load import load_model
from layersig.models.patches import write_patches
from layersig.models.saving import save_model
from layersig.pruning.patching import Cut, LeastSquares, cuts_of
from layersig.pruning.surgery import write_pruned
from layersig.training.recovery import next_to_cuts
from tests.pruning.test_study import PRUNE
from tests.study import call, write_study
from tests.tiny import save_tiny, tiny_batch, tiny_model


@pytest.mark.parametrize("tokens", [500, 20])  # 20 do not span 32 dimensions
def test_a_map_is_that_of_least_squares_however_rows_come(tokens: int) -> None:
    rng = np.random.default_rng(0)
    before = rng.normal(size=(tokens, 32)) * np.logspace(0, 3, 32)
    behind = before + before @ rng.normal(size=(32, 32)) / 32 + rng.normal(size=(tokens, 32))
    due = np.linalg.lstsq(before, behind - before, rcond=None)[0]
    for parts in (1, 10):
        fit = LeastSquares()
        for rows in np.array_split(np.arange(tokens), parts):
            fit.add(torch.tensor(before[rows]), torch.tensor(behind[rows]))
        assert fit.solution().numpy() == pytest.approx(due, abs=1e-8 * np.ptp(due))


def test_a_known_map_is_found() -> None:
    generator = torch.Generator().manual_seed(1)
    planted = torch.randn(16, 16, generator=generator, dtype=torch.float64)
    states = torch.randn(200, 16, generator=generator, dtype=torch.float64)
    fit = LeastSquares()
    fit.add(states, states @ planted)
    torch.testing.assert_close(fit.solution(), planted - torch.eye(16, dtype=torch.float64))


@pytest.mark.parametrize(
    ("removed", "cuts", "near"),
    [
        ({1}, [Cut(1, 2, 1)], {0, 1}),
        ({0, 1}, [Cut(0, 2, 0)], {0}),
        ({4, 5}, [Cut(4, 6, 4)], {3}),
        ({1, 3, 4}, [Cut(1, 2, 1), Cut(3, 5, 2)], {0, 1, 2}),
    ],
)
def test_cuts_are_runs_of_removed_blocks(removed: set[int], cuts: list[Cut], near: set[int]) -> None:
    assert list(cuts_of(removed, 6)) == cuts
    assert next_to_cuts(sorted(removed), 6 - len(removed)) == near


@pytest.fixture
def patched(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, dict[int, torch.Tensor], str]:
    architecture = request.param
    save_tiny(tmp_path / "model", architecture)
    depth = tiny_model(architecture).config.num_hidden_layers
    write_pruned(tmp_path / "model", {1}, tmp_path / "patched")
    generator = torch.Generator().manual_seed(2)
    maps = {place: 0.1 * torch.randn(32, 32, generator=generator) for place in (0, 1, depth - 1)}
    write_patches(tmp_path / "patched", maps)
    return tmp_path / "patched", maps, architecture


@pytest.mark.parametrize("patched", ["llama", "gpt2", "gemma2", "qwen3_moe"], indirect=True)
def test_states_go_through_the_maps(patched) -> None:
    folder, maps, architecture = patched
    model = load_model(folder, dtype="float32", device="cpu")
    original = tiny_model(architecture)
    tokens = tiny_batch()
    with torch.no_grad(), without_blocks(original, [1]):
        first, *_ = BlockRunner(original).run({"input_ids": tokens}).states
    with torch.no_grad():
        states = BlockRunner(model).run({"input_ids": tokens}).states
        torch.testing.assert_close(states[0], first + first @ maps[0])
        logits = model(tokens).logits
        bare = AutoModelForCausalLM.from_config(model.config)
        bare.load_state_dict(model.state_dict())
        assert not torch.allclose(bare.eval()(tokens).logits, logits, rtol=1e-3)


@pytest.mark.parametrize("patched", ["llama"], indirect=True)
def test_plain_transformers_refuses_it_and_copies_keep_the_maps(patched, tmp_path: Path) -> None:
    folder, _, _ = patched
    with pytest.raises(ValueError, match="layersig_patched"):
        AutoModelForCausalLM.from_pretrained(folder)
    model = load_model(folder, dtype="float32", device="cpu")
    save_model(model, folder, tmp_path / "copy")
    again = load_model(tmp_path / "copy", dtype="float32", device="cpu")
    with torch.no_grad():
        assert torch.equal(again(tiny_batch()).logits, model(tiny_batch()).logits)
    assert not any("patch" in name for name in model.state_dict())


STUDY = (
    PRUNE.partition("[[arms]]")[0].replace("first-k", "pick").replace('kind = "pick"', 'kind = "first-k"')
    + """
[[arms]]
name = "cut"
scorer = "pick"
select = { kind = "lowest", count = 1, protect = [-1] }
action = "prune"

[[arms]]
name = "patched"
scorer = "pick"
select = { kind = "lowest", count = 1, protect = [-1] }
action = "prune"
patch = 99

[[arms]]
name = "neighbours"
scorer = "pick"
select = { kind = "lowest", count = 1, protect = [-1] }
action = "prune"
patch = 99
recover = { steps = 2 }
recover_on = "cut"

[[arms]]
name = "full"
scorer = "pick"
select = { kind = "lowest", count = 1, protect = [-1] }
action = "prune"
patch = 99
recover = { method = "full", steps = 2, learning_rate = 0.001 }
recover_on = "cut"

[[arms]]
name = "tail"
scorer = "pick"
select = { kind = "lowest", count = 1, protect = [-1] }
action = "prune"
recover = { steps = 2 }
recover_on = "last-1"

[analyze]
resamples = 100
controls = false
"""
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("patching")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAYERSIG_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        recipe = write_study(folder, recipe=STUDY)
        with pytest.raises(SystemExit) as ended:
            main(["run", str(recipe), "--runs", str(folder / "runs")])
        assert not ended.value.code
        (run,) = (folder / "runs").glob("tiny/*")
        return folder, run


@pytest.mark.slow
def test_a_study_patches_its_cuts_and_the_report_compares(study) -> None:
    folder, run = study
    losses = {
        arm: json.loads((run / f"evaluations/{arm}/chats/seed-0/results.json").read_text())["tasks"]["heldout/chats"][
            "loss"
        ]
        for arm in ("cut", "patched", "neighbours", "full", "tail")
    }
    assert len(set(losses.values())) == 5
    original = AutoModelForCausalLM.from_pretrained(folder / "model").eval()
    (data,) = {path.parent for path in (folder / "cache").glob("**/train.safetensors")}
    examples = read_examples(data, "train")
    assert len(examples) <= 99
    with torch.no_grad():
        rows = [
            BlockRunner(original).run({"input_ids": torch.tensor([each.tokens.tolist()])}).states for each in examples
        ]
    # The middle block of three is gone.
    before, behind = (np.concatenate([states[place][0].double().numpy() for states in rows]) for place in (1, 2))
    due = np.linalg.lstsq(before, behind - before, rcond=None)[0]
    found = load_file(run / "models/patched/chats/seed-0/patches.safetensors")
    assert list(found) == ["1"]
    assert found["1"].numpy() == pytest.approx(due, abs=1e-5 * np.ptp(due))
    rows = (run / "recovery.csv").read_text()
    assert all(f"cut,{arm}," in rows for arm in ("patched", "neighbours", "full", "tail"))


@pytest.mark.slow
def test_a_recovery_trains_what_its_scope_names(study) -> None:
    _, run = study

    def trained(arm: str) -> set[str]:
        config = json.loads((run / f"adapters/{arm}/chats/seed-0/adapter_config.json").read_text())
        return set(config["target_modules"])

    assert {name.rpartition("layers.")[2][0] for name in trained("neighbours")} == {"0", "1"}
    assert "lm_head" in trained("tail")
    assert {name.rpartition("layers.")[2][0] for name in trained("tail") - {"lm_head"}} == {"1"}


@pytest.mark.slow
def test_a_full_recovery_keeps_the_maps_and_an_export_is_refused(study, capsys, tmp_path: Path) -> None:
    _, run = study
    for arm in ("patched", "full", "neighbours"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert load_model(run / f"models/{arm}/chats/seed-0", dtype="float32", device="cpu")
        assert (run / f"models/{arm}/chats/seed-0/patches.safetensors").is_file()
        code, _, err = call(capsys, "export", run, arm, tmp_path / arm)
        assert code == 2
        assert "has linear maps where blocks are gone" in err


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('action = "prune"\npatch = 99\n\n', "patch = 99\n\n", "has cuts to patch; remove `patch`"),
        ('recover = { steps = 2 }\nrecover_on = "last-1"', 'recover_on = "last-1"', "add `recover = {}`"),
        ('recover_on = "last-1"', 'recover_on = "first-1"', "recover_on"),
        ("patch = 99\n\n", "patch = 0\n\n", "patch"),
    ],
)
def test_what_does_not_go_together_is_told(tmp_path: Path, capsys, old: str, new: str, told: str) -> None:
    assert old in STUDY
    recipe = write_study(tmp_path, recipe=STUDY.replace(old, new))
    code, _, err = call(capsys, "validate", recipe)
    assert code == 2
    assert told in err
