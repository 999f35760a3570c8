"""Run the tests and measure the cases on a GPU, and write gpu.json and gpu.md: `python -m tests.gpu [HALF]`."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from pathlib import Path
from typing import Any

import torch

from tests.gpu import halves
from tests.gpu.cases import CASES
from tests.gpu.page import page


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__)
    parser.add_argument("half", nargs="?", choices=["tests", "speed"], help="which; both when none is named")
    parser.add_argument("--cases", nargs="*", choices=list(CASES), help="which of `speed`; all when none is named")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "docs")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny shapes, to see that it works")
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        sys.stderr.write("no CUDA device here, so nothing was measured and nothing was written\n")
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    kept = options.out / "gpu.json"
    machine = dict(halves.machine(options.device))
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {}
    if found.get("machine") != machine:  # figures of two machines do not share a page
        found = {"machine": machine}
    found["date"] = datetime.date.today().isoformat()

    def write() -> None:
        kept.write_text(json.dumps(found, indent=1) + "\n")
        (options.out / "gpu.md").write_text(page(found))

    failed = False
    if options.half != "speed":
        found["tests"] = halves.tested(options.device)
        failed |= found["tests"]["failed"]
        write()
    if options.half != "tests":
        for name, case in halves.measured(options.device, tiny=options.tiny, names=options.cases):
            sys.stderr.write(f"{name}: {len(case['rows'])} rows in {case.get('seconds', 0)} s\n")
            found.setdefault("cases", {})[name] = case
            failed |= case.get("failed", False)
            write()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
