"""Scorers and a study on a GPU."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from tests.tiny import save_tiny

pytestmark = pytest.mark.cuda
SCORERS = (
    "ila",
    "gradient-norm",
    "update-taylor",
    "path-attribution",
    "leave-one-out",
    "add-one-in",
    "weight-change",
    "spectral",
    "adalora-sensitivity",
    "projected-gradient",
    "whitened-gradient",
    "layer-contribution",
    "block-influence",
    "angular-distance",
    "ablation",
    "greedy",
)


@pytest.mark.parametrize("name", SCORERS)
def test_scores_are_those_of_a_cpu(name: str, device: torch.device, tmp_path: Path) -> None:
    from layersig.plugin.manager import built_in
    from layersig.testing import TinyStudy

    class Elsewhere(TinyStudy):
        def job(self, *args, **options):
            job = super().job(*args, **options)
            return dataclasses.replace(job, spec=job.spec.model_copy(update={"device": str(self.device)}))

    component = built_in().get("scorer", name)
    unit = component.unit or "module"
    found = []
    for number, where in enumerate((device, torch.device("cpu"))):
        (tmp_path / str(number)).mkdir()
        study = Elsewhere(tmp_path / str(number))
        study.device = where
        params = {"ila": {"steps": 6}, "greedy": {"remove": 1}, "layer-contribution": {"validation": 0.5}}.get(name, {})
        found.append(study.ranking(component, params, unit=unit))
    scale = max(abs(value) for value in found[1].scores.values())
    assert dict(found[0].scores) == pytest.approx(dict(found[1].scores), rel=1e-3, abs=1e-4 * scale)


RECIPE = """
name = "card"
seeds = [0]
[model]
source = "path:{folder}/model"
[[data]]
name = "chats"
source = "file:{folder}/chats.jsonl"
[train]
rank = 2
epochs = 1
dropout = 0.1
[scorers.ila]
kind = "ila"
steps = 3
[scorers.influence]
kind = "block-influence"
[[arms]]
name = "ila-30"
scorer = "ila"
select = {{ kind = "top", fraction = 0.3 }}
[[arms]]
name = "graft-30"
scorer = "ila"
select = {{ kind = "top", fraction = 0.3 }}
action = "graft"
[[arms]]
name = "pruned"
scorer = "influence"
select = {{ kind = "lowest", count = 1 }}
action = "prune"
recover = {{ steps = 2 }}
[analyze]
resamples = 100
"""


def test_a_study_runs_and_then_comes_from_the_cache(
    device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lm_eval")
    pytest.importorskip("altair")
    from click.testing import CliRunner

    from layersig.cli.main import cli

    monkeypatch.setenv("LAYERSIG_CACHE", str(tmp_path / "cache"))
    save_tiny(tmp_path / "model")
    rows = [{"prompt": f"What is {number}?", "response": f"It is {number * number}, a number."} for number in range(60)]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = tmp_path / "card.toml"
    recipe.write_text(RECIPE.format(folder=tmp_path))
    ran = []
    for name in ("auto", str(device)) if device.type == "cuda" else ("cpu", "cpu"):
        found = CliRunner().invoke(
            cli, ["run", str(recipe), f"model.device={name}", "--runs", str(tmp_path / "runs"), "--json"]
        )
        assert found.exit_code == 0, found.output
        folder = Path(json.loads(found.stdout.strip().splitlines()[-1])["run"])
        ran.append(json.loads((folder / "manifest.json").read_text())["stages"])
    assert all(stage["cached"] for stage in ran[1])
    assert not any(stage["cached"] for stage in ran[0] if stage["kind"] == "reference")
    kinds = {stage["kind"] for stage in ran[0] if stage["status"] == "done"}
    assert kinds >= {"reference", "score", "tune", "graft", "prune", "recover", "evaluate"}
