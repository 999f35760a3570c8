"""The list of topics, and topics that a plugin brings: used, or left out with one warning that costs nothing else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from textwrap import dedent

import pytest

from layersig.findings.rows.base import Row, Table
from layersig.plugin import manager
from layersig.report.topic import Topic
from layersig.topics.analyse import analyse, load
from layersig.topics.registry import TOPICS, all_topics, computing_order
from layersig.topics.render import render
from tests.report.studies import Study
from tests.report.synthetic import write_run

STUDY = Study(blocks=3, data=("alpaca",), seeds=(0, 1), tasks=(("arc_easy", 20),), heldout=8, steps=4)
PLUGIN = """
    from layersig.findings.rows.arms import RESULTS
    from layersig.findings.rows.base import Row, Table
    from layersig.plugin.hookspecs import hookimpl
    from layersig.report.document import Section, Table as Shown, columns
    from layersig.report.topic import Result, Topic

    class SizeRow(Row):
        task: str
        items: int

    SIZES = Table("task_sizes", SizeRow)

    def compute(evidence, found):
        {compute}
        largest = {{row.task: row.n for row in found[{table}]}}
        return Result({{SIZES: [SizeRow(task=task, items=n) for task, n in largest.items()]}}, ["Sizes are counted."])

    def section(material):
        {section}
        rows = tuple((row.task, str(row.items)) for row in material.findings[SIZES])
        return Section("task-sizes", "Sizes of the tasks", (Shown("", columns("task", "#items"), rows),))

    TOPIC = Topic("task sizes", tables=(SIZES,), compute=compute, reads=(RESULTS,), section=section)

    @hookimpl
    def layersig_topics():
        {hook}
        return ["layersig_sizes:{name}"]
"""


class Sizes(Distribution):
    """An installed plugin that nobody installed."""

    version = "1.2"
    name = "layersig-sizes"

    def read_text(self, filename: str) -> str | None:
        return None

    def locate_file(self, path: object) -> Path:  # type: ignore[override]
        raise NotImplementedError


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    def installed(**parts: str) -> None:
        known = {"compute": "", "section": "", "table": "RESULTS", "hook": "", "name": "TOPIC"}
        (tmp_path / "layersig_sizes.py").write_text(dedent(PLUGIN).format(**{**known, **parts}))
        entry = EntryPoint("sizes", "layersig_sizes", "layersig")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(manager, "_entry_points", lambda: iter([(Sizes(), entry)]))
        for cached in (all_topics, manager.installed):
            cached.cache_clear()

    yield installed
    sys.modules.pop("layersig_sizes", None)
    for cached in (all_topics, manager.installed):
        cached.cache_clear()


def pages(run: Path) -> tuple[str, str]:
    analyse(run, write_run(run, STUDY))
    render(run)
    return (run / "analysis.json").read_text(), (run / "report.md").read_text()


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report without any plugin."""
    return pages(tmp_path_factory.mktemp("before"))[1]


def test_a_plugin_brings_a_topic(install, tmp_path: Path, before: str) -> None:  # type: ignore[no-untyped-def]
    install()
    assert manager.installed().problems == ()
    analysis, report = pages(tmp_path / "after")
    assert (tmp_path / "after" / "task_sizes.csv").read_text().startswith("task,items\n")
    assert "arc_easy,20\n" in (tmp_path / "after" / "task_sizes.csv").read_text()
    assert "Sizes are counted." in report
    assert load(tmp_path / "after").to_json() == analysis
    assert "<summary>Sizes of the tasks</summary>" in report
    assert report.index("<summary>Sizes of the tasks</summary>") < report.index("<summary>Rigor card</summary>")
    assert "<summary>Sizes of the tasks</summary>" not in before


@pytest.mark.parametrize(
    ("fault", "warning"),
    [
        ({"compute": "raise RuntimeError('no sizes')"}, "RuntimeError: no sizes"),
        ({"section": "raise RuntimeError('no page')"}, "RuntimeError: no page"),
        ({"table": "SIZES"}, "the table 'task_sizes' is read, but not declared"),
        ({"name": "MISSING"}, "has no attribute 'MISSING'"),
        ({"name": "SIZES"}, "it is a Table, not a layersig.report.topic.Topic"),
        ({"hook": "raise RuntimeError('no list')"}, None),
    ],
)
def test_one_that_fails_costs_a_warning_and_nothing_else(  # type: ignore[no-untyped-def]
    install, tmp_path: Path, before: str, fault: dict[str, str], warning: str | None
) -> None:
    install(**fault)
    _, after = pages(tmp_path / "after")
    warned = [line for line in after.splitlines() if "layersig-sizes 1.2" in line]
    if warning is None:
        assert "no list" in "".join(manager.installed().problems)
    else:
        (line,) = warned
        assert warning in line
    sections = [line for line in before.splitlines() if line.startswith("## ")]
    assert [line for line in after.splitlines() if line.startswith("## ") and line in sections] == sections


def test_what_a_missing_plugin_wrote_is_left_out(install, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    install()
    pages(tmp_path / "run")
    all_topics.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manager, "_entry_points", lambda: iter([]))
        findings = load(tmp_path / "run")
    assert "task_sizes" not in findings.tables
    assert "results" in findings.tables


def test_names_are_unique_and_what_is_read_is_computed_before() -> None:
    tables = [table.name for topic in TOPICS for table in topic.tables]
    assert len(set(tables)) == len(tables)
    assert len({topic.name for topic in TOPICS}) == len(TOPICS)
    done: set[str] = set()
    for topic in computing_order(TOPICS):
        assert {table.name for table in topic.reads} <= done
        done |= {table.name for table in topic.tables}
    assert done == set(tables)


def test_topics_that_read_one_another_are_refused() -> None:
    first, second = Table("first", Row), Table("second", Row)
    one = Topic("one", tables=(first,), reads=(second,))
    other = replace(one, name="other", tables=(second,), reads=(first,))
    with pytest.raises(ValueError, match="cycle"):
        computing_order((one, other))
