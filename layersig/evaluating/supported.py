"""Kinds of lm-eval's definitions that cannot be followed here, each refused with a sentence before anything is run."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from layersig.errors import UserError
from layersig.evaluating.library import Config, root

_LENGTHS = frozenset({"max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens"})
_GREEDY = frozenset({"until", "do_sample", "temperature", "top_p", "top_k", "num_beams"}) | _LENGTHS
"""What may stand in `generation_kwargs` of any greedy decoding: ends, lengths, and what has no effect on it."""


def refusal_of(config: Config, *, fetched: bool = True) -> str | None:
    """Why a leaf task cannot be evaluated, as the rest of a sentence about it; None where it can.

    Args:
        config: Its definition, functions left as paths or imported.
        fetched: Whether its rows come from where the definition says.
    """
    if config.get("doc_to_image") or config.get("doc_to_audio"):
        return "shows images or sound, and only text is shown here"
    if config.get("unsafe_code"):
        return "runs what the model writes without confinement; score programs by the metric `passes` instead"
    if fetched and config.get("custom_dataset"):
        return "makes its rows by a function (`custom_dataset`); give its rows as `data`"
    metrics = [entry.get("metric") for entry in config.get("metric_list") or () if isinstance(entry, Mapping)]
    if metrics and all(metric == "bypass" for metric in metrics):
        return "has no metric but `bypass`, so nothing could be reported"
    if config.get("output_type", "generate_until") == "generate_until":
        settings = config.get("generation_kwargs") or {}
        if (reason := _sampled(settings)) is not None:
            return reason
    missing = sorted({module for path in _modules(config) for module in _lacks(path)})
    if missing:
        return f"imports {_listed(missing)}, not installed here; install what it needs, or leave the task out"
    return None


def floorless(config: Config) -> str | None:
    """Why `floor = true` cannot be followed for a leaf task, as the rest of a sentence about it; None where it can."""
    kind = config.get("output_type", "generate_until")
    if kind == "loglikelihood_rolling":
        return "has no floor: it scores the likelihood of complete texts, which have no question; remove `floor`"
    metrics = [entry.get("metric") for entry in config.get("metric_list") or () if isinstance(entry, Mapping)]
    if "passes" in metrics:
        return (
            "has no floor: its answers are programs, which are not run against another item's tests; leave `floor` out"
        )
    return None


def _sampled(settings: Mapping[str, Any]) -> str | None:
    temperature = float(settings.get("temperature") or 0.0)
    if settings.get("do_sample") or (settings.get("do_sample") is None and temperature > 0):
        return (
            "samples what the model writes, and a definition's own sampling is not supported; set `do_sample: false`, "
            "and `draws` with a `temperature` beside the task in the recipe"
        )
    if (settings.get("num_beams") or 1) != 1:
        return f"decodes with {settings['num_beams']} beams, and only greedy decoding is supported"
    if set(settings) <= _GREEDY:
        return None
    # It takes seconds, which few tasks need.
    from transformers import GenerationConfig

    from layersig.evaluating.decoding import settled

    try:
        settled(GenerationConfig(), {name: value for name, value in settings.items() if name not in _LENGTHS})
    except UserError as error:
        return f"cannot be answered: {error}"
    return None


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _modules(value: object) -> Iterator[Path]:
    """Python files whose functions a definition names; none once its functions are imported."""
    if isinstance(value, str) and value.startswith("/"):
        path = Path(f"{value.rpartition('.')[0]}.py")
        if path.is_file():
            yield path
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _modules(each)
    elif isinstance(value, list):
        for each in value:
            yield from _modules(each)


@cache
def _lacks(path: Path) -> frozenset[str]:
    """Modules that a Python file imports, by way of other files of the task too, and that this environment lacks.

    What an import that may fail would bring is left out, unless its failure is an error.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return frozenset()  # importing it tells more
    found: set[str] = set()
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Try) and not any(isinstance(each, ast.Raise) for each in _handling(node)):
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found.add(node.module)
            found.update(name for name in inside if _file_of(name, path.parent) is not None)
        todo += ast.iter_child_nodes(node)
    lacking = {lacked for name in found if (lacked := _missing(name, path.parent)) is not None}
    for name in found:
        file = _file_of(name, path.parent)
        if file is not None and file != path:
            lacking |= _lacks(file)
    return frozenset(lacking)


def _handling(node: ast.Try) -> Iterator[ast.AST]:
    for handler in node.handlers:
        yield from ast.walk(handler)


def _file_of(name: str, folder: Path) -> Path | None:
    """The file of a module that belongs to tasks: beside the importing one, or in lm-eval's library."""
    inside = name.removeprefix("lm_eval.tasks.")
    path = (root() if inside != name else folder).joinpath(*inside.split(".")).with_suffix(".py")
    return path if path.is_file() else None


def _missing(name: str, folder: Path) -> str | None:
    """The module, or the package around it, that is not there; None where it is.

    Submodules are looked for by their files, since Python's own search would import the packages around them.
    """
    package, *below = name.split(".")
    if (folder / f"{package}.py").is_file() or (folder / package).is_dir():
        return None
    spec = importlib.util.find_spec(package)
    if spec is None:
        return package
    places = spec.submodule_search_locations or ()
    there = not below or not places or any(any(Path(place).glob("/".join(below) + "*")) for place in places)
    return None if there else name
