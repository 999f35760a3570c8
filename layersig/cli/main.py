"""`layersig`: the group of verbs, how they are loaded, and how errors are shown."""

from __future__ import annotations

import contextlib
import importlib
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from difflib import get_close_matches
from types import FrameType
from typing import Any

import click

from layersig import __version__
from layersig.errors import LayersigError, MachineError, machine_error

HELP_OPTIONS = ["-h", "--help"]
# group -> verb -> its line in `--help`; the module of a verb is imported only when it is called
GROUPS = {
    "Start": {
        "recipes": "List, show or copy the recipes that come with layersig.",
        "init": "Write a commented recipe for your data.",
        "advise": "Recommend which layers to tune on your data, without a recipe.",
        "layers": "Show the layers of a model.",
        "doctor": "Check this machine.",
    },
    "Run a recipe": {
        "validate": "Check recipes and report every fault at once.",
        "plan": "Show what a recipe costs on this machine, and what it can detect.",
        "fetch": "Download everything a recipe needs, for --offline.",
        "run": "Run a recipe; finished stages are not run again.",
    },
    "Look at runs": {
        "runs": "List the runs.",
        "status": "Show the progress of a run.",
        "show": "Show the answer of a run.",
        "open": "Open the report of a run in the browser.",
        "report": "Rebuild the report of a run.",
        "compare": "Compare arms, also across runs and recipes.",
        "rm": "Delete a run, after asking.",
        "clean": "Show what the cache holds, and free what no run needs, after asking.",
    },
    "Use the results": {
        "export": "Write an arm as a checkpoint, an adapter, or the configuration of a training tool.",
        "archive": "Pack a run for a reviewer: recipe, records, report, and how to repeat it.",
        "check": "Show what published numbers can mean: an overlap, or two accuracies.",
    },
    "Extend": {
        "new-plugin": "Write the package of a plugin: code, tests, README, CI and a recipe.",
        "plugins": "List what recipes can name: scorers, policies, methods, ..., and their options.",
        "schema": "Print the JSON schema of recipes, for editors.",
    },
}
VERBS = {verb: line for verbs in GROUPS.values() for verb, line in verbs.items()}
# what people type -> the verb, where spelling does not lead there
_SYNONYMS = {
    "ls": "runs",
    "list": "runs",
    "new": "init",
    "create": "init",
    "dry-run": "plan",
    "check-recipe": "validate",
    "lint": "validate",
    "train": "run",
    "start": "run",
    "resume": "run",
    "cache": "clean",
    "prune": "clean",
    "gc": "clean",
    "delete": "rm",
    "remove": "rm",
    "view": "open",
    "result": "show",
    "results": "show",
    "map": "layers",
    "download": "fetch",
    "merge": "export",
    "recommend": "advise",
    "suggest": "advise",
    "pack": "archive",
    "examples": "recipes",
    "scorers": "plugins",
}


# options of other programs -> what to say
_HINTS = {
    "--dry-run": "`layersig plan RECIPE` shows what a run would do",
    "--resume": "`layersig run RECIPE` continues where it stopped",
    "--verbose": "`--debug` shows tracebacks, LAYERSIG_TRACE_PLUGINS=1 the calls of plugins",
    "--quiet": "progress goes to stderr; `2> FILE` keeps it out of the way",
    "--output-dir": "`--runs FOLDER` is the folder of all runs",
    "--install-completion": "docs/terminal.md has the line for your shell",
}


class Verbs(click.Group):
    """Loads a verb's module when the verb is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Verbs in the order of a user's journey."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a verb."""
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"layersig.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb that the arguments begin with; for an unknown one, the error has a suggestion."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = get_close_matches(args[0].lower(), [*VERBS, *_SYNONYMS], n=1)
            if not near:
                raise
            close = _SYNONYMS.get(near[0], near[0])
            raise click.UsageError(f"{error.message.rstrip('.')}, did you mean '{close}'?", error.ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of verbs by group, without importing any of them."""
        width = max(map(len, VERBS))
        for group, verbs in GROUPS.items():
            with formatter.section(group):
                formatter.write_dl([(f"{verb:{width}}", line) for verb, line in verbs.items()])


@click.group(cls=Verbs, context_settings={"help_option_names": HELP_OPTIONS, "max_content_width": 110})
@click.version_option(__version__, "-V", "--version", prog_name="layersig")
@click.option(
    "--debug", is_flag=True, expose_value=False, help="Show the traceback of errors; may also follow the verb."
)
def cli() -> None:
    """Find out which layers matter when a language model is fine-tuned, and prove it.

    Example: layersig run quickstart
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with the documented code (docs/run-folder.md)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments  # before the verb or behind it
    arguments = [each for each in arguments if each != "--debug"]
    # On import it warns about missing optional kernels, which layersig does not use.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        with _interrupted_by("SIGTERM", "SIGHUP"):
            code = cli.main(args=arguments, prog_name="layersig", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "", err=False)
        sys.exit(0)
    except click.ClickException as error:
        click.echo(f"error: {_usage(error)}", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        with contextlib.suppress(OSError):  # the terminal may be gone
            click.echo("interrupted; run the same command again to continue", err=True)
        sys.exit(130)
    except LayersigError as error:
        if debug:
            raise
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if debug:
            raise
        click.echo(f"error: {machine_error(error)}", err=True)
        sys.exit(MachineError.exit_code)
    except Exception as error:
        if debug:
            raise
        click.echo(f"error: {_unexpected(error)}", err=True)
        sys.exit(1)


@contextlib.contextmanager
def _interrupted_by(*names: str) -> Iterator[None]:
    """Within the block these signals act like Ctrl-C; a second one does not interrupt the clean-up.

    A signal that is ignored already, as under `nohup`, stays ignored.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    # Windows has no SIGHUP; and only the main thread may handle signals.
    known = [getattr(signal, name) for name in names if hasattr(signal, name)]
    main = threading.current_thread() is threading.main_thread()
    heeded = [number for number in known if main and signal.getsignal(number) is signal.SIG_DFL]
    for number in heeded:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in heeded:
            signal.signal(number, signal.SIG_DFL)


def _usage(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    shown = f"; `{context.command_path} --help` shows how to call it" if context else ""
    if isinstance(error, click.NoSuchOption) and (hint := _hint(error.option_name)):
        return f"there is no option {error.option_name}; {hint}"
    return " ".join(error.format_message().split()).rstrip(".") + shown


def _hint(option: str) -> str | None:
    """What to say of an option that another program has."""
    return _HINTS.get({"-v": "--verbose", "-q": "--quiet", "-n": "--dry-run"}.get(option, option))


def _unexpected(error: BaseException) -> str:
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{what} (unexpected: `layersig --debug ...` shows where; please report it)"


def emit(value: Any, *, as_json: bool, text: str) -> None:
    """Print a result on stdout: one JSON object, or text for people."""
    if as_json:
        from layersig.jsonform import dumps

        text = dumps(value)
    click.echo(text)
