"""The package that `layersig new-plugin` writes, for every kind: it works as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from layersig.plugin.components import PLUGIN_KINDS
from layersig.plugin.manager import installed as known_components
from layersig.plugin.manager import offered_topics, offered_trackers
from layersig.recipe.load import load
from layersig.scaffold.package import write_package
from tests.plugins.installing import installed
from tests.scaffold.marks import builds
from tests.study import call

FAST = ("scorer", "policy", "source", "objective", "tracker")
"""The others train a model in their tests."""
COMPARED = ("scorer", "policy", "source", "method", "objective")
"""Kinds of components: their packages have a recipe that compares."""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A package of every kind."""
    folder = tmp_path_factory.mktemp("packages")
    return {kind: write_package(f"my-{kind}", kind, folder, layersig="0.1") for kind in PLUGIN_KINDS}


@pytest.fixture
def _installed(packages: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with installed(packages.values(), tmp_path / "site", monkeypatch):
        yield


@pytest.mark.usefixtures("_installed")
def test_what_it_offers_is_found_and_its_recipe_is_valid(packages: dict[str, Path]) -> None:
    known = known_components()
    assert known.problems == ()
    assert {(plugin.distribution, plugin.api) for plugin in known.plugins} == {
        (f"layersig-my-{kind}", ">=1.0,<2") for kind in PLUGIN_KINDS
    }
    found = {(each.kind, each.name) for each in known if each.origin.label.startswith("layersig-my-")}
    assert found == {(kind, f"my-{kind}") for kind in COMPARED}
    assert [topic.where for topic in offered_topics()] == ["layersig_my_topic.topic:TOPIC"]
    assert [tracker.name for tracker in offered_trackers()] == ["my-tracker"]
    for kind in COMPARED:
        recipe = load(packages[kind] / "recipe.toml").recipe
        assert recipe.analyze.contrasts
        assert "ila" in recipe.scorers
        assert any("random" in arm.name for arm in recipe.arms)


@pytest.mark.usefixtures("_installed")
def test_its_tests_pass(packages: dict[str, Path]) -> None:
    folders = [str(packages[kind] / "tests") for kind in FAST]
    ended = pytest.main([*folders, "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-c", os.devnull])
    assert ended == pytest.ExitCode.OK


def test_it_passes_the_linter(packages: dict[str, Path]) -> None:
    for package in packages.values():
        rules = ["--isolated", "--no-cache", "--line-length", "120"]
        check = ["check", *rules, "--select", "E,F,W,I,UP,B,N,RUF,PT"]
        for arguments in (check, ["format", *rules, "--check"]):
            command = [sys.executable, "-m", "ruff", *arguments]
            found = subprocess.run(command, cwd=package, capture_output=True, text=True, check=False)
            assert found.returncode == 0, found.stdout


def test_every_file_has_the_name_of_the_plugin(packages: dict[str, Path]) -> None:
    for kind, package in packages.items():
        project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
        assert project["name"] == package.name == f"layersig-my-{kind}"
        names = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
        module = f"layersig_my_{kind}"
        assert {
            *("README.md", "pyproject.toml", ".gitignore", ".github/workflows/test.yml"),
            *(f"src/{module}/__init__.py", f"src/{module}/py.typed", f"tests/test_{module}.py"),
        } <= names
        for name in names:
            if "__pycache__" not in name:
                assert "{{" not in (package / name).read_text().replace("${{ matrix.python }}", ""), name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("Weight Size",), "a name is lower-case letters, digits and single hyphens"),
        (("random",), 'scorer "random" (built into layersig) has this name already'),
        (("top", "--kind", "policy"), 'policy "top" (built into layersig) has this name already'),
        (("dpo", "--kind", "objective"), 'objective "dpo" (built into layersig) has this name already'),
        (("hub", "--kind", "source"), "the scheme 'hub' is built in"),
        (("taken",), "exists already; take another name"),
        (("x", "-o", "nowhere"), "there is no folder nowhere"),
        (("x", "--kind", "scroer"), "'scroer' is not one of 'scorer', 'policy'"),
    ],
)
def test_what_it_cannot_write_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "layersig-taken").mkdir()
    code, out, err = call(capsys, "new-plugin", *arguments)
    assert (code, out, words in err) == (2, "", True), err


def test_the_verb_says_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = call(capsys, "new-plugin", "layersig-weight-size")
    assert (code, out) == (
        0,
        "layersig-weight-size: next, `cd layersig-weight-size`, `pip install --editable '.[test]'`, `pytest`\n",
    )
    assert "class WeightSize:" in (tmp_path / "layersig-weight-size/src/layersig_weight_size/__init__.py").read_text()
    value = json.loads(call(capsys, "new-plugin", "other", "--kind", "tracker", "--json")[1])
    assert value["package"] == "layersig-other"
    assert "README.md" in value["files"]


@pytest.mark.slow
@builds
@pytest.mark.parametrize("kind", PLUGIN_KINDS)
def test_it_installs_and_its_tests_pass(packages: dict[str, Path], tmp_path: Path, kind: str) -> None:
    package, site = packages[kind], tmp_path / "site"
    install = ["pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(site), str(package)]
    subprocess.run([sys.executable, "-m", *install], check=True)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    environment.pop("LAYERSIG_PLUGINS", None)
    for arguments in (("pytest", "-q", "-p", "no:cacheprovider"), ("layersig", "plugins", "--kind", kind)):
        command = [sys.executable, "-m", *arguments]
        found = subprocess.run(command, cwd=package, env=environment, capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stdout + found.stderr
    assert f"layersig-my-{kind} 0.1.0, plugin API >=1.0,<2\n" in found.stdout
