"""The packages of `plugins/` are found as installed plugins are, and what they offer keeps the rules."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest

from layersig.plugin import manager
from layersig.testing import check_method, check_scorer

OFFERED = {
    "layersig-gain": {"gain": {"width": 3}},
    "layersig-fisher": {"fisher": {"examples": 3}, "fisher-change": {"examples": 3}},
    "layersig-cka": {"cka": {"examples": 8}},
    "layersig-plop": {"feature-norm": {"examples": 3}},
    "layersig-spectrum": {"spectrum": {}},
    "layersig-owl": {"owl": {"examples": 3, "threshold": 2.0}},
    "layersig-snip": {
        "gmt": {"window": 2, "windows": 2},
        "snip": {"batches": 2, "reduce": "mean"},
        "taylor": {"batches": 2},
    },
    "layersig-trackio": {},
}


def test_they_offer_these_components_and_nothing_else(packages):
    known = manager.installed()
    assert known.problems == ()
    assert {plugin.distribution: plugin.api for plugin in known.plugins} == dict.fromkeys(OFFERED, ">=1.0,<2")
    found = {}
    for component in known:
        if component.origin.distribution != "layersig":
            found.setdefault(component.origin.distribution, set()).add(component.name)
            assert component.summary, component.name
    assert found == {distribution: set(names) for distribution, names in OFFERED.items() if names}


@pytest.mark.parametrize("name", sorted(name for offered in OFFERED.values() for name in offered))
def test_what_they_offer_keeps_the_rules(packages, name):
    params = next(offered[name] for offered in OFFERED.values() if name in offered)
    (component,) = (each for each in manager.installed() if each.name == name)
    check = {"scorer": check_scorer, "method": check_method}[component.kind]
    check(manager.installed().get(component.kind, name), params)


def test_each_is_a_package_of_its_own(packages):
    folders = sorted(folder.name for folder in packages.iterdir() if folder.is_dir())
    assert folders == sorted(OFFERED)
    for folder in folders:
        project = tomllib.loads((packages / folder / "pyproject.toml").read_text())["project"]
        module = folder.replace("-", "_")
        assert project["name"] == folder
        assert "layersig-plugin" in project["keywords"]
        assert list(project["entry-points"]["layersig"].values()) == [module]
        assert (packages / folder / project["readme"]).is_file()
        assert (packages / folder / "src" / module / "py.typed").is_file()


def test_listing_them_imports_no_torch(packages):
    modules = ", ".join(folder.replace("-", "_") for folder in OFFERED)
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    path = [str(packages / folder / "src") for folder in OFFERED]
    found = subprocess.run([sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}; {code}"], check=False)
    assert found.returncode == 0
