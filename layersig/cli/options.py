"""Arguments and options that several verbs share."""

from __future__ import annotations

from pathlib import Path

import click

recipe = click.argument("recipe", type=click.Path(path_type=Path))
overrides = click.argument("overrides", nargs=-1, metavar="[KEY.SUB=VALUE]...")
run_name = click.argument("run", metavar="RUN")
runs = click.option(
    "--runs",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Folder of all runs.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object as the last line of stdout.")
offline = click.option("--offline", is_flag=True, help="Use only what is on this machine; no network.")
smoke = click.option(
    "--smoke", is_flag=True, help="Run every stage with 2 steps and a few items, to check that it works."
)
