"""Tasks that lm-eval lacks, and replacements for its tasks that run model-written code unconfined."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layersig.evaluating import library
from layersig.evaluating.library import Config

_HERE = Path(__file__).parent
_CONTINUES = {"function": "program", "prefix": "prompt", "opened": True}
_WHOLE = {"function": "program", "opened": True}
_CODE: Mapping[str, tuple[str, Config]] = {
    "humaneval": ("humaneval", _CONTINUES),
    "humaneval_plus": ("humaneval", _CONTINUES),
    "humaneval_instruct": ("humaneval", _CONTINUES),
    "humaneval_plus_instruct": ("humaneval", _CONTINUES),
    "mbpp": ("mbpp", _WHOLE),
    "mbpp_plus": ("mbpp", _WHOLE),
    "mbpp_instruct": ("mbpp", _WHOLE),
    "mbpp_plus_instruct": ("mbpp", _WHOLE),
}

_SAME_PROMPT = {"humaneval_plus_instruct": "humaneval_instruct"}
"""Tasks that lm-eval lacks, and its own task whose prompts they have."""
_OTHER: Mapping[str, Config] = {
    "humaneval_plus_instruct": {"task": "humaneval_plus_instruct", "dataset_path": "evalplus/humanevalplus"},
}
"""What is different in them."""

_IMPORTS = "{% if test_imports is defined and is_fewshot is not defined %}{{test_imports | join('\\n')}}\n{% endif %}"


def own(name: str, *, functions: bool = True) -> Config | None:
    """The definition of a task by name, or None where lm-eval's own is to be taken.

    Of lm-eval's code tasks everything is kept (data, prompt, few-shot examples, stop strings, tests) but three things:
    the filter, so that a response that opens or leaves out a fence counts for what it says; the metric, `passes`; and
    the imports that tests of MBPP+ need and lm-eval leaves out, so that four of its own solutions fail there.

    Args:
        name: The task.
        functions: Import what `!function` names; otherwise leave its path.
    """
    path = _HERE / f"{name}.yaml"
    if path.is_file():
        return library.read(path, functions=functions)
    if name not in _CODE:
        return None
    folder, taken = _CODE[name]
    config = library.read(library.root() / folder / f"{_SAME_PROMPT.get(name, name)}.yaml") | _OTHER.get(name, {})
    config.pop("unsafe_code", None)
    config["metric_list"] = [{"metric": "passes", "aggregation": "mean", "higher_is_better": True}]
    config["filter_list"] = [{"name": "none", "filter": [dict(taken), {"function": "take_first"}]}]
    if folder == "mbpp":
        config["doc_to_target"] = _IMPORTS + config["doc_to_target"]
    fewshot = config.get("fewshot_config")
    if isinstance(fewshot, dict) and isinstance(fewshot.get("samples"), str):
        module, _, function = fewshot["samples"].rpartition(".")
        config["fewshot_config"] = {**fewshot, "samples": _alone(Path(f"{module}.py"), function)()}
    return config


def _alone(path: Path, name: str) -> Any:
    """Extract one function from a module without importing it; the import itself would download data."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    found: dict[str, Any] = {}
    exec(compile(tree, str(path), "exec"), found)
    return found[name]
