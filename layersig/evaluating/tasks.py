"""From a task of the recipe to its rows on this machine, pinned by content. Imports lm-eval only where it must."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from layersig.errors import MachineError, UserError, one_line
from layersig.sources.entries import hash_files, whole_entry
from layersig.sources.resolve import resolve
from layersig.sources.source import NamedSource, Request, Source, SourceLoader
from layersig.store.hashing import digest_of, sha256_bytes, sha256_json

LocalData = str | Mapping[str, str]

LAYOUT_VERSION = 1
"""Part of the cache key: bump it when the folders that hold a task's rows change."""

USER_VERSION = 3
"""Part of the digest of users' tasks: bump it when more of their definition is recorded than before."""


def resolve_task(
    spec: str, fallback: str | None, request: Request, *, strict: bool = False, data: LocalData | None = None
) -> Source:
    """Fetch what a task shows, and say where it lies and what its digest is.

    The digest covers lm-eval's version, the definition and the rows. Few-shot examples and the choice of items are
    parameters of the stage, not part of it.

    Args:
        spec: lm-eval's name of a task or group (rows from the hub), `pypi:NAME` (embedded rows), or `file:X.yaml`.
        fallback: `pypi:NAME`: when the hub cannot be reached, and only then, these embedded rows stand in.
        request: How it may be fetched.
        strict: Forbid the fallback.
        data: `file:X.jsonl` with the rows to score of a task by name, or files by split; nothing is fetched then.

    Returns:
        A source whose `path` `load_task` reads: a folder of rows, or the YAML file.

    Raises:
        UserError: No such task, a broken definition, a missing file.
        MachineError: The rows cannot be reached.
    """
    if data is not None:
        if ":" in spec:
            raise UserError(f"evaluate.tasks: `data` goes with a task by name; {spec} says itself where its rows are")
        return _local(spec, data, request)
    if spec.startswith("file:"):
        return _user(spec, request)
    if spec.startswith("pypi:"):
        return _pinned(resolve(spec, "benchmark", request))
    if ":" in spec:
        raise UserError(f"evaluate.tasks: {spec!r} is not a task; write lm-eval's name, pypi:NAME or file:X.yaml")
    try:
        return _hub(spec, request)
    except MachineError as error:
        if fallback is None:
            raise
        if strict:
            raise MachineError(f"{error}; --strict forbids its embedded fallback {fallback}") from error
        try:
            source = resolve_task(fallback, None, request)
        except (UserError, MachineError) as second:
            raise MachineError(f"{error}; its fallback cannot be reached either: {second}") from second
        why = f"{spec} was not used: {error}. The embedded {fallback} is used instead"
        return replace(source, spec=spec, label=f"{spec}>{fallback}", fallback=True, notes=(why, *source.notes))


def resolve_wanted_task(
    wanted: NamedSource, request: Request, *, strict: bool, loaders: Mapping[str, SourceLoader]
) -> Source:
    """The `Resolver` of tasks: `resolve_task`, which uses built-in loaders only."""
    return resolve_task(wanted.spec, wanted.fallback, request, strict=strict, data=wanted.rows)


def _pinned(source: Source) -> Source:
    return replace(source, digest=sha256_json({"lm_eval": _lm_eval_version(), "rows": source.digest}))


def _user(spec: str, request: Request) -> Source:
    from layersig.evaluating import definitions
    from layersig.evaluating.loading import check_user_task

    path = (request.base_dir / spec.removeprefix("file:")).resolve()
    if not definitions.is_definition(path):
        raise UserError(f"evaluate.tasks: {spec!r} is not an lm-eval task; its name must end in .yaml")
    now = partial(_user_digest, path)
    digest = now(request.cache)
    check_user_task(path)
    return Source(spec, f"file:{path}", path.stem, "benchmark", path, None, digest, None, digest_now=now)


def _user_digest(path: Path, cache: Path) -> str:
    """The digest of a user's task: of its definition, the code beside it and its rows."""
    from layersig.evaluating import definitions

    configs = definitions.user(path, functions=False)
    definition, folders = _text(path, configs), _folders(path)
    files = {path, *_code(definition, folders), *_rows(path, configs)}
    # Where the folders lie says nothing, but how they lie to one another; the innermost first.
    for folder in sorted(folders, key=lambda each: -len(each.parts)):
        definition = definition.replace(_begun(folder), f'"{_from(path, folder)}/')
    content = {
        "version": USER_VERSION,
        "lm_eval": _lm_eval_version(),
        "definition": sha256_bytes(definition.encode()),  # includes are merged into it
        "files": hash_files(cache, {_from(path, file): file for file in files}),
    }
    return sha256_json(content)


