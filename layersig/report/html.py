"""The report as one HTML file: no network, no font, no script but its own hover text."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from layersig.report.document import Code, Document
from layersig.report.palette import recolouring, variables


def render_html(document: Document) -> str:
    """A self-contained page.

    Text is escaped by the template; drawings come escaped from the renderer of charts. A content security policy
    forbids every request and every script but the page's own.
    """
    import jinja2

    assets = files("layersig.report") / "assets"
    script = (assets / "hover.js").read_text(encoding="utf-8").strip()
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=False)
    environment.tests["code"] = lambda part: isinstance(part, Code)
    template = environment.from_string((assets / "report.html.j2").read_text(encoding="utf-8"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return template.render(
        document=document,
        light=variables(0),
        dark=variables(1),
        recolouring=recolouring(),
        style=(assets / "style.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=f"sha256-{digest}",
    )
