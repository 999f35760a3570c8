from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from layersig.errors import UserError
from layersig.plugin import manager
from layersig.plugin.identity import identity

DECORATED = """
from layersig import scorer

@scorer("fisher", needs={"gradients", "data"}, version=4)
def fisher(context, steps: int = 3):
    return {"x": float(steps)}
"""

LAZY = """
from layersig import Component, hookimpl

@hookimpl
def layersig_components():
    return [Component("scorer", "heavy", "layersig_heavy.scores:Heavy"), Component("source", "s3", "layersig_heavy:S3")]
"""

HEAVY = """
from layersig import scorer

@scorer("heavy", needs={"model"}, version=2)
class Heavy:
    def score(self, context):
        return {}
"""

Install = Callable[..., Path]


def test_the_built_in_table_leads_to_declared_components() -> None:
    known = manager.built_in()
    assert known.names("scorer") == (
        "ablation",
        "adalora-sensitivity",
        "add-one-in",
        "angular-distance",
        "block-influence",
        "ends",
        "first-k",
        "gradient-norm",
        "greedy",
        "ila",
        "last-k",
        "layer-contribution",
        "leave-one-out",
        "middle",
        "path-attribution",
        "projected-gradient",
        "random",
        "spectral",
        "transfer",
        "update-taylor",
        "weight-change",
        "whitened-gradient",
    )
    assert known.names("policy") == (
        "cost-aware",
        "freeze",
        "intersection",
        "list",
        "lowest",
        "matched-random",
        "quota",
        "threshold",
        "top",
        "type-depth",
        "types",
        "union",
    )
    for component in known:
        loaded = known.get(component.kind, component.name)
        assert loaded.label == f'{component.kind} "{component.name}" (built into layersig)'
        assert isinstance(component.implementation, str), "the table itself stays lazy"
        assert identity(loaded) == {"component": f"{component.kind}:{component.name}", "version": loaded.version}


def test_an_installed_module_offers_what_it_decorates(install: Install) -> None:
    install("layersig-fisher", DECORATED, version="0.2.0")
    found = manager.installed().get("scorer", "fisher")
    assert found.needs == {"gradients", "data"}
    assert found.label == 'scorer "fisher" (layersig-fisher 0.2.0)'
    assert identity(found) == {
        "component": "scorer:fisher",
        "version": 4,
        "distribution": "layersig-fisher",
        "distribution_version": "0.2.0",
    }


def test_a_hook_names_implementations_that_are_imported_when_asked_for(install: Install) -> None:
    package = install("layersig-heavy", LAZY)
    (package / "scores.py").write_text(HEAVY)
    known = manager.installed()
    assert "heavy" in known.names("scorer")
    assert known.names("source") == ("s3",)
    assert "layersig_heavy.scores" not in sys.modules
    assert known.get("scorer", "heavy").version == 2
    assert "layersig_heavy.scores" in sys.modules


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("import no_such_module_at_all", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("x = (", "SyntaxError"),
        ("x = 1", "it offers no component, topic or tracker"),
        (
            LAZY.replace("    return [", "    return [print, "),
            "must return Component objects, got builtin_function_or_method",
        ),
        (LAZY.replace("components()", "components(extra)"), "PluginValidationError"),
        (LAZY.replace('"heavy"', '"Heavy One"'), "a name is lower-case letters"),
        (DECORATED.replace('"data"', '"gpu"'), "unknown needs 'gpu'"),
        (LAZY.replace("    return [", "    raise ValueError('hook broke')\n    return ["), "ValueError: hook broke"),
        ("raise RuntimeError('no licence')", "(layersig_broken/__init__.py:1)"),
        (
            DECORATED + "LAYERSIG_API = '>=2,<3'",
            "works with version >=2,<3 of the plugin API, and this layersig has",
        ),
        (DECORATED + "LAYERSIG_API = 'two'", "LAYERSIG_API must be a range of versions"),
        (LAZY.replace('"s3"', '"hub"'), "source 'hub': this scheme is built in"),
    ],
)
def test_a_broken_plugin_costs_one_warning_that_names_it(
    install: Install, caplog: pytest.LogCaptureFixture, text: str, words: str
) -> None:
    install("layersig-broken", text)
    install("layersig-fisher", DECORATED)
    with caplog.at_level(logging.WARNING):
        known = manager.installed()
        manager.installed()
    assert "fisher" in known.names("scorer")
    assert "ila" in known.names("scorer")
    (record,) = caplog.records
    assert record.getMessage().startswith('plugin "layersig_broken" of layersig-broken 1.0 is not loaded: ')
    assert words in record.getMessage()
    assert known.problems == (record.getMessage(),)


def test_a_plugin_says_which_versions_of_the_api_it_works_with(install: Install) -> None:
    install("layersig-fisher", DECORATED + "LAYERSIG_API = '>=1.0,<2'\n", version="0.2.0")
    install("layersig-other", DECORATED.replace('"fisher"', '"other"'))
    plugins = {plugin.distribution: plugin for plugin in manager.installed().plugins}
    assert (plugins["layersig-fisher"].api, plugins["layersig-fisher"].label) == (">=1.0,<2", "layersig-fisher 0.2.0")
    assert plugins["layersig-other"].api is None
    assert manager.installed().problems == ()


