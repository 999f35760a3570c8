"""The documentation names everything that users meet, its examples are valid, and its links hold."""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest

import layersig
from layersig import errors
from layersig.analysis.verdicts import Verdict
from layersig.cli.main import VERBS
from layersig.plugin import hookspecs
from layersig.plugin.components import KINDS
from layersig.plugin.manager import built_in
from layersig.recipe.load import load
from layersig.recipe.reference import render
from layersig.sources.resolve import LOADERS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
EVERYWHERE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]


def generated() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("docs_reference", DOCS / "_ext" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pages: dict[str, str] = module.pages()
    return pages


MADE = generated()


def anchors(text: str) -> set[str]:
    """Anchors of headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), flags=re.M)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", head).lower() for head in heads)
    return {re.sub(r"[^\w\- ]", "", head).strip().replace(" ", "-") for head in plain}


def test_every_verb_hook_verdict_error_component_and_public_name_is_in_the_reference() -> None:
    assert all(f"## layersig {verb}\n" in MADE["cli.md"] for verb in VERBS)
    assert all(f"## {name}\n" in MADE["hooks.md"] for name in vars(hookspecs) if name.startswith("layersig_"))
    assert all(f"| {verdict.value} |" in MADE["verdicts.md"] for verdict in Verdict)
    found = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.LayersigError)]
    assert len(found) >= 4
    assert all(f"| `{error.__name__}` | {error.exit_code} |" in MADE["verdicts.md"] for error in found)
    for kind in KINDS:
        assert all(f"| `{name}` | " in MADE["components.md"] for name in built_in().names(kind))  # type: ignore[arg-type]
    assert all(f"| `{name}` | " in MADE["components.md"] for name in LOADERS)
    assert all(f"### {name}\n" in MADE["python.md"] for name in layersig.__all__ if name != "__version__")


def test_every_key_scorer_policy_and_method_is_in_the_recipe_reference() -> None:
    text = render()
    for kind, field in (("scorer", "kind"), ("policy", "kind"), ("method", "method")):
        assert all(f'`{field} = "{name}"`' in text for name in built_in().names(kind))  # type: ignore[arg-type]


@pytest.mark.parametrize("page", EVERYWHERE, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_a_page_lead_to_files_and_headings_that_exist(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page if not name else (page.parent / name).resolve()
        made = MADE.get(target.name) if target.parent == DOCS / "reference" else None
        assert made is not None or target.exists(), link
        if anchor and target.suffix == ".md":
            content = target.read_text(encoding="utf-8") if made is None else made
            assert anchor in anchors(content), link


def test_every_page_is_in_the_table_of_contents() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    listed = {
        line.strip()
        for block in re.findall(r"```\{toctree\}(.*?)```", index, flags=re.S)
        for line in block.splitlines()
    }
    named = {str(path.relative_to(DOCS)).removesuffix(".md") for path in PAGES} | {f"reference/{n[:-3]}" for n in MADE}
    assert {name for name in named if not name.startswith("results/")} - listed == {"index"}


def commands(page: Path) -> list[list[str]]:
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```", text, flags=re.M | re.S)
    joined = (line for block in blocks for line in block.replace("\\\n", " ").splitlines())
    lines = [line[2:] for line in joined if line.startswith("$ layersig ")]
    return [shlex.split(line, comments=True) for line in lines]


@pytest.mark.parametrize("page", EVERYWHERE, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_of_a_page_have_verbs_and_options_that_exist(page: Path) -> None:
    for words in commands(page):
        verb = next((word for word in words[1:] if not word.startswith("-")), None)
        options = {word.split("=")[0] for word in words if re.match(r"--[a-z]", word)}
        assert verb is None or verb in VERBS, words
        shown = MADE["cli.md"]
        assert all(f"{option}" in shown or option in ("--help", "--debug", "--version") for option in options), words


def test_the_recipe_of_the_tutorial_is_valid(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```toml\n(.*?)^```", (DOCS / "tutorial.md").read_text(encoding="utf-8"), flags=re.M | re.S)
    (tmp_path / "first.toml").write_text(text, encoding="utf-8")
    assert load(tmp_path / "first.toml").recipe.name == "first"


def examples() -> list[Any]:
    found = []
    for page in EVERYWHERE:
        blocks = re.findall(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.M | re.S)
        found += [pytest.param(block, id=f"{page.relative_to(ROOT)}-{i}") for i, block in enumerate(blocks)]
    return found


@pytest.mark.parametrize("block", examples())
def test_examples_in_toml_can_be_read(block: str) -> None:
    assert tomllib.loads(block)
