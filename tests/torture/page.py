"""`docs/torture.md`, from the surveys: a row for every kind of damaged input, and a section on killed runs."""

from __future__ import annotations

import re
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
_KILLS = re.compile(r"## Killed runs\n.*", re.DOTALL)
_HOW = ("time", "change", "write")


def write_page(path: Path, found: Survey) -> None:
    """Write the page with a new row for one kind; the other rows stay as they are."""
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    kept = _KILLS.search(before)
    kills = kept[0].strip() if kept else ""
    rows = {match[1]: match[0] for match in _ROW.finditer(_KILLS.sub("", before))}
    if found.kind == "kills":
        kills = _killed(found)
    rows[found.kind] = (
        f"| {found.kind} | {found.total:,} | {found.counts['accepted']:,} | {found.counts['told']:,} "
        f"| {len(found.faults):,} | {found.slowest:.1f} s |"
    )
    about = "\n".join(f"- **{kind}**: {text}" for kind, text in _KINDS.items() if kind in rows)
    table = "\n".join(rows[kind] for kind in _KINDS if kind in rows)
    write_atomic(path, _TEXT.format(limit=LIMIT, table=table, about=about, kills=kills).rstrip() + "\n")


NO_KILL = ("ended before", "none was there")
"""How the notes of trials end in which nothing was killed, since the run was over."""


def _killed(found: Survey) -> str:
    """The section on killed runs."""
    work = sorted({note.partition(": ")[2] for note in found.notes if note.partition(": ")[0] in _HOW})
    lines = [f"| {kind} | " + " | ".join(f"{found.notes[f'{how}: {kind}']:,}" for how in _HOW) + " |" for kind in work]
    others = [
        f"- {note}: {count:,}" for note, count in sorted(found.notes.items()) if note.partition(": ")[0] not in _HOW
    ]
    kills = sum(count for note, count in found.notes.items() if not note.endswith(NO_KILL))
    return _KILLED.format(kills=kills, faults=len(found.faults), table="\n".join(lines), others="\n".join(others))


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

{kills}
"""
_KILLED = """\
## Killed runs

{kills:,} kills, {faults:,} faults. Small studies that together have every kind of stage are run, killed with SIGKILL at
a random moment, run again, and so on until they end. At every kill: no finished stage is lost or built again, no entry
of the cache is damaged, no lock is held, no process is left. At the end: every file of the run folder, every finding,
every training step and every count of tokens is that of a run that was never killed, but for measured times. Runs start
from a warm process, and save their state after every step instead of after a minute.

| at work | after a time | before a change of files | in a write |
| --- | --- | --- | --- |
{table}

The stages that the manifest calls running; *between* is everything else: finding sources, committing an entry,
publishing, analysing, writing the report. A kill in a write leaves a file with any number of its bytes.

{others}
"""
