from __future__ import annotations

import csv
import gzip
import json
import re
import shutil
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from layersig.analysis.overlap import uniform_law
from layersig.errors import UserError
from layersig.findings.rows.layers import RANKED_LAYERS, UNITS
from layersig.findings.tables import Findings
from layersig.report.numbers import fixed, number
from layersig.topics.agreement.rows import OVERLAPS
from layersig.topics.analyse import analyse, load
from layersig.topics.render import render
from layersig.topics.stability.rows import ESTIMATORS, JACCARD_MATRIX, OVERLAP_TESTS
from tests.report.studies import Study
from tests.report.synthetic import read, write_run

SMALL = Study(
    blocks=6, data=("norobots>sample", "lima"), seeds=(0, 1), tasks=(("hellaswag", 40),), heldout=12, steps=30
)
EVIL = "</script><script>alert(1)</script>"


class Page(HTMLParser):
    """The elements of a page, its text, and what each `data-tip` says."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tips: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.tips += [value or "" for name, value in attrs if name == "data-tip"]

    def handle_data(self, data: str) -> None:
        self.text += data

    def having(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(run: Path) -> Page:
    page = Page()
    page.feed((run / "report.html").read_text(encoding="utf-8"))
    return page


def rendered(run: Path, study: Study) -> Path:
    analyse(run, write_run(run, study))
    render(run)
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rendered(tmp_path_factory.mktemp("report") / "run", SMALL)


def test_equal_runs_give_equal_bytes(run: Path, tmp_path: Path) -> None:
    again = rendered(tmp_path / "again", SMALL)
    names = ["report.html", "report.md", *sorted(f"figures/{file.name}" for file in (run / "figures").iterdir())]
    assert len(names) > 8
    for name in names:
        assert (again / name).read_bytes() == (run / name).read_bytes(), name


def test_sections_come_in_order_with_replaced_sources_first(run: Path) -> None:
    page = page_of(run)
    assert [section["id"] for section in page.having("section")] == [
        "layers",
        "arms",
        "leaderboard",
        "training",
        "agreement",
        "stability",
        "sanity",
        "cost",
        "data",
        "limitations",
        "rigor",
        "provenance",
        "files",
    ]
    assert page.text.index("Sources were replaced by their fallbacks") < page.text.index("How far this goes")
    assert page.text.index("pypi:sample") < page.text.index("How far this goes")


def test_all_but_the_first_screen_is_folded_away(run: Path) -> None:
    html = (run / "report.html").read_text(encoding="utf-8")
    front, _, rest = html.partition('<p class="unfold">')
    assert "<details" not in front
    assert "What next" in front
    assert rest.count("<section") == rest.count('<details class="part">') > 8
    assert "<details open" not in rest
    text = (run / "report.md").read_text(encoding="utf-8")
    assert text.index("What next") < text.index("<details>")
    assert "\n## " not in text


def test_the_page_carries_every_file_that_it_links_to(run: Path) -> None:
    page = page_of(run)
    links = {str(a["download"]): str(a["href"]) for a in page.having("a") if "download" in a}
    named = {str(a["href"]).removeprefix("#file-") for a in page.having("a") if str(a["href"]).startswith("#file-")}
    assert named <= {name.partition(".")[0] for name in links}
    assert {name.removesuffix(".gz") for name in links} == {path.name for path in run.glob("*.csv")}
    packed = 0
    for name, address in links.items():
        head, _, body = address.partition(",")
        content = unquote(body).encode() if head == "data:text/csv;charset=utf-8" else gzip.decompress(b64decode(body))
        packed += head == "data:application/gzip;base64"
        assert content == (run / name.removesuffix(".gz")).read_bytes()
    assert packed


def test_overlap_with_the_training_data_and_between_runs_is_shown(run: Path) -> None:
    text = (run / "report.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| hellaswag | lima |")]
    assert [[cell.strip() for cell in line.split("|")[3:8]] for line in lines] == [
        ["40", "8", "40", "3", "7.5 %"],
        ["40", "13", "40", "2", "5.0 %"],
    ]
    assert "In every row: covered 0." in text
    assert "held-out conversations of the same data" in text
    findings, page = load(run), page_of(run).text
    tested = {(row.a, row.b, row.k) for row in findings[OVERLAP_TESTS]}
    drawn = [row for row in findings[JACCARD_MATRIX] if (row.a, row.b, row.k) in tested]
    assert {(row.a, row.b, row.k) for row in drawn} == tested
    assert "not tested: that takes 12 blocks" in page
    assert "descriptive: the test to rely on is that of residuals" in page.lower()
    assert "roughly so" not in page


def test_nothing_is_loaded_from_anywhere(run: Path) -> None:
    page = page_of(run)
    for tag, attributes in page.elements:
        for name in ("src", "srcset", "href", "xlink:href", "data", "action"):
            link = attributes.get(name)
            assert link is None or re.fullmatch(r"#[\w-]+|data:(text/csv|application/gzip).*", link), (tag, link)
    html = (run / "report.html").read_text(encoding="utf-8")
    assert "@import" not in html
    assert "url(" not in html.replace("url(#", "")
    assert len(page.having("script")) == 1


def test_every_figure_has_an_alternative_and_files_that_exist(run: Path) -> None:
    page = page_of(run)
    drawings = page.having("svg")
    assert len(drawings) == len(list((run / "figures").iterdir()))
    assert all(len(drawing["aria-label"] or "") > 40 and drawing["role"] == "img" for drawing in drawings)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_hover_tells_layer_score_and_rank_of_every_cell(run: Path) -> None:
    tips = page_of(run).tips
    findings = load(run)
    for row in (row for row in findings[RANKED_LAYERS] if row.scorer == "ila"):
        own = [
            tip
            for tip in tips
            if tip.startswith(f"{row.number}  {row.layer}\nscore {number(row.score, 4)}, rank {row.rank} ")
        ]
        assert any(f"rank {row.rank_low} to {row.rank_high}" in tip for tip in own)


def test_chance_levels_on_the_page_are_the_library_s(run: Path) -> None:
    tips = page_of(run).tips
    findings = load(run)
    for k in findings.sizes:
        law = uniform_law(42, k, k)
        low, high = law.jaccard_range()
        shown = f"chance {fixed(law.jaccard_mean, 3)} [{fixed(low, 3)}, {fixed(high, 3)}]"
        assert sum(shown in tip for tip in tips) >= 10


def test_every_number_of_the_csv_files_is_in_analysis_json(run: Path) -> None:
    written = read(run / "analysis.json")
    files = sorted(run.glob("*.csv"))
    tables = {
        name for name, value in written.items() if isinstance(value, list) and value and isinstance(value[0], dict)
    }
    assert {file.stem for file in files} == tables
    for file in files:
        with file.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        table = written[file.stem]
        assert len(rows) == len(table)
        for row, original in zip(rows, table, strict=True):
            assert {key: _spelled(value) for key, value in original.items()} == row


def _spelled(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "" if value is None else str(value)


def test_names_are_shown_as_text_everywhere(tmp_path: Path) -> None:
    run = tmp_path / "run"
    evil = f"m{EVIL}`|*"
    recipe = write_run(
        run, Study(blocks=4, data=("evil",), seeds=(0,), tasks=(("hellaswag", 20),), heldout=8, steps=10, prefix=evil)
    )
    for file in run.glob("*.json*"):
        file.write_text(file.read_text(encoding="utf-8").replace('"evil', '"evil<script>alert(2)'), encoding="utf-8")
    analyse(run, recipe)
    render(run)
    page = page_of(run)
    assert len(page.having("script")) == 1
    assert f"m{EVIL}`|*.0.mlp.down_proj" in page.text
    assert any(f"m{EVIL}`|*.0.mlp.down_proj" in tip for tip in page.tips)
    assert "evil<script>alert(2)" in page.text
    tokens = MarkdownIt("commonmark").enable("table").parse((run / "report.md").read_text(encoding="utf-8"))
    every = [inner for token in tokens for inner in (token, *(token.children or ()))]
    markup = [token.content for token in every if token.type in {"html_inline", "html_block"}]
    assert markup
    assert all(re.fullmatch(r"\s*</?details>\s*|<details><summary>[^<]*</summary>\s*", text) for text in markup)
    assert any(token.type == "code_inline" and token.content == f"{evil}.0.mlp.down_proj" for token in every)
    for figure in (run / "figures").iterdir():
        assert not [e for e in ElementTree.parse(figure).iter() if e.tag.endswith("script")]


@pytest.mark.parametrize(
    "missing",
    [
        ("scores.jsonl",),
        pytest.param(("selections.jsonl", "data", "metrics.jsonl"), marks=pytest.mark.slow),
        pytest.param(("evaluations",), marks=pytest.mark.slow),
        ("layers.json", "recipe.toml"),
        ("evaluations/base",),
        pytest.param(("evaluations/all-layers",), marks=pytest.mark.slow),
        ("scores.jsonl", "selections.jsonl", "evaluations", "metrics.jsonl", "layers.json", "data"),
    ],
)
def test_a_run_that_is_not_whole_gives_a_smaller_report(run: Path, tmp_path: Path, missing: tuple[str, ...]) -> None:
    part = tmp_path / "run"
    shutil.copytree(run, part)
    for name in missing:
        shutil.rmtree(part / name) if (part / name).is_dir() else (part / name).unlink()
    analyse(part, write_run(tmp_path / "other", SMALL))
    render(part)
    assert "Provenance" in page_of(part).text


def test_one_ranking_alone_gives_a_report(tmp_path: Path) -> None:
    run = tmp_path / "run"
    recipe = write_run(run, Study(blocks=4, data=("lima",), seeds=(0,), tasks=(), heldout=8, steps=10))
    first = (run / "scores.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)[0]
    (run / "scores.jsonl").write_text(first, encoding="utf-8")
    for name in ("evaluations", "data"):
        shutil.rmtree(run / name)
    for name in ("selections.jsonl", "metrics.jsonl"):
        (run / name).unlink()
    findings: Findings = analyse(run, recipe)
    render(run)
    assert findings[OVERLAPS] == ()
    assert "This run ranks layers by ila on lima (1 seed)" in page_of(run).text


def test_equal_scores_are_told_and_an_arm_that_read_no_data_is_shown_where_it_was_tuned(tmp_path: Path) -> None:
    run = tmp_path / "run"
    recipe = write_run(
        run, Study(blocks=3, data=("lima",), seeds=(0, 1), tasks=(("arc_easy", 12),), heldout=8, steps=4)
    )
    for name, change in (
        ("scores.jsonl", lambda line: {**line, "scores": dict.fromkeys(line["scores"], 0.5)}),
        ("selections.jsonl", lambda line: {**line, "data": None}),
    ):
        lines = [change(json.loads(line)) for line in (run / name).read_text(encoding="utf-8").splitlines()]
        (run / name).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    findings = analyse(run, recipe)
    render(run)
    n = len(findings[UNITS])
    assert all(row.correlation is None for row in findings[ESTIMATORS])
    text = page_of(run).text
    assert f"All {n} scores are tied" in text
    assert "ila-30 on lima" in text
    assert "on None" not in text


def test_an_unanalysed_run_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "run", Study(blocks=2, data=("lima",), seeds=(0,), tasks=(), heldout=4, steps=4))
    with pytest.raises(UserError, match="holds no analysis"):
        render(tmp_path / "run")


def test_the_map_of_estimators_tells_both_correlations_and_the_interval(tmp_path: Path) -> None:
    study = Study(blocks=6, data=("lima",), tasks=(("hellaswag", 40),), heldout=12, steps=30, extra_scorer=True)
    run = rendered(tmp_path / "run", study)
    told = "\n".join(page_of(run).tips)
    rows = [row for row in load(run)[ESTIMATORS] if row.corrected is not None]
    assert rows
    for row in rows:
        assert f"{row.a} and {row.b}\nSpearman {fixed(row.correlation, 2)} (3 runs)" in told
        assert f"corrected for noise {fixed(row.corrected, 2)} [{fixed(row.low, 2)}, {fixed(row.high, 2)}]" in told
        assert f"its reliability: {fixed(row.reliability_a, 2)}" in told


def test_what_became_of_every_field_is_shown(tmp_path: Path) -> None:
    study = Study(blocks=2, data=("lima",), seeds=(0,), tasks=(), heldout=4, steps=4)
    recipe = write_run(tmp_path / "run", study)
    path = tmp_path / "run" / "data" / "lima.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["fields"] = [
        {"field": "messages", "use": "turns", "rows": 1200},
        {"field": "<mood>", "use": "unknown", "rows": 300},
    ]
    path.write_text(json.dumps(record), encoding="utf-8")
    analyse(tmp_path / "run", recipe)
    render(tmp_path / "run")
    lines = (tmp_path / "run" / "report.md").read_text(encoding="utf-8").splitlines()
    shown = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| lima |")]
    assert ["lima", "messages", "turns", "1 200", "100.0 %"] in [
        [c.replace("\u202f", " ") for c in row] for row in shown
    ]
    assert ["lima", "<mood>", "unknown", "300", "25.0 %"] in shown
