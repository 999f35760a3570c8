"""The documentation names everything that users meet, its examples are valid, and its links hold."""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from itertools import takewhile
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import layersig
from layersig import errors
from layersig.analysis.verdicts import Verdict
from layersig.cli.main import VERBS
from layersig.plugin import hookspecs
from layersig.plugin.components import KINDS
from layersig.plugin.manager import built_in
from layersig.recipe.json_schema import json_schema
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


FENCED = re.compile(r"^```.*?^```\n", flags=re.M | re.S)
END = re.compile(r"[|&;>]+")


def commands(page: Path) -> list[list[str]]:
    """The words after `layersig` wherever a page has a verb of it in a console or in code within a sentence."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```", text, flags=re.M | re.S)
    joined = (line for block in blocks for line in block.replace("\\\n", " ").splitlines())
    prompted = [line.partition("$ ")[2] for line in joined if re.match(r"\w*\$ ", line)]
    inline = re.findall(r"`(layersig [^`]+)`", FENCED.sub("", text))
    found = []
    for words in (shlex.split(line, comments=True) for line in (*prompted, *inline)):
        for place, word in enumerate(words[:-1]):
            if Path(word).name == "layersig" and re.match(r"[a-z]", words[place + 1]):
                found.append([*takewhile(lambda each: not END.fullmatch(each), words[place + 1 :])])
    return found


def options_of(verb: str) -> set[str]:
    """What the help of a verb, and of those below it, lists as options."""
    helps = re.findall(rf"^#+ layersig {verb}(?: \w+)?\n(.*?)(?=^#|\Z)", MADE["cli.md"], flags=re.M | re.S)
    lines = "\n".join(helps).splitlines()
    return {option for line in lines for option in re.findall(r"(?:^  |, )(--?[a-z][a-z-]*)", line.split("   ")[0])}


@pytest.mark.parametrize("page", EVERYWHERE, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_of_a_page_have_verbs_and_options_that_exist(page: Path) -> None:
    for verb, *words in commands(page):
        assert verb in VERBS, (verb, words)
        named = {word.split("=")[0].strip("[]") for word in words if re.match(r"\[?--?[a-z]", word)}
        assert named <= options_of(verb), (verb, words)


def test_commands_are_found_wherever_they_stand(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Or `layersig show RUN`, not `layersig -h`.\n\n```console\n$ A=1 layersig run a.toml \\\n  --shard &  # all\n"
        "head$ docker run x layersig plan a.toml --json | less --raw\nlayersig prints\n$ docker build -t layersig .\n"
        "```\n"
    )
    assert commands(page) == [["run", "a.toml", "--shard"], ["plan", "a.toml", "--json"], ["show", "RUN"]]
    assert "--shard" in options_of("run")
    assert "--shard" not in options_of("plan")
    assert all(commands(each) for each in (ROOT / "README.md", DOCS / "judging.md", DOCS / "clusters.md"))


@pytest.mark.parametrize("page", EVERYWHERE, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_stand_between_fences(page: Path) -> None:
    """Where their language is named, and the tests of this module find them."""
    assert re.findall(r"^(?:#.*)?\n    (\S.*)", FENCED.sub("", page.read_text(encoding="utf-8")), flags=re.M) == []


def test_the_recipe_of_the_tutorial_is_valid(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```toml\n(.*?)^```", (DOCS / "tutorial.md").read_text(encoding="utf-8"), flags=re.M | re.S)
    (tmp_path / "first.toml").write_text(text, encoding="utf-8")
    assert load(tmp_path / "first.toml").recipe.name == "first"


def examples() -> list[Any]:
    found = []
    for page in EVERYWHERE:
        blocks = re.findall(r"^ *```toml\n(.*?)^ *```", page.read_text(encoding="utf-8"), flags=re.M | re.S)
        found += [pytest.param(block, id=f"{page.relative_to(ROOT)}-{i}") for i, block in enumerate(blocks)]
    return found


def partial(schema: Any) -> Any:
    """The schema of a part of a recipe: nothing is required."""
    if isinstance(schema, list):
        return [partial(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: partial(value) for key, value in schema.items() if key != "required" or not isinstance(value, list)}


PART = jsonschema.Draft202012Validator(partial(json_schema(built_in())))


def faults(example: str) -> list[str]:
    """What a recipe could not have; tables of plugins, and of a package, have keys of their own."""
    values = tomllib.loads(example)
    assert values
    if "project" in values:
        return []
    if "plugins" in values:
        values.pop("scorers")
    return [error.message for error in PART.iter_errors(values)]


@pytest.mark.parametrize("block", examples())
def test_examples_in_toml_have_keys_and_values_of_recipes(block: str) -> None:
    assert faults(block) == []


@pytest.mark.parametrize(
    "example",
    ["sed = [0]", "[train]\nrnak = 8", "[train.dpo]\nbta = 0.1", '[scorers.a]\nkind = "ila"\nsteeps = 3',
     '[[arms]]\nselect = { kind = "top", of = "weights" }', "[evaluate]\ntasks = [{ sorce = 'x' }]"],
)  # fmt: skip
def test_an_example_with_a_wrong_key_is_noticed(example: str) -> None:
    assert faults(example)
