"""How much a ranking by `ablation` owes to the conversations that it happened to read."""

from __future__ import annotations

import sys

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import kendalltau
from torch.nn.functional import cross_entropy

from layersig.fast.head import logits_at
from layersig.models.blocks import BlockRunner
from layersig.models.load import load_model
from tests.benchmarks import world
from tests.benchmarks.harness import Table
from tests.benchmarks.world import CPU

MEASURED, LENGTH = 40, 96
"""Conversations that are read one by one, and tokens after which they are cut."""
READ = (16, 32, 64, 128)
HIGHEST, LOWEST = 9, 8
DRAWS = 2000
Floats = NDArray[np.float64]


def measured(spec: str, count: int = MEASURED) -> tuple[Floats, Floats]:
    """Rise of the loss without each block, summed over the targets of each conversation, and their number.

    Returns:
        Shapes [conversations, blocks] and [conversations].
    """
    model = load_model(world.model_folder(), dtype=torch.float32, device=CPU)
    runner, found = BlockRunner(model), world.examples(spec)
    rises, targets = [], []
    for index in np.random.default_rng(0).permutation(len(found)):
        tokens = torch.from_numpy(found[index].tokens[:LENGTH].astype(np.int64))
        places = np.flatnonzero(found[index].targets[:LENGTH])
        if len(places) == 0:
            continue
        inputs, labels = {"input_ids": tokens[None]}, tokens[places]
        with torch.no_grad(), logits_at(model, torch.from_numpy(places - 1)):
            passed = runner.run(inputs)
            ablated = [runner.resume(inputs, place + 1, passed.states[place]) for place in range(len(runner))]
        whole, *without = (float(cross_entropy(each, labels, reduction="sum")) for each in (passed.logits, *ablated))
        rises.append([loss - whole for loss in without])
        targets.append(len(places))
        sys.stderr.write(f"  {len(rises)}/{count}\n")
        if len(rises) == count:
            break
    return np.array(rises), np.array(targets, float)


def stability(rises: Floats, targets: Floats) -> Table:
    """How far two rankings of the blocks agree that read different conversations."""
    count = len(rises)
    mean = rises.sum(0) / targets.sum()
    errors = rises - mean * targets[:, None]
    spread = np.linalg.cholesky(errors.T @ errors / (count - 1) / targets.mean() ** 2)
    rng = np.random.default_rng(0)
    rows = []
    for read in READ:
        draws = mean + rng.standard_normal((DRAWS, 2, len(mean))) @ spread.T / read**0.5
        agreed = np.mean([_agreement(one, other) for one, other in draws], axis=0)
        rows.append([str(read), f"{agreed[0]:.2f}", f"{agreed[1]:.0%}", f"{agreed[2]:.0%}"])
    halves = []
    for _ in range(200):
        order = rng.permutation(count)
        one, other = (rises[part].sum(0) / targets[part].sum() for part in (order[: count // 2], order[count // 2 :]))
        halves.append(kendalltau(one, other).statistic)
    about = (
        "Two rankings of the 30 blocks of SmolLM2-135M-Instruct by `ablation`, computed from different "
        f"conversations, cut at {LENGTH} tokens: Kendall's tau, and the share of the {HIGHEST} highest and of the "
        f"{LOWEST} lowest blocks that they have in common. The default reads 16 batches: 128 conversations "
        "in batches of eight."
    )
    notes = (
        f"From the covariance of the blocks over {count} conversations, errors taken as normal. Halves of these "
        f"conversations, {count // 2} each, have a tau of {np.mean(halves):.2f} themselves.",
    )
    columns = ["conversations", "tau", f"of the {HIGHEST} highest", f"of the {LOWEST} lowest"]
    return Table("Conversations that ablation reads", about, columns, rows, notes)


def _agreement(one: Floats, other: Floats) -> tuple[float, float, float]:
    up, down = (
        len(set(np.argsort(sign * one)[:taken]) & set(np.argsort(sign * other)[:taken])) / taken
        for sign, taken in ((-1, HIGHEST), (1, LOWEST))
    )
    return float(kendalltau(one, other).statistic), up, down
