"""What stands in for removed blocks: a linear map at each cut, by least squares, and the stage that fits it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from layersig.data.batches import optimizer_batches
from layersig.data.examples import Example, read_examples
from layersig.layers import LayerMap
from layersig.models.blocks import BlockRunner
from layersig.models.devices import wide
from layersig.models.load import borrow_model
from layersig.models.patches import write_patches
from layersig.stages.job import Job
from layersig.stages.kinds import Patch
from layersig.store.files import link_or_copy, whole_folder


@dataclass(frozen=True, slots=True)
class Cut:
    """A run of removed blocks.

    Attributes:
        first: Number of its first block.
        behind: Number of the first block behind it; the number of blocks where it is at the end.
        place: What that number is once the blocks are gone.
    """

    first: int
    behind: int
    place: int


def patch(job: Job[Patch]) -> None:
    """Fit the maps on training examples and put them next to the pruned weights; see `Patch`."""
    layers = LayerMap.from_json(job.read("layers", "layers.json"))
    removed = {layers.blocks.index(name) for name in job.read("all", "pruned.json")["removed"]}
    cuts = list(cuts_of(removed, len(layers.blocks)))
    examples = read_examples(job.inputs["data"], "train")
    count = min(job.spec.examples, len(examples))
    drawn = [index for (index,) in optimizer_batches(examples, batch_size=1, steps=count, streams=job.streams)]
    job.reporter.start("states", len(drawn), "example")
    fits = [LeastSquares() for _ in cuts]
    with borrow_model(job.inputs["base"], **job.spec.loading) as model:
        for index in drawn:
            _add(model, examples[index], cuts, fits)
            job.reporter.advance(1, tokens=len(examples[index]))
    job.cost["tokens"] = sum(len(examples[index]) for index in drawn)
    with whole_folder(job.out / "model") as folder:
        for file in job.inputs["model"].iterdir():
            # The configuration is changed below, and a link would reach into the pruned checkpoint.
            put = shutil.copyfile if file.name == "config.json" else link_or_copy
            put(file, folder / file.name)
        write_patches(folder, {cut.place: fit.solution().float() for cut, fit in zip(cuts, fits, strict=True)})


def cuts_of(removed: set[int], depth: int) -> Iterator[Cut]:
    """The runs of removed blocks, from the first."""
    for first in sorted(number for number in removed if number - 1 not in removed):
        behind = next(number for number in range(first, depth + 1) if number not in removed)
        yield Cut(first, behind, first - sum(number < first for number in removed))


class LeastSquares:
    """W with the smallest |X W - (Y - X)|, for rows of X and Y that are added bit by bit; [width, width] in float64.

    Rows are kept as the triangle of a QR decomposition, which loses no more precision than the whole matrix would.
    Where they do not span the space, W is the smallest solution: what was never seen is handed on as it is.
    """

    def __init__(self) -> None:
        self._kept: list[Tensor] = []

    def add(self, before: Tensor, behind: Tensor) -> None:
        """Take in states in front of a cut and behind it, [tokens, width] each."""
        rows = torch.cat([wide(before), wide(behind) - wide(before)], dim=1).cpu()
        self._kept.append(rows)
        if sum(map(len, self._kept)) > 3 * rows.shape[1]:
            self._kept = [torch.linalg.qr(torch.cat(self._kept), mode="r").R]

    def solution(self) -> Tensor:
        """W."""
        rows = torch.cat(self._kept)
        width = rows.shape[1] // 2
        solution: Tensor = torch.linalg.lstsq(rows[:, :width], rows[:, width:], driver="gelsd").solution
        return solution


def _add(model: PreTrainedModel, example: Example, cuts: Sequence[Cut], fits: Sequence[LeastSquares]) -> None:
    tokens = torch.tensor(example.tokens, dtype=torch.long, device=model.device)
    with torch.no_grad():
        states = BlockRunner(model).run({"input_ids": tokens[None]}).states
    for cut, fit in zip(cuts, fits, strict=True):
        fit.add(states[cut.first][0], states[cut.behind][0])
