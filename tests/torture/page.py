"""`docs/torture.md`, from the surveys: a row for every kind of damaged input, and sections on what was killed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from layersig.store.files import write_atomic
from tests.torture.harness import LIMIT, Survey

_KINDS = {
    "recipes": (
        "Every shipped recipe, changed in one place or a few: bytes, tokens, lines, keys, values, numbers, strings "
        "with characters that no file name bears; keys and values of up to 300,000 characters, lists of up to 10,000 "
        "entries, thousands of tables, nesting of up to 50,000 levels; overrides of the same sorts. Read as "
        "`layersig validate` reads them; one that is accepted must give a graph of stages and be equal to itself once "
        "written out and read back."
    ),
    "data": "Files of training rows and task rows.",
    "checkpoints": "Model folders: configuration, tokenizer, index, tensors and adapters.",
    "folders": (
        "A tiny study is run once. In a copy, one file of its run folder or of its cache loses a key, gets a value of "
        "another type, is cut short, emptied, deleted, nested deeply, replaced by a folder or by noise, or has bits "
        "flipped; then `status`, `report`, `compare`, `runs` or `run` is called. After `run`, rankings, selections and "
        "evaluations must be byte for byte those of the undamaged study."
    ),
}
_ROW = re.compile(r"^\| (\w+) \| .*\|$", re.MULTILINE)
_HEADS = {"kills": "## Killed runs", "engines": "## Killed drivers and workers"}
"""Headings of the sections on what was killed, by kind."""
_HOW = ("time", "change", "write")


def write_page(path: Path, found: Survey) -> None:
    """Write the page with a new row for one kind; the other rows stay as they are."""
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    table, sections = _parts(before)
    rows = {match[1]: match[0] for match in _ROW.finditer(table)}
    if found.kind in _HEADS:
        sections[found.kind] = _killed(found) if found.kind == "kills" else _ended(found)
    else:
        rows[found.kind] = (
            f"| {found.kind} | {found.total:,} | {found.counts['accepted']:,} | {found.counts['told']:,} "
            f"| {len(found.faults):,} | {found.slowest:.1f} s |"
        )
    about = "\n".join(f"- **{kind}**: {text}" for kind, text in _KINDS.items() if kind in rows)
    shown = "\n".join(rows[kind] for kind in _KINDS if kind in rows)
    killed = "\n\n".join(sections[kind] for kind in _HEADS if kind in sections)
    write_atomic(path, _TEXT.format(limit=LIMIT, table=shown, about=about, killed=killed).rstrip() + "\n")


def _parts(page: str) -> tuple[str, dict[str, str]]:
    """A page in what stands in front of the sections on what was killed, and these by kind."""
    first, *others = re.split(rf"^(?=(?:{'|'.join(_HEADS.values())})$)", page, flags=re.MULTILINE)
    return first, {kind: each.strip() for each in others for kind, head in _HEADS.items() if each.startswith(head)}


NO_KILL = ("ended before", "none was there")
"""How the notes of trials end in which nothing was killed, since the run was over."""


def _killed(found: Survey) -> str:
    """The section on killed runs."""
    work = sorted({note.partition(": ")[2] for note in found.notes if note.partition(": ")[0] in _HOW})
    lines = [f"| {kind} | " + " | ".join(f"{found.notes[f'{how}: {kind}']:,}" for how in _HOW) + " |" for kind in work]
    counts = {"kills": f"{_kills(found):,}", "faults": len(found.faults), "code": _code()}
    return _KILLED.format(**counts, table="\n".join(lines))


def _ended(found: Survey) -> str:
    """The section on killed drivers and workers."""
    lines = [f"- {note}: {count:,}" for note, count in sorted(found.notes.items())]
    counts = {"kills": f"{_kills(found):,}", "faults": len(found.faults), "code": _code()}
    return _ENDED.format(**counts, lines="\n".join(lines))


def _kills(found: Survey) -> int:
    return sum(count for note, count in found.notes.items() if not note.endswith(NO_KILL))


def _code() -> str:
    """The commit that is checked out."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "no commit"


_TEXT = """\
# Damaged inputs: what is said of each

Written by `make torture` (`python -m tests.torture`). Trials are drawn from named seeds, so a repeat makes the same
ones; each is read through the product's own entry, in this process.

| input | trials | accepted | told | faults | slowest |
| --- | --- | --- | --- | --- | --- |
{table}

*Accepted*: the change did no harm, or what it harmed was set aside and rebuilt. *Told*: one message of the product's
own, with a place. A *fault* is anything else: an error of Python or of a library, a message that does not name the
place, more than {limit:g} s of the processor, a result that differs from that of the undamaged input.

A place is the file, and of a recipe the line of every fault in it, or the override; that is checked in each message.
That a message also says what to do is checked by hand, and by the tests of `tests/broken` for every sort of fault.

## How trials are made

{about}

{killed}
"""
_KILLED = """\
## Killed runs

{kills} kills, {faults} faults, on the code of {code}. Small studies that together have every kind of stage are run,
killed with SIGKILL at a random moment, run again, and so on until they end. At every kill: no finished stage is lost or
built again, no entry of the cache is damaged, no lock is held, no process is left. At the end: every file of the run
folder, every finding, every training step and every count of tokens is that of a run that was never killed, but for
measured times. Runs start from a warm process, and save their state after every step instead of after a minute.

| at work | after a time | before a change of files | in a write |
| --- | --- | --- | --- |
{table}

The stages that the manifest calls running; *between* is everything else: finding sources, committing an entry,
publishing, analysing, writing the report. A kill in a write leaves a file with any number of its bytes.
"""
_ENDED = """\
## Killed drivers and workers

{kills} kills, {faults} faults, on the code of {code} (`make torture KINDS=engines`). A small study runs with
`--engine local:2`, and with `--engine ray` on two nodes of one core each. The driver or one of its workers is killed
with SIGKILL at a random moment, and the study is run again until it ends. What is checked is that of killed runs. No
worker outlives its driver by more than 30 s, and a driver whose worker is killed runs the stage again.

{lines}

The stages behind a driver are those that the manifest calls running. A stage whose worker is killed twice has failed
with `local:2`, and its run is then continued.
"""
