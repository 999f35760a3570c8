"""`layersig schema`."""

from __future__ import annotations

import click


@click.command("schema")
def command() -> None:
    """Print the JSON schema of recipes, with which editors complete and check TOML.

    Example: layersig schema > recipe.schema.json
    """
    from layersig.jsonform import dumps
    from layersig.recipe.json_schema import json_schema

    click.echo(dumps(json_schema(), indent=2))
