"""The first section of docs/plugins.md, followed from an empty folder with a tiny model."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scaffold.marks import builds
from tests.study import write_study

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## From an empty folder")[2].partition("\n## ")[0]
BLOCK = re.compile(r"(?P<before>[^\n]*)\n\n```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)
SHELL = """\
set -e
pip() {{ python -m pip "$1" --quiet --no-deps --no-build-isolation "${{@:2}}"; }}
pytest() {{ python -m pytest -q -p no:cacheprovider "$@"; }}
layersig() {{
    case "$1" in
        run|plan) python -m layersig "$@" {overrides} ;;
        *) python -m layersig "$@" ;;
    esac
}}
"""


def blocks() -> list[tuple[str, str]]:
    """Console blocks with their text, and Python blocks with the file that the line before them names."""
    found = []
    for block in BLOCK.finditer(SECTION):
        if block["language"] == "console":
            found.append(("console", block["text"].replace("$ ", "")))
        else:
            (path,) = re.findall(r"`((?:src|tests)/[\w/.]+)`", block["before"])
            found.append((path, block["text"]))
    return found


def environment(folder: Path) -> Path:
    """A virtual environment that sees the packages of this one; the path of its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    found = subprocess.run(
        [str(python), "-c", "import site; print(site.getsitepackages()[0])"], capture_output=True, text=True, check=True
    )
    seen = [path for path in sys.path if path.endswith("site-packages")]
    (Path(found.stdout.strip()) / "seen.pth").write_text("\n".join(seen))
    return python


def test_it_takes_at_most_12_commands_and_40_lines() -> None:
    commands = [line for kind, text in blocks() if kind == "console" for line in text.splitlines()]
    lines = [line for kind, text in blocks() if kind != "console" for line in text.splitlines() if line.strip()]
    assert len(commands) <= 12
    assert len(lines) <= 40


@pytest.mark.slow
@builds
def test_following_it_ends_in_a_report_with_tests(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    write_study(tmp_path / "study")
    given = tmp_path / "study"
    overrides = [
        f"model.source=path:{given / 'model'}",
        "model.dtype=float32",
        f"data.alpaca.source=file:{given / 'chats.jsonl'}",
        "data.alpaca.heldout=6",
        "train.rank=2",
    ]
    python = environment(tmp_path / "venv")
    (tmp_path / "empty").mkdir()
    script = [SHELL.format(overrides=shlex.join(overrides))]
    for kind, text in blocks():
        script.append(text if kind == "console" else f"cat > {kind} <<'END'\n{text}END\n")
    variables = {
        **os.environ,
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "LAYERSIG_CACHE": str(tmp_path / "cache"),
    }
    variables.pop("LAYERSIG_PLUGINS", None)
    ended = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=tmp_path / "empty",
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "sensitivity-30" in ended.stdout
    (run,) = (tmp_path / "empty" / "layersig-sensitivity" / "runs" / "sensitivity").iterdir()
    assert (run / "report.html").is_file()
    analysis = json.loads((run / "analysis.json").read_text())
    rows = {(row["arm"], row["reference"]): row for row in analysis["comparisons"]}
    pairs = (("sensitivity-30", "ila-30"), ("sensitivity-30", "random-30"), ("ila-30", "random-30"))
    for row in (rows[pair] for pair in pairs):
        assert row["declared"]
        assert row["scope"] == "method"
        assert 0 <= row["p"] <= row["adjusted_p"] <= 1
        assert row["verdict"]
