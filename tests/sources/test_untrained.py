"""The architecture of a model with random weights: drawn once, from a fixed seed, and usable like any model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from layersig.errors import UserError
from layersig.models.load import load_model, load_tokenizer
from layersig.sources.resolve import resolve
from layersig.sources.source import Request
from tests.tiny import save_tiny, tiny_batch


def test_it_is_what_transformers_draws_for_a_new_model(tmp_path: Path) -> None:
    learned = save_tiny(tmp_path / "model")
    request = Request(tmp_path, tmp_path / "cache")
    before = torch.random.get_rng_state()
    found = resolve("untrained:path:model", "model", request)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert (found.label, found.resolved) == ("untrained-model", f"untrained:path:{learned}")
    assert found.digest != resolve("path:model", "model", request).digest
    assert found.public_name == "untrained:path:model"
    assert "has learned nothing" in found.notes[0]
    model = load_model(found.path, dtype="float32", device="cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        due = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(learned)).eval()
    with torch.no_grad():
        assert torch.equal(model(tiny_batch()).logits, due(tiny_batch()).logits)
    assert load_tokenizer(found.path)("abc") == load_tokenizer(learned)("abc")


def test_it_is_drawn_once_and_the_same_everywhere(tmp_path: Path) -> None:
    save_tiny(tmp_path / "model")
    first, again, other = (
        resolve("untrained:path:model", "model", Request(tmp_path, tmp_path / cache)) for cache in ("one", "one", "two")
    )
    assert (first.path, first.digest) == (again.path, again.digest)
    assert (first.path, first.digest) != (other.path, other.digest)
    assert first.digest == other.digest


@pytest.mark.parametrize("spec", ["untrained:model", "untrained:file:model", "untrained:untrained:path:model"])
def test_it_takes_a_source_of_models(tmp_path: Path, spec: str) -> None:
    with pytest.raises(UserError, match=r"names no model\. Allowed: untrained:hub:"):
        resolve(spec, "model", Request(tmp_path, tmp_path / "cache"))
