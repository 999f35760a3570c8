"""The report as one HTML file: no network, no font, no script but its own hover text."""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files as resources
from typing import TYPE_CHECKING
from urllib.parse import quote

from layersig.report.document import Bar, Block, Code, Details, Document, Figure, Section, Table
from layersig.report.lifted import lifted
from layersig.report.numbers import plural
from layersig.report.palette import recolouring, variables

if TYPE_CHECKING:
    from jinja2 import Template

_PLAIN = 64 * 1024
"""Bytes of a file that the page carries as it is; larger ones are compressed."""


def render_html(document: Document, files: Mapping[str, str] | None = None) -> str:
    """A self-contained page.

    Text is escaped by the template; drawings come escaped from the renderer of charts. A content security policy
    forbids every request and every script but the page's own.

    Args:
        document: The report.
        files: Text of the files that it links to, by name: the page carries them.
    """
    assets = resources("layersig.report") / "assets"
    script = (assets / "page.js").read_text(encoding="utf-8").strip()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _template().render(
        document=document,
        holds=_holds,
        lifted=lifted,
        files={name: _carried(name, text) for name, text in sorted((files or {}).items())},
        light=variables(0),
        dark=variables(1),
        recolouring=recolouring(),
        style=(assets / "style.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=f"sha256-{digest}",
    )


@cache
def _template() -> Template:
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=False)
    for name, kind in (("code", Code), ("bar", Bar)):
        environment.tests[name] = lambda part, kind=kind: isinstance(part, kind)
    return environment.from_string(
        (resources("layersig.report") / "assets" / "report.html.j2").read_text(encoding="utf-8")
    )


def _carried(name: str, text: str) -> tuple[str, str]:
    """A file as a link: the name under which it is saved, and the address that holds it."""
    content = text.encode()
    if len(content) <= _PLAIN:
        return name, f"data:text/csv;charset=utf-8,{quote(text)}"
    packed = base64.b64encode(gzip.compress(content, mtime=0)).decode()
    return f"{name}.gz", f"data:application/gzip;base64,{packed}"


def _holds(section: Section) -> str:
    """What is folded away in a part: `2 figures, 1 table`."""
    found = list(_all(section.blocks))
    counts = {"figure": sum(isinstance(b, Figure) for b in found), "table": sum(isinstance(b, Table) for b in found)}
    return ", ".join(plural(count, noun) for noun, count in counts.items() if count)


def _all(blocks: tuple[Block, ...]) -> Iterator[Block]:
    for block in blocks:
        yield block
        if isinstance(block, Details):
            yield from _all(block.blocks)