def test_damaged_metadata_of_an_installation_is_a_warning_too(install: Install) -> None:
    package = install("layersig-fisher", DECORATED, editable=True)
    info = package.parent / "layersig_fisher-1.0.dist-info"
    (info / "direct_url.json").write_text("{")
    (problem,) = manager.installed().problems
    assert "layersig-fisher 1.0 is not loaded: JSONDecodeError" in problem


def test_errors_of_plugins_are_raised_on_request(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("layersig-broken", "raise RuntimeError('no licence')")
    monkeypatch.setenv("LAYERSIG_RAISE_PLUGIN_ERRORS", "1")
    with pytest.raises(RuntimeError, match="no licence"):
        manager.installed()


@pytest.mark.parametrize(
    ("wanted", "loaded"),
    [("", set()), ("layersig_Fisher", {"fisher"}), (" layersig-other ,layersig-fisher", {"fisher", "other"})],
)
def test_the_environment_limits_what_loads(
    install: Install, monkeypatch: pytest.MonkeyPatch, wanted: str, loaded: set[str]
) -> None:
    install("layersig-fisher", DECORATED)
    install("layersig-other", DECORATED.replace('"fisher"', '"other"'))
    monkeypatch.setenv("LAYERSIG_PLUGINS", wanted)
    assert set(manager.installed().names("scorer")) & {"fisher", "other"} == loaded


def test_a_plugin_that_is_asked_for_and_not_there_is_told(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("layersig-fisher", DECORATED)
    monkeypatch.setenv("LAYERSIG_PLUGINS", "layersig-fisher,layersig-fischer")
    known = manager.installed()
    assert "fisher" in known.names("scorer")
    assert known.problems == ("LAYERSIG_PLUGINS names layersig-fischer, which is not installed or has no plugin",)


def test_a_name_that_two_plugins_claim_is_refused_when_it_is_used(install: Install) -> None:
    install("layersig-fisher", DECORATED)
    install("layersig-own", DECORATED.replace('"fisher"', '"ila"'))
    install("layersig-twin", DECORATED)
    known = manager.installed()
    with pytest.raises(UserError) as caught:
        known.get("scorer", "fisher")
    assert str(caught.value) == (
        'the scorer "fisher" is offered twice, by layersig-fisher 1.0 and layersig-twin 1.0; rename one, or uninstall '
        "one of the plugins"
    )
    with pytest.raises(UserError, match=r"built into layersig and layersig-own 1\.0"):
        known.get("scorer", "ila")
    assert known.get("scorer", "random").name == "random"


def test_an_editable_installation_is_known_by_its_source_as_it_was_loaded(install: Install) -> None:
    package = install("layersig-fisher", DECORATED, editable=True)
    component = manager.installed().get("scorer", "fisher")
    assert component.origin.source == package
    before = identity(component)
    assert before.keys() == {"component", "version", "source"}

    def loaded_again() -> object:
        manager.installed.cache_clear()
        return identity(manager.installed().get("scorer", "fisher"))["source"]

    (package / "helper.py").write_text("x = 1\n")
    assert identity(component) == before, "the code that runs is still that of before"
    after = loaded_again()
    assert after != before["source"]
    (package / "helper.py").rename(package / "renamed.py")
    assert loaded_again() != after


def test_an_implementation_that_was_edited_before_it_was_imported_is_refused(install: Install) -> None:
    package = install("layersig-heavy", LAZY, editable=True)
    (package / "scores.py").write_text(HEAVY)
    known = manager.installed()
    (package / "scores.py").write_text(HEAVY.replace("{}", "{'x': 1.0}"))
    for _ in range(2):
        with pytest.raises(UserError, match=r"was edited after this process had loaded a part of it; start a new"):
            known.get("scorer", "heavy")
    manager.installed.cache_clear()
    assert manager.installed().get("scorer", "heavy").version == 2


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ("import no_such_module_at_all", "ModuleNotFoundError"),
        ("x = 1", "AttributeError"),
        ("class Heavy: pass", 'is not declared with @scorer("heavy")'),
        (HEAVY.replace('"heavy"', '"light"'), 'is not declared with @scorer("heavy")'),
    ],
)
def test_an_implementation_that_cannot_be_used_is_an_error_that_names_the_plugin(
    install: Install, scores: str, words: str
) -> None:
    package = install("layersig-heavy", LAZY)
    (package / "scores.py").write_text(scores)
    with pytest.raises(UserError, match=r'^scorer "heavy" \(layersig-heavy 1\.0\)') as caught:
        manager.installed().get("scorer", "heavy")
    assert words in str(caught.value)


def test_an_unknown_name_is_answered_with_the_nearest_and_all() -> None:
    with pytest.raises(UserError) as caught:
        manager.built_in().get("policy", "tpo")
    assert str(caught.value) == (
        'there is no policy "tpo"; did you mean "top"? Allowed: cost-aware, freeze, intersection, list, lowest, matched-random, quota, threshold, top, type-depth, types, union'  # noqa: E501  # one message, whole
    )


def test_files_join_what_is_installed(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(DECORATED)
    known = manager.with_files([file, file])
    assert known.get("scorer", "fisher").origin.label == "mine.py"
    assert "fisher" not in manager.installed().names("scorer")
