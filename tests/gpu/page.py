"""docs/gpu.md: from what was measured, and from nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.benchmarks.harness import Table
from tests.gpu.cases import CASES

_HEAD = """# On a GPU

`make gpu` measures the card of a machine and writes this page. It needs no network: models of the shapes of
Llama-3.2-1B, Llama-2-7B and Llama-3.1-8B are made on the card, with random weights. It needs a card of 80 GB (by
estimate), torch 2.11 or later, pytest, and the packages that layersig needs to run, in one place or on `PYTHONPATH`;
layersig itself runs from the checkout. altair, bitsandbytes, datasets, gguf, lm-eval, rouge-score, TRL and vl-convert
may be missing: what needs them is skipped, including evaluation and one complete study.

```console
$ make gpu                       # both halves, at most ten minutes each
$ make gpu HALF=tests            # the tests marked `cuda`
$ make gpu HALF=speed            # the tables below; CASES="peak training" picks
$ make gpu OUT=/tmp/gpu          # writes gpu.md and gpu.json there instead of docs/
$ make gpu GPU_PYTHON=python3    # another Python than that of .venv
```

A case that exceeds its share of the time is cut, and its table says so. Liger's fused kernels and `torch.compile` are
not used: nothing shows yet that they would help here.
"""
_NOTHING = """
**Nothing has been measured on a GPU yet.** Without a card `make gpu` says so and changes nothing.
"""


def page(found: Mapping[str, Any]) -> str:
    """The page.

    Args:
        found: `machine`, `date`, `tests` and `cases`, as far as they have been measured.
    """
    return _HEAD + ("\n".join(_measured(found)) if found.get("tests") or found.get("cases") else _NOTHING)


def _measured(found: Mapping[str, Any]) -> Iterator[str]:
    machine = dict(found["machine"])
    if machine["device"] == "cpu":
        yield "\n**Run on a CPU with tiny shapes, to see that it works. Its figures mean nothing.**"
    yield f"\nMeasured on {found['date']}: " + ", ".join(f"{key} {value}" for key, value in machine.items()) + "."
    for name, case in CASES.items():
        if name in found.get("cases", {}):
            kept = found["cases"][name]
            yield "\n" + Table(case.title, case.about, case.columns, kept["rows"], kept["notes"]).markdown().strip()
    if "tests" in found:
        yield from _tests(found["tests"])
    yield ""


def _tests(found: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        [row["test"], row["outcome"], f"{row['seconds']:.1f}", row["message"].replace("|", "/")]
        for row in found["tests"]
    ]
    passed = sum(row["outcome"] == "passed" for row in found["tests"])
    about = f"{passed} of {len(rows)} passed in {found['seconds']} seconds."
    yield "\n" + Table("Tests", about, ("", "outcome", "seconds", "message"), rows, found["notes"]).markdown().strip()
