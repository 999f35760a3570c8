"""Dense updates are written, read and grafted one layer at a time."""

from __future__ import annotations

import gc
import weakref

import torch
from safetensors.torch import save_file

from layersig.layers import LayerMap
from layersig.models.dense import read_dense, write_update
from layersig.models.layermap import layer_map
from layersig.models.updates import DenseUpdate, LazyTensors
from tests.models.helpers import dense_update
from tests.tiny import tiny_model


class Watch:
    """Makes tensors and knows how many are alive at most."""

    def __init__(self, tensors):
        self.tensors, self.alive, self.most, self.made = tensors, [], 0, 0

    def __call__(self, name):
        gc.collect()
        value = self.tensors[name].clone()
        self.alive.append(weakref.ref(value))
        self.made += 1
        self.most = max(self.most, sum(each() is not None for each in self.alive))
        return value


def test_one_layer_at_a_time_is_written_and_the_file_is_that_of_safetensors(tmp_path):
    layers: LayerMap = layer_map(tiny_model("llama"))
    plain = dense_update(layers)
    watch = Watch(plain.tensors)
    lazy = DenseUpdate(LazyTensors({name: tuple(each.shape) for name, each in plain.tensors.items()}, watch))
    write_update(lazy, tmp_path / "lazy", base_dtype=torch.bfloat16)
    write_update(plain, tmp_path / "plain", base_dtype=torch.bfloat16)
    save_file(dict(plain.tensors), tmp_path / "theirs", {"base_dtype": "bfloat16"})
    files = [(tmp_path / name / "dense_update.safetensors").read_bytes() for name in ("lazy", "plain")]
    assert files[0] == files[1] == (tmp_path / "theirs").read_bytes()
    assert (watch.most, watch.made) == (1, len(plain.tensors))
    read = read_dense(tmp_path / "lazy", layers)
    assert read.layers == plain.layers
    assert all(torch.equal(read.tensors[name], each) for name, each in plain.tensors.items())
    assert read.tensors[read.layers[0]] is not read.tensors[read.layers[0]], "nothing is kept"


def test_a_difference_of_models_is_computed_layer_by_layer():
    before, after = tiny_model("gpt2", seed=0), tiny_model("gpt2", seed=1)
    layers = layer_map(before)
    update = DenseUpdate.difference(before, after, layers)
    assert isinstance(update.tensors, LazyTensors)
    assert {name: tuple(each.shape) for name, each in update.tensors.items()} == dict(update.tensors.shapes)
    assert "no such layer" not in update.tensors