def task_files(path: Path) -> set[Path]:
    """Every file that a user's task is made of: definitions, functions, rows.

    Args:
        path: Its YAML file; `resolve_task` has read it before.
    """
    from layersig.evaluating import definitions

    configs = definitions.user(path, functions=False)
    return {*definitions.files_of(path), *_code(_text(path, configs), _folders(path)), *_rows(path, configs)}


def _text(path: Path, configs: Sequence[Mapping[str, Any]]) -> str:
    """The leaf tasks of a definition as one text, in which functions stand with their folder."""
    try:
        return json.dumps(configs, sort_keys=True, default=str, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: its values are no plain YAML ({one_line(error)}); write them out") from error


def _code(definition: str, folders: Set[Path]) -> set[Path]:
    """The Python files in those folders of YAML files that name functions, and in the folders of the functions.

    Whatever the functions import may lie beside them. Without any, Python files that happen to be there, such as a
    plugin of the recipe, are none of its business.
    """
    found: set[Path] = set()
    for folder in folders:
        modules = re.findall(rf'{re.escape(_begun(folder))}([^"]*)\.\w+"', definition)
        homes = {folder / Path(module.replace(".", "/")).parent for module in modules}
        found.update(file for home in ({folder, *homes} if modules else ()) for file in home.glob("*.py"))
    return found


def _folders(path: Path) -> set[Path]:
    """The folders of the YAML files that a definition is made of."""
    from layersig.evaluating import definitions

    return {file.resolve().parent for file in definitions.files_of(path)}


def _begun(folder: Path) -> str:
    """How a string that begins with a folder begins in JSON."""
    return json.dumps(f"{folder}/", ensure_ascii=False)[:-1]


def _from(path: Path, other: Path) -> str:
    """Where a file or folder lies, seen from a definition."""
    return Path(os.path.relpath(other, path.parent)).as_posix()


def _rows(path: Path, configs: Sequence[Mapping[str, Any]]) -> Iterator[Path]:
    from layersig.evaluating.rows import declared_files

    for config in configs:
        for paths in declared_files(dict(config), path.parent).values():
            yield from paths


def _hub(name: str, request: Request) -> Source:
    def build(folder: Path) -> None:
        if request.offline:
            raise MachineError(
                f"the task {name} is not in the cache and --offline forbids fetching it; "
                "run `layersig fetch RECIPE` once with a network"
            )
        from layersig.evaluating import definitions
        from layersig.evaluating.loading import check_fetched_task
        from layersig.evaluating.rows import hub_splits, save_splits

        for config in definitions.named(name):
            save_splits(hub_splits(config), folder / config["task"])
        check_fetched_task(name, folder)

    key = f"{name}-lm-eval-{_lm_eval_version()}-{LAYOUT_VERSION}"
    entry = whole_entry(request.cache, "tasks", key, build, origin={"task": name}, warn=request.warn)
    digest = digest_of({**_definition(name), "rows": entry.digest})
    return Source(name, f"lm-eval:{name}", name, "benchmark", entry.path, _lm_eval_version(), digest, None)


def _local(name: str, data: LocalData, request: Request) -> Source:
    from layersig.evaluating import definitions

    configs = definitions.named(name, functions=False)
    if len(configs) > 1:
        raise UserError(f"evaluate.tasks: {name} is a group of {len(configs)} tasks; give `data` to one task at a time")
    [config] = configs
    scored = config.get("test_split") or config.get("validation_split")
    files: dict[str, Path] = {}
    for split, spec in ({scored: data} if isinstance(data, str) else data).items():
        path = (request.base_dir / spec.removeprefix("file:")).resolve()
        if path.suffix not in {".jsonl", ".parquet"} or not path.is_file():
            raise UserError(f"{path}: no such file of rows for the task {name}; a .jsonl or .parquet file is needed")
        files[f"{config['task']}/{split}{path.suffix}"] = path
    hashes = hash_files(request.cache, files)

    def build(folder: Path) -> None:
        from layersig.evaluating.loading import check_fetched_task

        for target, path in files.items():
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / target)
        check_fetched_task(name, folder)

    key = f"{name}-local-{digest_of(hashes)[:16]}-{LAYOUT_VERSION}"
    entry = whole_entry(request.cache, "tasks", key, build, origin={"task": name}, warn=request.warn)
    digest = digest_of({**_definition(name), **hashes})
    used = ", ".join(f"file:{path}" for path in files.values())
    return Source(name, f"{name} on {used}", name, "benchmark", entry.path, None, digest, None)


def _definition(name: str) -> dict[str, str]:
    """What the definition of a task by name depends on: lm-eval's version, and the file of a task of ours."""
    own = Path(__file__).with_name("own") / f"{name}.yaml"
    return {"lm_eval": _lm_eval_version(), **({"own": sha256_bytes(own.read_bytes())} if own.is_file() else {})}


def _lm_eval_version() -> str:
    return importlib.metadata.version("lm_eval")
