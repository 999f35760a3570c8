from __future__ import annotations

import gc
import weakref

import pytest
import torch
from safetensors.torch import load_file, save_file

from layersig.models.tensor_file import Later, later, write_tensors

DTYPES = [
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.float16, torch.bfloat16, torch.int32, torch.float32,
    torch.float64, torch.int64,
]  # fmt: skip


def _tensors():
    generator = torch.Generator().manual_seed(0)
    found = {f"b/{dtype}": torch.randint(0, 2, (3, 5), generator=generator).to(dtype) for dtype in DTYPES}
    found |= {"a": torch.tensor(1.5), "z/empty": torch.zeros(0, 4), "ä": torch.arange(6.0).view(2, 3).mT}
    return found


@pytest.mark.parametrize("metadata", [None, {"steps": '[{"loss": 1.5, "name": "ä"}]'}])
def test_the_bytes_are_those_of_safetensors(tmp_path, metadata):
    tensors = _tensors()
    write_tensors(tmp_path / "ours", {name: later(each) for name, each in tensors.items()}, metadata)
    save_file({name: each.contiguous() for name, each in tensors.items()}, tmp_path / "theirs", metadata)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    found = load_file(tmp_path / "ours")
    assert all(torch.equal(found[name], each) for name, each in tensors.items())


def test_one_tensor_at_a_time_is_made(tmp_path):
    alive: list[weakref.ref[torch.Tensor]] = []
    most = 0

    def make():
        nonlocal most
        gc.collect()
        made = torch.ones(1000)
        alive.append(weakref.ref(made))
        most = max(most, sum(each() is not None for each in alive))
        return made

    write_tensors(tmp_path / "file", {str(number): Later(torch.float32, (1000,), make) for number in range(8)})
    assert len(alive) == 8
    assert most == 1
    with pytest.raises(ValueError, match="not"):
        write_tensors(tmp_path / "file", {"a": Later(torch.float32, (7,), make)})
