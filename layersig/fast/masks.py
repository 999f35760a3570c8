"""Who attends to whom in rows of token trees, made on the device from a few numbers of every run of tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from layersig.fast.sharing import Row


def ancestors(rows: Sequence[Row], width: int, behind: int, device: torch.device) -> Tensor:
    """Who attends to whom: each token to the trunk, to its ancestors and to itself.

    A token sees the runs on its way to the root, each up to the token where the way leaves it. So the host says for
    every two runs of a row how far one sees into the other, and the device does the rest for every two tokens.

    Args:
        rows: Rows of a batch.
        width: Tokens that they are padded to. Padding attends to itself: a softmax over nothing would be NaN, and NaN
            times a weight of zero is NaN.
        behind: Tokens of the trunk.
        device: Where the mask is made.

    Returns:
        Booleans, shape [rows, width, behind + width].
    """
    most = 1 + max(len(row.segments) for row in rows)
    owners = np.zeros((len(rows), width), np.int64)  # padding belongs to run 0, which sees nothing
    counted = np.int16 if width < 2**15 else np.int32
    reaches = np.full((len(rows), most, most), -1, counted)
    for owner, reach, row in zip(owners, reaches, rows, strict=True):
        for number, (start, stop, parent) in enumerate(row.segments, 1):
            if parent >= 0:
                reach[number] = reach[owner[parent]]
                reach[number, owner[parent]] = parent
            reach[number, number] = width
            owner[start:stop] = number
    of, seen = torch.from_numpy(owners).to(device), torch.from_numpy(reaches).to(device)
    seen = seen.gather(1, of[:, :, None].expand(-1, -1, most)).gather(2, of[:, None, :].expand(-1, width, -1))
    places = torch.arange(width, device=device, dtype=seen.dtype)
    allowed = torch.ones(len(rows), width, behind + width, dtype=torch.bool, device=device)
    own = allowed[:, :, behind:]
    torch.le(places, torch.minimum(seen, places[:, None]), out=own)
    own |= torch.eye(width, dtype=torch.bool, device=device)
    return allowed


def key_depths(depths: Tensor, behind: int) -> Tensor:
    """Positions of the keys, those of the trunk first: [rows, behind + width]."""
    return torch.cat([torch.arange(behind, device=depths.device).expand(depths.shape[0], -1), depths], dim=1)
