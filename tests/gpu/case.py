"""One case in a process of its own: `python -m tests.gpu.case NAME DEVICE [tiny]`. Prints a line of JSON a row."""

from __future__ import annotations

import json
import sys
import warnings

import torch

from layersig.models.devices import pick_device
from tests.gpu.cases import CASES
from tests.gpu.shapes import Setting
from tests.gpu.tables import Note


def main() -> None:
    name, device, *tiny = sys.argv[1:]
    warnings.simplefilter("ignore")
    torch.set_float32_matmul_precision("highest")
    for found in CASES[name].run(Setting(pick_device(device), bool(tiny))):
        line = {"note": found.text} if isinstance(found, Note) else {"row": list(found)}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
