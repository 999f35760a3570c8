"""The rules that every topic of the report must keep."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeVar
from unittest import mock

from layersig.findings.evidence import Evidence
from layersig.findings.files import RunFiles
from layersig.findings.rows.base import Row, Table
from layersig.findings.tables import Findings
from layersig.jsonform import jsonl
from layersig.recipe.load import load, stored
from layersig.report.document import Document, Section
from layersig.report.html import render_html
from layersig.report.markdown import render_markdown
from layersig.report.material import Material
from layersig.report.topic import Result, Topic
from layersig.store.files import files_below
from layersig.store.hashing import FileHashes
from layersig.testing.study import TinyStudy

_RowT = TypeVar("_RowT", bound=Row)
_RECIPE = """\
name = "tiny"
seeds = [0]
analyze.controls = false
model = { source = "path:model", dtype = "float32", device = "cpu" }
data = [{ name = "chats", source = "file:chats.jsonl", heldout = 4, max_tokens = 32 }]
train = { rank = 2, steps = 2, batch_size = 4, learning_rate = 0.01, warmup_ratio = 0.0 }
scorers.size = { kind = "weight-change" }
arms = [{ name = "top-30", scorer = "size", select = { kind = "top", fraction = 0.3 } }]
"""


class CheckedTopic(NamedTuple):
    """What a topic made of a run.

    Attributes:
        findings: What is known of the run, with the rows of the topic.
        report: Its section as Markdown; empty if it has nothing to say.
    """

    findings: Findings
    report: str

    def rows(self, table: Table[_RowT]) -> tuple[_RowT, ...]:
        """The rows of a table."""
        return self.findings[table]


def check_topic(topic: Topic, run: Path | None = None) -> CheckedTopic:
    """Check on a run that a topic of the report keeps the rules.

    Its name and tables are its own. It computes the rows of its tables from the tables that it reads, the same twice,
    also where those are empty; they survive `analysis.json`. Its section renders. The run folder does not change.

    Args:
        topic: The topic.
        run: Folder of a run that is complete; default: one on a tiny model, which is made for the check: an arm
            `top-30`, a scorer `size`, and the loss on 4 conversations of `chats`. That takes some seconds.

    Returns:
        What it made of the run, for tests of its contents.

    Raises:
        AssertionError: A rule is broken; the message says which.
        Exception: What the topic itself raises.
    """
    from layersig.topics.registry import TOPICS

    assert topic.name not in {each.name for each in TOPICS}, f"there is a built-in topic {topic.name!r}"
    taken = {table.name for each in TOPICS for table in each.tables} & {table.name for table in topic.tables}
    assert not taken, f"there is a built-in table {min(taken)!r}"
    with TemporaryDirectory() as folder, _run(Path(folder), run) as path:
        return _check(topic, path)


@contextmanager
def _run(folder: Path, given: Path | None) -> Iterator[Path]:
    """The run that is given, or a tiny one."""
    if given is not None:
        yield given
        return
    from rich.console import Console

    from layersig.engine.in_process import run
    from layersig.engine.study import Options

    TinyStudy(folder)
    rows = [{"prompt": f"w{number} w5 w7", "response": f"w{number + 9} w8 w{number + 3}"} for number in range(16)]
    (folder / "chats.jsonl").write_text(jsonl(rows), encoding="utf-8")
    (folder / "recipe.toml").write_text(_RECIPE, encoding="utf-8")
    with mock.patch.dict(os.environ, LAYERSIG_CACHE=str(folder / "cache")):
        outcome = run(load(folder / "recipe.toml"), Options(folder / "runs"), Console(quiet=True))
        assert outcome.status == "complete", outcome.failures
        yield outcome.folder.path


def _check(topic: Topic, run: Path) -> CheckedTopic:
    from layersig.topics.analyse import load as load_findings

    before = _digests(run)
    evidence = Evidence(RunFiles(run), stored(run / "resolved.toml"))
    findings = load_findings(run)
    if topic.compute is not None:
        _rows(topic, evidence, findings.model_copy(update={"tables": {}}))
        findings, again = (_rows(topic, evidence, findings) for _ in range(2))
        assert findings == again, f"the topic {topic.name!r} computes other rows the second time"
    section = topic.section(Material(run, findings, RunFiles(run))) if topic.section is not None else None
    assert section is None or isinstance(section, Section), f"a section is a Section, got {type(section).__name__}"
    page = Document("run", (), "", (), () if section is None else (section,))
    render_html(page)
    assert _digests(run) == before, f"the topic {topic.name!r} changed a file of the run"
    return CheckedTopic(findings, "" if section is None else render_markdown(page))


def _rows(topic: Topic, evidence: Evidence, findings: Findings) -> Findings:
    """The findings with the rows of a topic."""
    assert topic.compute is not None
    result = topic.compute(evidence, findings.only(topic.reads))
    assert isinstance(result, Result), f"`compute` must return a Result, got {type(result).__name__}"
    strange = {table.name for table in result.rows} ^ {table.name for table in topic.tables}
    assert not strange, f"the topic {topic.name!r} must give the rows of its tables and no others: {sorted(strange)}"
    rows = {table: tuple(of_table) for table, of_table in result.rows.items()}
    for table, of_table in rows.items():
        for row in of_table:
            read_back = table.row.model_validate(json.loads(row.model_dump_json()))
            assert read_back == row, f"a row of {table.name} is another after analysis.json: {row}"
    return findings.with_rows(rows, result.notes)


def _digests(run: Path) -> dict[str, str]:
    hashes = FileHashes()
    return {path.as_posix(): hashes.file(run / path) for path in files_below(run)}
