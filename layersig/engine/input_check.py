"""What is wrong with the local files of a recipe, before anything is fetched, loaded or computed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layersig.errors import LayersigError, UserError
from layersig.recipe.faults import Fault, error
from layersig.recipe.load import LoadedRecipe
from layersig.recipe.positions import KeyPath
from layersig.recipe.schema import DataSettings, TrainSettings
from layersig.sources.files import check_model_folder, check_update_folder

if TYPE_CHECKING:
    from jinja2 import Environment

    from layersig.data.rows import Rows

_LARGEST = 32 * 2**20
"""Largest data file that is read, in bytes: it takes a second or two."""
_HUB_NAME = re.compile(r"hub:[\w.\-]+(/[\w.\-]+)?([:@].*)?")
"""A repository, perhaps with a configuration and a revision; the hub itself refuses some of these."""
_TRAINING_MARKS = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")
"""Marks that transformers adds to Jinja's language."""


def check_inputs(loaded: LoadedRecipe) -> list[str]:
    """Check that local files and folders are there, and that small data files give something to train on.

    Returns:
        What the user should know, such as fields that are not used.

    Raises:
        UserError: The recipe cannot run; the message lists every fault.
    """
    faults, notes = [*_unfindable(loaded), *_unusable(loaded)], [*recipe_notes(loaded)]
    text = _template_text(loaded)
    template = _template(text)
    faults += template
    pairs = "pairs" in loaded.components.get("objective", loaded.recipe.train.objective).reads
    for number, data in enumerate(loaded.recipe.data):
        scheme, path = _local(loaded, data.source)
        if scheme != "file" or not path.is_file() or path.stat().st_size > _LARGEST:
            continue
        try:
            rows = _read(path, data, pairs=pairs)
        except LayersigError as problem:
            first, *more = str(problem).splitlines()
            faults.append(Fault(("data", number, "source"), f"data {data.name}: {first}", more=more))
            continue
        notes += [f"{loaded.where('data', number, 'source')}: data {data.name}: {note}" for note in rows.notes()]
        faults += _too_few(number, data, rows, loaded.recipe.root_seed)
        if not template:
            faults += _refused(loaded, text, number, rows)
    if faults:
        raise _error(loaded, faults)
    if loaded.recipe.model.device_map is not None:
        from layersig.engine.preflight import check_spreading
        from layersig.pipeline import stages

        check_spreading(stages(loaded.recipe, loaded.components), loaded)
    return notes


def check_files(loaded: LoadedRecipe) -> None:
    """Check that the local files and folders that a recipe names are there, and that names on the hub can be names.

    Raises:
        UserError: Some are not; the message lists all of them.
    """
    if faults := list(_unfindable(loaded)):
        raise _error(loaded, faults)


def _error(loaded: LoadedRecipe, faults: Iterable[Fault]) -> UserError:
    return error([replace(fault, path=loaded.expanded.as_written(fault.path)) for fault in faults], loaded.origins)


def _unfindable(loaded: LoadedRecipe) -> Iterator[Fault]:
    """Faults of files and folders that are not there, of names that no repository has, and without a fallback."""
    recipe = loaded.recipe
    places: list[tuple[KeyPath, str]] = []
    if recipe.model.fallback is None:
        places.append((("model", "source"), recipe.model.source))
    if recipe.update is not None:
        places.append((("update", "source"), recipe.update.source))
    places += [(("data", n, "source"), each.source) for n, each in enumerate(recipe.data) if each.fallback is None]
    places += [
        (("arms", n, "checkpoint"), arm.checkpoint) for n, arm in enumerate(recipe.arms) if arm.checkpoint is not None
    ]
    for path, source in places:
        scheme, found = _local(loaded, source)
        if scheme == "path" and not found.is_dir():
            yield Fault(path, f"there is no folder {found}; a path starts from the folder of the recipe")
        elif scheme == "file" and not found.is_file():
            why = f"{found} is a folder; name a file in it" if found.is_dir() else f"there is no file {found}"
            yield Fault(path, f"{why}; a path starts from the folder of the recipe")
        elif scheme == "hub" and not _HUB_NAME.fullmatch(source):
            yield Fault(path, f"{source} cannot be the name of a repository; write hub:OWNER/NAME, as in its address")


