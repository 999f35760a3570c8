"""The report as Markdown (GitHub's dialect) with its figures as files beside it."""

from __future__ import annotations

import re
from html import escape

from layersig.report.document import (
    Bar,
    Block,
    Bullets,
    Callout,
    Code,
    Details,
    Document,
    Figure,
    Heading,
    Inline,
    Listing,
    Paragraph,
    Steps,
    Strong,
    Table,
    Text,
    plain,
)
from layersig.report.lifted import lifted


def render_markdown(document: Document) -> str:
    """The whole report; figures are read from `figures/`, and all but the first screen is folded away."""
    parts = [
        f"# {_escaped(document.headline)}",
        _escaped(" \u00b7 ".join((document.name, *document.facts))),
        *map(_block, document.front),
    ]
    parts += [_block(Details(section.title, section.blocks)) for section in document.sections]
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> str:
    match block:
        case Paragraph(text):
            return _text(text)
        case Heading(text):
            return f"### {_escaped(text)}"
        case Bullets(items):
            return _bullets(items)
        case Callout(kind, title, items):
            body = f"[!{kind.upper()}]\n**{_escaped(title)}**\n\n{_bullets(items)}"
            return "\n".join(f"> {line}".rstrip() for line in body.splitlines())
        case Steps(items):
            return "\n\n".join(f"{_escaped(step.why)}\n\n{_fenced(step.command, 'console')}" for step in items)
        case Table():
            return _table(block)
        case Figure():
            return (
                f"![{_escaped(block.alt)}](figures/{block.name}.svg)\n\n"
                f"**{_escaped(block.title)}.** {_escaped(block.caption)}{_sources(block.csv)}"
            )
        case Listing(title, parts):
            text = plain(parts)
            return f"{_escaped(title)}\n\n{_fenced(text.rstrip(), 'text')}"
        case Details(summary, blocks):
            inner = "\n\n".join(_block(b) for b in blocks)
            return f"<details><summary>{escape(summary)}</summary>\n\n{inner}\n\n</details>"


def _table(table: Table) -> str:
    table, same = lifted(table)
    heads = "| " + " | ".join(_escaped(column.head) for column in table.columns) + " |"
    rule = "| " + " | ".join("---:" if column.numeric else "---" for column in table.columns) + " |"
    rows = ["| " + " | ".join(map(_cell, row)) + " |" for row in table.rows]
    caption = f"{_escaped(table.caption)}.{f' {_escaped(same)}' if same else ''}"
    return f"{caption}{_sources((table.csv,) if table.csv else ())}\n\n" + "\n".join([heads, rule, *rows])


def _cell(cell: Inline) -> str:
    """A cell, in which a bar ends code as it ends text."""
    text = _inline(cell).replace("\n", " ")
    return text.replace("|", "\\|") if isinstance(cell, Code) else text


def _fenced(text: str, language: str) -> str:
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def _sources(files: tuple[str, ...]) -> str:
    return f" Numbers: {', '.join(f'[{file}]({file})' for file in files)}" if files else ""


def _bullets(items: tuple[Text, ...]) -> str:
    return "\n".join(f"- {_text(item)}" for item in items)


def _text(text: Text) -> str:
    return "".join(_inline(part) for part in text)


def _inline(part: Inline) -> str:
    match part:
        case Code(text):
            ticks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
            pad = " " if "`" in text else ""
            return f"{ticks}{pad}{text}{pad}{ticks}"
        case Strong(text):
            # Spaces inside the asterisks would make them text.
            inner = text.strip()
            before, after = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
            return f"{before}**{_escaped(inner)}**{after}" if inner else text
        case Bar():
            return part.text
        case _:
            return _escaped(part)


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is; an underscore inside a word needs no escape."""
    text = re.sub(r"([\\`*\[\]|#])", r"\\\1", text)
    text = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
