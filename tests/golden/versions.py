"""What each stage and built-in component computes with, and its version, to be held against each other.

`python -m tests.golden.versions` accepts the present state. Do that after bumping the version of what changed its
results, or after a change that provably leaves every result as it was.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from layersig.pipeline import KINDS
from layersig.plugin.manager import built_in

ROOT = Path(__file__).parents[2]
ACCEPTED = Path(__file__).with_name("versions.json")

_ADAPTERS = ("models/adapters/*.py", "models/layermap.py", "models/isolation.py", "streams.py")
_TRAINING = (
    "training/*.py",
    "training/methods/*.py",
    "models/dense.py",
    "models/dropout.py",
    "models/kernels.py",
    "models/packing.py",
    "models/saving.py",
    "models/targets.py",
    "models/load.py",
    "data/batches.py",
    "data/examples.py",
    *_ADAPTERS,
)
_JUDGING = ("judging/asking.py", "judging/prompts.py", "judging/records.py", "judging/stages.py", "judging/verdicts.py")
SOURCES: Mapping[str, tuple[str, ...]] = {
    "layers": ("models/stages.py", "models/layermap.py", "layers.py"),
    "generate": (
        "generating/*.py",
        "probes/degeneration.py",
        "data/chat.py",
        "data/conversation.py",
        "data/rows.py",
        "data/shapes.py",
        "data/templates.py",
        "data/turns.py",
        "data/values.py",
        "data/vocabulary.py",
        "models/arm.py",
        "models/load.py",
        "models/targets.py",
        "streams.py",
    ),
    "data": ("data/*.py", "streams.py"),
    "reference": _TRAINING,
    "score": (
        "scoring/context.py",
        "scoring/stage.py",
        "scoring/block_states.py",
        "scoring/sweep.py",
        "scoring/retention.py",
        "models/blocks.py",
        "models/depth.py",
        "models/gating.py",
        "models/updates.py",
        *_TRAINING,
    ),
    "update": (
        "models/given.py",
        "models/dense.py",
        "models/load.py",
        "models/stored.py",
        "models/tensors.py",
        "models/updates.py",
        *_ADAPTERS,
    ),
    "select": ("selecting/stage.py", "selecting/context.py", "layers.py", "records.py"),
    "tune": _TRAINING,
    "graft": ("models/stages.py", "models/dense.py", "models/saving.py", *_ADAPTERS),
    "prune": (
        "pruning/surgery.py",
        "models/tokenizer_files.py",
        "models/blocks.py",
        "models/depth.py",
        "models/layermap.py",
        "models/load.py",
        "models/saving.py",
        "models/tensors.py",
        "layers.py",
    ),
    "recover": _TRAINING,
    "evaluate": (
        "evaluating/*.py",
        "evaluating/own/*.py",
        "probes/*.py",
        "sandbox/*.py",
        "generating/decoder.py",
        "generating/generation.py",
        "generating/sampling.py",
        "generating/sharing.py",
        "models/arm.py",
        "models/kernels.py",
        "models/packing.py",
        "models/targets.py",
        "models/load.py",
        *_ADAPTERS,
    ),
    "overlap": (
        "data/overlap.py",
        "data/questions.py",
        "evaluating/overlap.py",
        "evaluating/loading.py",
        "evaluating/local.py",
    ),
    "answer": (
        "judging/answering.py",
        "judging/records.py",
        "generating/*.py",
        "data/chat.py",
        "data/questions.py",
        "data/templates.py",
        "data/values.py",
        "models/arm.py",
        "models/kernels.py",
        "models/packing.py",
        "models/targets.py",
        "models/load.py",
        *_ADAPTERS,
    ),
    "grade": _JUDGING,
    "compare": _JUDGING,
}


def digest(patterns: Iterable[str]) -> str:
    """Hash of the code of files below the package; comments, docstrings and layout do not count."""
    files = sorted({path for pattern in patterns for path in (ROOT / "layersig").glob(pattern)})
    assert files, patterns
    code = "\n".join(f"{path.relative_to(ROOT).as_posix()}\n{_code(path)}" for path in files)
    return hashlib.sha256(code.encode()).hexdigest()[:16]


def _code(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [
                each for each in node.body if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
            ] or [ast.Pass()]
    return ast.dump(tree)


def present() -> dict[str, dict[str, Any]]:
    """Version and digest of every stage kind and built-in component."""
    found = {f"stage {kind}": {"version": each.version, "code": digest(SOURCES[kind])} for kind, each in KINDS.items()}
    known = built_in()
    for component in known:
        if component.kind == "source":
            continue
        loaded = known.get(component.kind, component.name)
        module = str(component.implementation).partition(":")[0].removeprefix("layersig.").replace(".", "/")
        found[f"{component.kind} {component.name}"] = {"version": loaded.version, "code": digest([f"{module}.py"])}
    return found


if __name__ == "__main__":
    ACCEPTED.write_text(json.dumps(present(), indent=1) + "\n", encoding="utf-8")
