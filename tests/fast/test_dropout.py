from __future__ import annotations

import pytest
import torch
from torch import nn

from layersig.errors import StageFailed
from layersig.fast.dropout import DropoutKeys, KeyedDropout, keyed_dropout
from layersig.fast.layout import Layout, Segment
from layersig.streams import Streams
from tests.models.helpers import STREAMS
from tests.tiny import tiny_model

WIDTH = 640


def keep(keys, *segments, rows=None, name="layer", p=0.1, dtype=torch.float32):
    """Which entries of an input with these (example, start, rows) segments are kept."""
    keys.set(4, Layout(rows or max(start + count for _, start, count in segments), [Segment(*s) for s in segments]))
    dropout = KeyedDropout(name, p, keys).train()
    return dropout.kept(torch.ones(rows or max(s + c for _, s, c in segments), WIDTH, dtype=dtype))


def test_an_examples_mask_depends_neither_on_its_place_nor_on_its_neighbours():
    keys = DropoutKeys(Streams(1))
    alone = keep(keys, ("a", 0, 30))
    behind = keep(keys, ("b", 0, 50), ("a", 50, 30))
    padded = keep(keys, ("a", 0, 30), ("b", 40, 40), rows=80)
    assert torch.equal(alone, behind[50:])
    assert torch.equal(alone, padded[:30])
    assert torch.equal(behind[:40], padded[40:])
    assert bool((padded[30:40] == 1).all())


def test_masks_differ_between_seeds_steps_examples_and_modules():
    keys, other = DropoutKeys(Streams(1)), DropoutKeys(Streams(2))
    masks = [keep(keys, ("a", 0, 30)), keep(other, ("a", 0, 30)), keep(keys, ("b", 0, 30))]
    masks.append(keep(keys, ("a", 0, 30), name="other"))
    keys.set(5, Layout(30, [Segment("a", 0, 30)]))
    masks.append(KeyedDropout("layer", 0.1, keys).train().kept(torch.ones(30, WIDTH)))
    for index, first in enumerate(masks):
        for second in masks[index + 1 :]:
            # Independent masks agree in 82 % of 19,200 entries, with a standard deviation of 0.3 %.
            assert (first == second).float().mean().item() == pytest.approx(0.82, abs=0.014)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_share_and_scale(p, dtype):
    keys = DropoutKeys(Streams(1))
    kept = keep(keys, ("a", 0, 200), p=p, dtype=dtype)
    assert kept.dtype == dtype
    assert set(kept.unique().tolist()) == {0.0, 1.0}
    assert kept.double().mean().item() == pytest.approx(1 - p, abs=5 * (p * (1 - p) / kept.numel()) ** 0.5)
    dropout = KeyedDropout("layer", p, keys).train()
    x = torch.full((1, 200, WIDTH), 3.0, dtype=dtype)
    torch.testing.assert_close(dropout(x), (x * kept / (1 - p)).to(dtype), rtol=1e-2 if p > 0.8 else 1e-4, atol=1e-4)


def test_neither_eval_mode_nor_probability_0_drops_anything():
    keys = DropoutKeys(Streams(1))
    x = torch.ones(3, WIDTH)
    assert KeyedDropout("layer", 0.5, keys).eval()(x) is x
    assert KeyedDropout("layer", 0.0, keys).train()(x) is x


def test_rows_that_are_no_tokens_are_refused():
    keys = DropoutKeys(Streams(1))
    keys.set(1, Layout(4, [Segment("a", 0, 4)]))
    with pytest.raises(StageFailed, match=r"up_proj: its input has 7 rows.*train\.dropout = 0"):
        KeyedDropout("model.up_proj", 0.1, keys).train()(torch.ones(7, WIDTH))


def test_replaces_the_dropout_of_lora_layers_alone_and_puts_it_back():
    from layersig.models.adapters import inject_lora
    from layersig.models.layermap import layer_map

    model = tiny_model("gpt2")
    layers = list(layer_map(model))[:3]
    adapted = inject_lora(model, layers, rank=2, alpha=4, dropout=0.25, streams=STREAMS)
    before = {name: module for name, module in adapted.named_modules() if isinstance(module, nn.Dropout)}
    with keyed_dropout(adapted, STREAMS):
        found = {module.name: module.p for module in adapted.modules() if isinstance(module, KeyedDropout)}
        assert found == {layer.name: 0.25 for layer in layers}
        assert sum(isinstance(module, nn.Dropout) for module in adapted.modules()) == len(before) - 3
    assert {name: module for name, module in adapted.named_modules() if isinstance(module, nn.Dropout)} == before