def _unusable(loaded: LoadedRecipe) -> Iterator[Fault]:
    """Faults of folders that are there, and hold no model or update."""
    update = loaded.recipe.update
    checks: list[tuple[KeyPath, str | None, Callable[[Path], object]]] = [
        (("model", "source"), loaded.recipe.model.source, check_model_folder),
        (("update", "source"), None if update is None else update.source, check_update_folder),
        *(
            (("arms", number, "checkpoint"), arm.checkpoint, check_model_folder)
            for number, arm in enumerate(loaded.recipe.arms)
        ),
    ]
    for path, source, check in checks:
        scheme, folder = _local(loaded, source or "")
        if scheme != "path" or not folder.is_dir():
            continue
        try:
            check(folder)
        except UserError as problem:
            yield Fault(path, str(problem))


def recipe_notes(loaded: LoadedRecipe) -> Iterator[str]:
    """What the user should know of a recipe, whatever its files hold."""
    yield from _unmeasured(loaded)
    yield from _own_grafts(loaded)
    yield from _twins(loaded)
    yield from _default_rates(loaded)


def _unmeasured(loaded: LoadedRecipe) -> Iterator[str]:
    """A note where arms are trained, or measurements are asked for, and nothing is measured."""
    recipe, evaluate = loaded.recipe, loaded.recipe.evaluate
    asked = [key for key in ("heldout", "all_layers") if key in evaluate.model_fields_set and getattr(evaluate, key)]
    # A resolved recipe has every key with a default, whether it was asked for or not.
    usual = {key for key, field in type(evaluate).model_fields.items() if field.default is not None}
    if asked and not recipe.measures and not usual <= evaluate.model_fields_set:
        yield (
            f"{loaded.where('evaluate', asked[0])}: evaluate.{asked[0]} = true measures nothing without [[arms]] or "
            "evaluate.tasks; add some, or remove it"
        )
    measured = evaluate.heldout and any(data.heldout for data in recipe.data)
    if recipe.arms and not (measured or evaluate.tasks or evaluate.conversations):
        yield (
            f"{loaded.where('evaluate')}: the arms are trained, and nothing is measured on them; "
            "set evaluate.heldout = true, or give evaluate.tasks"
        )


def _own_grafts(loaded: LoadedRecipe) -> Iterator[str]:
    """A note where grafts keep another update than the one that layers are ranked by."""
    recipe = loaded.recipe
    if recipe.update is not None and any(arm.action == "graft" for arm in recipe.arms):
        yield (
            f"{loaded.where('update')}: scorers read the update of [update], and grafts keep that of the reference "
            "training of [train]"
        )


def _twins(loaded: LoadedRecipe) -> Iterator[str]:
    """A note on every arm that is another one by a second name."""
    seen: dict[str, str] = {}
    for number, arm in enumerate(loaded.recipe.arms):
        first = seen.setdefault(arm.model_copy(update={"name": ""}).model_dump_json(), arm.name)
        if first != arm.name:
            where = loaded.where("arms", number, "name")
            yield f"{where}: arm {arm.name} is {first} by another name: their results will be identical"


def _default_rates(loaded: LoadedRecipe) -> Iterator[str]:
    """A note on every method and objective for which the default learning rate is far too high, where none is given."""
    recipe = loaded.recipe
    shared = recipe.train
    if "learning_rate" in shared.model_fields_set or (shared.search is not None and shared.search.learning_rates):
        return
    trainings: list[tuple[KeyPath, Mapping[str, Any], TrainSettings]] = [(("train",), {}, shared)]
    for name, choice in recipe.scorers.items():
        trainings.append((("scorers", name, "train"), choice.train, recipe.training_of(choice)))
    for number, arm in enumerate(recipe.arms):
        keys = arm.train if arm.recover is None else arm.recover
        place = ("arms", number, "train" if arm.recover is None else "recover")
        trainings.append((place, keys, recipe.training_of(arm)))
    told: set[str] = set()
    for path, own, settings in trainings:
        whole = settings.method == "full"
        pairs = "pairs" in loaded.components.get("objective", settings.objective).reads
        for key, lower in (("method", whole), ("objective", pairs)):
            value = getattr(settings, key)
            if lower and "learning_rate" not in own and value not in told:
                told.add(value)
                yield (
                    f'{loaded.where(*path, key)}: {key} = "{value}" with the default learning_rate, '
                    f"{settings.learning_rate:g}, which is one for LoRA on responses; a tenth of it or less is usual "
                    "here, so set it, or give [train.search] learning_rates"
                )


