"""Pages of the reference that are made from the code: verbs, components, hooks, verdicts, errors, the public API.

As a Sphinx extension it writes them into `docs/reference/` before a build; `pages()` needs no Sphinx.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

import layersig
from layersig import analysis, errors, testing
from layersig.analysis.as_good import AsGood
from layersig.analysis.ceiling import CeilingVerdict
from layersig.analysis.sharing import SharingVerdict
from layersig.analysis.verdicts import Verdict
from layersig.cli.main import GROUPS, HELP_OPTIONS, cli
from layersig.cli.plugins import schemes
from layersig.plugin import hookspecs
from layersig.plugin.components import KINDS
from layersig.plugin.manager import built_in
from layersig.report.terminal import VERDICTS

_HERE = Path(__file__).resolve().parents[1]


def pages() -> dict[str, str]:
    """The text of every generated page by its name in `docs/reference/`."""
    parts = {
        "cli": _verbs(),
        "components": _components(),
        "hooks": _hooks(),
        "verdicts": _verdicts(),
        "python": _python(),
        "contributing": _contributing(),
    }
    return {f"{name}.md": "\n".join(lines) + "\n" for name, lines in parts.items()}


def _verbs() -> Iterator[str]:
    """Every verb with the help that `layersig VERB -h` prints."""
    yield from ("# Verbs", "", "`layersig VERB -h` prints the same.")
    for group, verbs in GROUPS.items():
        yield from ("", f"## {group}")
        for verb in verbs:
            yield from _command(cli.get_command(click.Context(cli), verb), f"layersig {verb}", 3)


def _command(command: click.Command | None, name: str, depth: int) -> Iterator[str]:
    assert command is not None, name
    # As the command line makes it: a command keeps the help option of the first context that asks for one.
    context = click.Context(
        command, info_name=name, max_content_width=100, terminal_width=100, help_option_names=HELP_OPTIONS
    )
    yield from ("", f"{'#' * depth} {name}", "", "```text", command.get_help(context), "```")
    if isinstance(command, click.Group):
        for sub in command.list_commands(context):
            yield from _command(command.get_command(context, sub), f"{name} {sub}", depth + 1)


def _components() -> Iterator[str]:
    """Every built-in scorer, policy, tuning method, objective and source."""
    yield from ("# Components", "", "`kind`, `method` or scheme. Parameters: [the recipe reference](recipe.md).")
    titles = {
        "scorer": "Scorers",
        "policy": "Policies",
        "method": "Tuning methods",
        "objective": "Objectives",
        "source": "Sources",
    }
    for kind in KINDS:
        yield from ("", f"## {titles[kind]}", "", "| name | what it is | version |", "| --- | --- | ---: |")
        known = built_in()
        for name in known.names(kind):
            component = known.get(kind, name)
            summary = " ".join(component.summary.split()).replace("|", r"\|")
            yield f"| `{name}` | {summary} | {component.version} |"
        if kind == "source":
            yield from (f"| `{scheme.name}` | {scheme.summary} | |" for scheme in schemes())


def _hooks() -> Iterator[str]:
    yield from ("# Hooks of plugins", "", "How to write a plugin: [Writing a plugin](../plugins.md).")
    for name, hook in vars(hookspecs).items():
        if name.startswith("layersig_"):
            yield from ("", f"## {name}", "", "```python", f"def {name}{inspect.signature(hook)}", "```")
            yield from ("", inspect.getdoc(hook) or "")


def _verdicts() -> Iterator[str]:
    yield from ("# Verdicts, errors and exit codes", "", "## A comparison of two arms", "")
    yield from ("| verdict | on the first screen |", "| --- | --- |")
    yield from (f"| {verdict.value} | {VERDICTS[verdict]} |" for verdict in Verdict)
    for title, verdicts in (
        ("As good as all layers?", AsGood),
        ("Do the seeds of a ranking agree?", CeilingVerdict),
        ("Do rankings share layers?", SharingVerdict),
    ):
        yield from ("", f"## {title}", "")
        yield from (f"- {verdict.value}" for verdict in verdicts)
    yield from ("", "## Errors", "", "| error | exit code | meaning |", "| --- | ---: | --- |")
    for name, error in vars(errors).items():
        if isinstance(error, type) and issubclass(error, errors.LayersigError):
            yield f"| `{name}` | {error.exit_code} | {' '.join((inspect.getdoc(error) or '').split())} |"
    yield from ("", "Statuses of runs: [the run folder](../run-folder.md#status-and-exit-codes).")


def _python() -> Iterator[str]:
    """Every public name with its docstring."""
    yield from ("# Public names", "", "With examples: [From Python](../python.md).", "", "## `layersig`")
    for name in layersig.__all__:
        if name != "__version__":
            yield from _described(name, getattr(layersig, name))
    yield from ("", "## `layersig.testing`")
    for name in testing.__all__:
        yield from _described(name, getattr(testing, name))
    yield from ("", "## `layersig.analysis`", "", "```text", inspect.getdoc(analysis) or "", "```")


def _described(name: str, value: Any) -> Iterator[str]:
    if not callable(value):
        return
    try:
        signature = str(inspect.signature(value))
    except ValueError:
        signature = "(...)"
    yield from ("", f"### {name}", "", "```text", f"{name}{signature}", "```", "", *_text(value))
    if inspect.isclass(value):
        for key, member in vars(value).items():
            if not key.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
                yield from ("", f"**{key}**", "", *_text(member))


def _text(value: Any) -> Iterator[str]:
    """A docstring as literal text: it is laid out for the eye."""
    text = inspect.getdoc(value)
    if text:
        first, _, rest = text.partition("\n\n")
        yield " ".join(first.split()).replace("<", "&lt;")
        if rest:
            yield from ("", "```text", rest, "```")


def _contributing() -> Iterator[str]:
    """CONTRIBUTING.md, which is outside of the site, with its links as from here."""
    yield (_HERE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8").replace("](docs/", "](../").rstrip()


def _write(app: Any) -> None:
    for name, text in pages().items():
        path = Path(app.srcdir) / "reference" / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _adjust(app: Any, name: str, source: list[str]) -> None:
    """Links out of the site lead to its copy of CONTRIBUTING.md, or become names of files; results are listed."""
    folder = (Path(app.srcdir) / name).parent

    def inside(link: re.Match[str]) -> str:
        target = (folder / link["path"]).resolve()
        if target == _HERE.parent / "CONTRIBUTING.md":
            return f"[{link['text']}](/reference/contributing.md{link['anchor'] or ''})"
        known = not target.exists() or (target.is_relative_to(_HERE) and target.is_file())
        return link[0] if known else f"{link['text']} (`{target.relative_to(_HERE.parent)}`)"

    source[0] = re.sub(r"\[(?P<text>[^]\n]*)\]\((?P<path>[^)#:\s]+)(?P<anchor>#[^)\s]*)?\)", inside, source[0])
    if name == "index" and (Path(app.srcdir) / "results").is_dir():
        source[0] = source[0].replace("torture\n", "torture\nresults/*\n")


def setup(app: Any) -> dict[str, bool]:
    """The hook of Sphinx."""
    from pygments.lexers.special import TextLexer

    app.add_lexer("mermaid", TextLexer)  # a picture on GitHub; drawing it here would take a network
    app.connect("builder-inited", _write)
    app.connect("source-read", _adjust)
    return {"parallel_read_safe": True}
