"""How this process was started: alone, or as one of several by `torchrun`, `accelerate launch` or the like."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from layersig.errors import UserError

_NAMES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, slots=True)
class Launch:
    """One of several processes.

    Attributes:
        rank: Its number among all, from 0.
        size: How many there are.
        local_rank: Its number on this machine.
    """

    rank: int
    size: int
    local_rank: int

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Launch | None:
        """What a launcher has put into the environment; None for a single process.

        Raises:
            UserError: Something that a launcher sets is missing.
        """
        size = environment.get("WORLD_SIZE", "1")
        if "RANK" not in environment or size == "1":
            return None
        missing = [name for name in _NAMES if name not in environment]
        if missing:
            raise UserError(
                f"WORLD_SIZE is {size}, but {', '.join(missing)} is not set; start the processes with `torchrun "
                "--no-python --nproc-per-node N layersig run RECIPE`, or unset WORLD_SIZE"
            )
        return cls(int(environment["RANK"]), int(size), int(environment.get("LOCAL_RANK", environment["RANK"])))

    def take_card(self, environment: MutableMapping[str, str] = os.environ) -> None:
        """Let this process see one GPU of the machine: that of its local number. To be called before CUDA starts.

        Raises:
            UserError: There are GPUs, but fewer than processes.
        """
        cards = visible_cards(environment)
        if not cards:
            return
        if self.local_rank >= len(cards):
            raise UserError(
                f"process {self.local_rank + 1} of this machine finds {len(cards)} GPUs; start as many processes as "
                "there are GPUs, or, to compute on the CPU, set CUDA_VISIBLE_DEVICES to nothing"
            )
        environment["CUDA_VISIBLE_DEVICES"] = cards[self.local_rank]
        environment["LOCAL_RANK"] = "0"  # by which torch chooses among the GPUs that it sees


def visible_cards(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(name.strip() for name in visible.split(",") if name.strip() not in ("", "-1"))
    import torch

    # By the driver's own count, so that CUDA has not started when the variable is set.
    return tuple(str(number) for number in range(torch.cuda.device_count()))
