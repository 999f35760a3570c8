"""Apple's GPUs have no float64, so no tensor of a model may be widened to it where it lies."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import layersig

ROOT = Path(layersig.__file__).parent
WITH_TENSORS = ("models", "fast", "training", "generating", "evaluating", "judging", "scoring", "pruning", "planning")
ON_THE_CPU = {
    "models/fit.py",  # tensors as they are read from files
    "models/external_update.py",  # both models are loaded on the CPU
    "scoring/attribution.py",  # a sum kept on the CPU
    "generating/sampling.py",  # knows MPS, and draws on the CPU
}
"""Modules that name float64 with good reason."""


def _widened(tree: ast.AST) -> Iterator[int]:
    """Lines that make a tensor float64, unless that is one that `.cpu()` has just given."""
    compared = {id(each) for node in ast.walk(tree) if isinstance(node, ast.Compare) for each in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "double":
            on = node.func.value
            if not (isinstance(on, ast.Call) and isinstance(on.func, ast.Attribute) and on.func.attr == "cpu"):
                yield node.lineno
        elif (
            isinstance(node, ast.Attribute)
            and node.attr in ("float64", "double")
            and isinstance(node.value, ast.Name)
            and node.value.id == "torch"
            and id(node) not in compared
        ):
            yield node.lineno


def test_nothing_is_widened_to_float64_on_the_device() -> None:
    found = {
        f"{path.relative_to(ROOT).as_posix()}:{line}"
        for package in WITH_TENSORS
        for path in (ROOT / package).rglob("*.py")
        if path.relative_to(ROOT).as_posix() not in ON_THE_CPU
        for line in _widened(ast.parse(path.read_text(encoding="utf-8")))
    }
    # Tables of dtypes by name and in files, read and written, and `devices.wide`, which everything else calls.
    files = {place.rpartition(":")[0] for place in found}
    assert files == {"models/devices.py", "models/tensor_file.py", "models/tensors.py"}, found
    assert len([place for place in found if place.startswith("models/devices.py")]) == 2, found


def test_the_search_finds_what_it_looks_for() -> None:
    text = "a.double()\nb.cpu().double()\nc.to(torch.float64)\nd.dtype == torch.float64\ne.cpu().sum().double()\n"
    assert sorted(_widened(ast.parse(text))) == [1, 3, 5]
