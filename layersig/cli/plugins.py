"""`layersig plugins`."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import click

from layersig.cli.main import emit
from layersig.cli.options import as_json
from layersig.docstrings import first_sentence
from layersig.plugin.components import PLUGIN_KINDS

if TYPE_CHECKING:
    from layersig.plugin.table import Components, Plugin

_BUILT_IN = "built into layersig"
_INDENT = 4


class Entry(NamedTuple):
    """One thing that layersig or a plugin offers.

    Attributes:
        kind: One of `PLUGIN_KINDS`.
        name: Its name in recipes, on the command line, or in messages.
        origin: Who offers it.
        version: Version of the component; None for topics and trackers.
        needs: What a scorer needs.
        options: Names of its parameters; of a topic, the tables that it computes.
        summary: First sentence of its docstring.
        problem: Why it cannot be loaded; None if it can.
    """

    kind: str
    name: str
    origin: str
    version: int | None = None
    needs: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    summary: str = ""
    problem: str | None = None


@click.command("plugins")
@click.option("--kind", type=click.Choice(PLUGIN_KINDS), help="List only this kind.")
@as_json
def command(kind: str | None, as_json: bool) -> None:
    """List what recipes and the command line can name: where it comes from, its options, and what it does.

    LAYERSIG_TRACE_PLUGINS=1 before any command shows every call of a plugin.

    \b
    Examples:
      layersig plugins
      layersig plugins --kind scorer
      LAYERSIG_TRACE_PLUGINS=1 layersig run recipe.toml
    """  # noqa: D301 (click reads the \b)
    from layersig.plugin.manager import installed
    from layersig.plugin.version import API_VERSION

    known = installed()
    if kind == "topic":
        entries = list(_topics())
    else:  # the built-in topics are many, and nothing names them
        entries = [entry for each in PLUGIN_KINDS if kind in (None, each) for entry in _entries(each, known)]
    value = {
        "api": API_VERSION,
        "plugins": [plugin._asdict() for plugin in known.plugins],
        "components": [entry._asdict() for entry in entries],
        "problems": list(known.problems),
    }
    emit(value, as_json=as_json, text="\n\n".join(_text(entries, known.plugins, API_VERSION)))


def _entries(kind: str, known: Components) -> Iterator[Entry]:
    from layersig.plugin.manager import offered_topics, offered_trackers

    if kind == "topic":
        if any(offered_topics()):
            yield from (topic for topic in _topics() if topic.origin != _BUILT_IN)
    elif kind == "tracker":
        for tracker in offered_trackers():
            yield Entry(kind, tracker.name, tracker.plugin)
    else:
        if kind == "source":
            yield from schemes()
        yield from _components(kind, known)


def _topics() -> Iterator[Entry]:
    from layersig.topics.registry import all_topics

    for topic in all_topics()[0]:
        tables = tuple(table.name for table in topic.tables)
        yield Entry("topic", topic.name, topic.plugin or _BUILT_IN, options=tables)


def _components(kind: str, known: Components) -> Iterator[Entry]:
    from layersig.errors import UserError

    for component in known:
        if component.kind != kind:
            continue
        entry = Entry(kind, component.name, component.origin.label)
        try:
            loaded = known.get(component.kind, component.name)
        except UserError as error:
            yield entry._replace(problem=str(error))
            continue
        yield entry._replace(
            version=loaded.version,
            needs=tuple(sorted(loaded.needs)),
            options=tuple(loaded.params.model_fields),
            summary=first_sentence(loaded.summary),
        )


def schemes() -> Iterator[Entry]:
    """The sources that are built in."""
    from layersig.sources.resolve import LOADERS

    for scheme, loader in LOADERS.items():
        yield Entry("source", scheme, _BUILT_IN, summary=first_sentence(type(loader).__doc__ or ""))


def _text(entries: Iterable[Entry], plugins: Iterable[Plugin], api: str) -> Iterator[str]:
    """A paragraph for layersig and for every plugin."""
    by_origin: dict[str, list[Entry]] = {}
    for entry in entries:
        by_origin.setdefault(entry.origin, []).append(entry)
    heads = {plugin.label: f"{plugin.label}, plugin API {plugin.api or 'not declared'}" for plugin in plugins}
    for origin, offered in by_origin.items():
        head = heads.get(origin, f"{origin}, plugin API {api}")
        yield "\n".join([head, *(line for entry in offered for line in _lines(entry))])


def _lines(entry: Entry) -> Iterator[str]:
    about = f"cannot be loaded: {entry.problem}" if entry.problem else entry.summary
    yield _wrapped(f"{'':{_INDENT}}{entry.kind:9}{entry.name:22} ", about)
    more = {"needs": entry.needs, "tables" if entry.kind == "topic" else "options": entry.options}
    for title, names in more.items():
        if names:
            yield _wrapped(f"{'':{_INDENT + 32}}{title}: ", ", ".join(names))


def _wrapped(head: str, text: str) -> str:
    width = max(60, min(110, shutil.get_terminal_size().columns))
    return click.wrap_text(text, width, initial_indent=head, subsequent_indent=" " * (_INDENT + 34)).rstrip() or head
