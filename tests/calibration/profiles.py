"""Score profiles of a real model, and how they were taken from a run: ``python -m tests.calibration.profiles RUN``."""

import json
import sys
from pathlib import Path

import numpy as np

from layersig.analysis.results import FloatArray

_FILE = Path(__file__).with_name("profiles.json")
_ABOUT = (
    "Scores of SmolLM2-135M-Instruct, 30 blocks x 7 module types in the order of the forward pass, rounded to 4 "
    "digits; made by profiles.toml and profiles.py."
)


def real_profiles() -> dict[str, FloatArray]:
    """Scores by scorer, shape (30, 7) each."""
    stored = json.loads(_FILE.read_text(encoding="utf-8"))
    return {name: np.array(scores).reshape(stored["blocks"], -1) for name, scores in stored["profiles"].items()}


def main(run: Path) -> None:
    """Write the profiles of a run of ``profiles.toml``."""
    lines = [json.loads(line) for line in (run / "scores.jsonl").read_text(encoding="utf-8").splitlines()]
    profiles = {line["scorer"]: [float(f"{score:.4g}") for score in line["scores"].values()] for line in lines}
    rows = ",\n".join(f'  "{name}": {json.dumps(scores)}' for name, scores in profiles.items())
    head = f'{{\n "about": {json.dumps(_ABOUT)},\n "blocks": 30,\n "profiles": {{\n'
    _FILE.write_text(f"{head}{rows}\n }}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