def _local(loaded: LoadedRecipe, source: str) -> tuple[str, Path]:
    scheme, _, reference = source.partition(":")
    # Path.expanduser raises where there is no such user.
    return scheme, loaded.base_dir / os.path.expanduser(reference)  # noqa: PTH111


def _read(path: Path, data: DataSettings, *, pairs: bool) -> Rows:
    from layersig.data.rows import read_rows

    return read_rows(
        path,
        group_by=data.group_by,
        fields=None if data.fields is None else data.fields.model_dump(),
        prompts=data.generate is not None,
        pairs=pairs,
        where={key: (value,) if isinstance(value, str) else value for key, value in data.where.items()},
    )


def _too_few(number: int, data: DataSettings, rows: Rows, root_seed: int) -> Iterator[Fault]:
    """A fault where nothing, or too little, is left to train on."""
    from layersig.data.split import split_conversations

    try:
        split_conversations(
            rows.conversations,
            heldout=data.heldout,
            limit=data.limit,
            half=data.half,
            train_limit=data.train_limit,
            root=root_seed,
        )
    except UserError as problem:
        yield Fault(("data", number), f"data {data.name}: {problem}")


def _template_text(loaded: LoadedRecipe) -> str:
    """The chat template of the recipe, or that of a local model; empty if it is not known before the run."""
    choice = loaded.recipe.model.chat_template
    if choice != "auto":
        return choice if "{" in choice else ""
    scheme, folder = _local(loaded, loaded.recipe.model.source)
    if scheme != "path":
        return ""
    try:
        if (own := folder / "chat_template.jinja").is_file():
            return own.read_text(encoding="utf-8")
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        text = config.get("chat_template")
    except (OSError, ValueError, AttributeError):  # the run says what is wrong with the files of the model
        return ""
    return text if isinstance(text, str) else ""


def _template(text: str) -> list[Fault]:
    """The fault of a chat template that is no Jinja."""
    if not text:
        return []
    from jinja2 import TemplateSyntaxError

    try:
        _environment().parse(_TRAINING_MARKS.sub("", text))
    except TemplateSyntaxError as problem:
        return [Fault(("model", "chat_template"), f"line {problem.lineno} of the template: {problem.message}")]
    return []


def _refused(loaded: LoadedRecipe, text: str, number: int, rows: Rows) -> Iterator[Fault]:
    """A fault where the chat template refuses the first conversation.

    Turns of the system are left out: where a template refuses them, they are merged into the first question.
    """
    if not text:
        return
    first = rows.conversations[0]
    messages = [
        {"role": message.role, "content": message.content} for message in first.messages if message.role != "system"
    ]
    try:
        template = _environment().from_string(_TRAINING_MARKS.sub("", text))
        template.render(messages=messages, add_generation_prompt=False, bos_token="", eos_token="")
    except _RefusedError as problem:
        message = (
            f"the template refuses the conversation of row {rows.numbers[0]} of data {loaded.recipe.data[number].name}"
        )
        yield Fault(("model", "chat_template"), f"{message}: {problem}")
    except Exception:  # it may need more than is at hand without the tokenizer: the run will tell
        return


class _RefusedError(Exception):
    """A template called `raise_exception`."""


def _environment() -> Environment:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise _RefusedError(message)

    found = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    found.globals["raise_exception"] = refuse
    return found
