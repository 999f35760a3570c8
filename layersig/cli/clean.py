"""`layersig clean`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from layersig.cli.main import emit
from layersig.cli.options import as_json, runs

if TYPE_CHECKING:
    from layersig.store.cleaning import Item, Survey


@click.command("clean")
@runs
@as_json
@click.option("--limit", metavar="SIZE", help="Free more, until the cache is no larger; default: LAYERSIG_CACHE_LIMIT.")
@click.option("--yes", is_flag=True, help="Free without asking.")
def command(runs: Path, as_json: bool, limit: str | None, yes: bool) -> None:
    """Show what the cache holds, and free what no run needs, after asking.

    Freed are finished stages that no run refers to, and scratch of stages that no run continues. With a limit, stages
    follow whose files are in the folders of all runs that refer to them, those not used for longest first. What a run
    refers to and has no copy of stays, and so does what is in use. Delete a run with `layersig rm` to free its stages.

    Example: layersig clean --limit 20GB
    """
    from layersig.store.cache import Cache, bytes_of, cache_limit, cache_root
    from layersig.store.cleaning import free, survey

    cache = Cache(cache_root(), lambda message: click.echo(f"warning: {message}", err=True))
    most = cache_limit() if limit is None else bytes_of(limit)
    found = survey(cache, [runs])
    chosen = found.freeable(most)
    for name in found.unreadable:
        click.echo(
            f"warning: {name}: its manifest cannot be read, so it may need anything and no stage is freed; run its "
            "recipe again, or delete its folder",
            err=True,
        )
    if not as_json:
        click.echo(_table(found, most))
        click.echo(f"{_amount(chosen)} can be freed")
    if not yes and (as_json or not chosen or not sys.stdin.isatty() or not click.confirm("free that?", err=True)):
        emit(_value(found, most, chosen, ()), as_json=as_json, text="nothing was freed; `--yes` frees without asking")
        return
    freed = free(cache, chosen)
    cache.hashes.save()
    emit(_value(found, most, chosen, freed), as_json=as_json, text=f"{_amount(freed)} freed")


def _value(found: Survey, limit: int | None, chosen: Sequence[Item], freed: Sequence[Item]) -> dict[str, Any]:
    return {
        "cache": str(found.root),
        "size": found.size,
        "limit": limit,
        "holds": [
            {"what": each.what, "status": each.status, "stages": each.stages, "size": each.size, "used": each.used}
            for each in found.uses()
        ],
        "can_be_freed": _sizes(chosen),
        "freed": _sizes(freed),
    }


def _sizes(items: Sequence[Item]) -> dict[str, int]:
    return {"entries": len(items), "size": sum(item.size for item in items), "disk": sum(item.freed for item in items)}


def _amount(items: Sequence[Item]) -> str:
    from layersig.report.numbers import plural, size

    amount = sum(item.size for item in items)
    linked = amount - sum(item.freed for item in items)
    shared = f" ({size(linked)} of it is linked from run folders and stays there)" if linked else ""
    return f"{plural(len(items), 'stored result')}, {size(amount)}{shared}"


def _table(found: Survey, limit: int | None) -> str:
    from layersig.report.numbers import size

    lines = [f"{found.root}: {size(found.size)}" + (f" (limit {size(limit)})" if limit is not None else "")]
    for each in found.uses():
        days = "" if each.used is None else f"{(time.time() - each.used) / 86_400:.0f} d"
        lines.append(f"  {size(each.size):>12}  {each.stages or '':>6}  {days:>6}  {each.what}  {each.status}".rstrip())
    return "\n".join([*lines, "  (size, stages, last used; stages that several runs share count for each)"])
