"""`show`, `open`, `rm`, `layers`, and recipes by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layersig.cli.main import GROUPS, VERBS
from layersig.errors import UserError
from layersig.recipe.bundled import names
from layersig.store.runfolder import RunFolder
from layersig.topics.analyse import analyse
from layersig.topics.render import render
from tests.report.synthetic import Study, write_run
from tests.study import RECIPE, call
from tests.tiny import save_tiny

STUDY = Study(blocks=2, data=("alpaca",), seeds=(0,), tasks=(), heldout=8, steps=4)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "runs" / "mine" / "0123456789ab"
    recipe = write_run(path, STUDY)
    analyse(path, recipe.model_copy(update={"analyze": recipe.analyze.model_copy(update={"resamples": 100})}))
    render(path)
    return path


def test_show_prints_the_answer_and_where_the_report_is(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "show", "mine")
    assert code == 0
    assert out.splitlines()[0].startswith("In one run, choosing layers with the scorer ila ")
    assert out.splitlines()[-1].endswith("runs/mine/0123456789ab/report.html")
    assert json.loads(call(capsys, "show", "mine", "--json")[1])["answer"] in out


def test_open_starts_a_browser_on_the_report(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or len(opened) == 1)  # type: ignore[func-returns-value]
    assert call(capsys, "open", "mine")[:2] == (0, "runs/mine/0123456789ab/report.html\n")
    assert opened == [(run / "report.html").as_uri()]
    code, _, err = call(capsys, "open", "mine")
    assert (code, "no browser" in err) == (0, True)
    (run / "report.html").unlink()
    assert call(capsys, "open", "mine")[0] == 2


def test_rm_deletes_only_when_told(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = call(capsys, "rm", "mine")
    assert (code, "use --yes" in err, run.is_dir()) == (2, True, True)
    with RunFolder(run).lock():
        code, _, err = call(capsys, "rm", "mine", "--yes")
        assert (code, "another process" in err, run.is_dir()) == (2, True, True)
    assert call(capsys, "rm", "mine", "--yes")[0] == 0
    assert list((run.parent.parent).iterdir()) == []


def test_rm_deletes_no_folder_that_is_not_a_run(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "extension"
    other.mkdir()
    (other / "manifest.json").write_text('{"name": "my extension"}')
    assert call(capsys, "rm", other, "--yes")[0] == 2
    assert (other / "manifest.json").exists()
    monkeypatch.chdir(run)
    assert call(capsys, "rm", ".", "--yes")[0] == 0
    assert not run.exists()


def test_layers_counts_what_a_study_would_rank(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_tiny(tmp_path / "model", "llama")
    capsys.readouterr()
    _, out, _ = call(capsys, "layers", tmp_path / "model")
    assert out.splitlines()[0].startswith("21 layers in 3 blocks, 23,040 weights")
    shares = [float(line.split()[-1].rstrip("%")) for line in out.splitlines()[1:]]
    assert len(shares) == 7
    assert sum(shares) == pytest.approx(100, abs=0.5)
    _, named, _ = call(capsys, "layers", f"path:{tmp_path / 'model'}", "--names", "--head")
    assert len(named.splitlines()) == 22
    assert named.splitlines()[-1].startswith("lm_head ")
    assert len(json.loads(call(capsys, "layers", tmp_path / "model", "--json")[1])["layers"]) == 21


def test_recipes_are_found_by_name_anywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("quickstart", "small/table-05", "recipes/quickstart.toml"):
        assert call(capsys, "validate", name)[0] == 0
    code, _, err = call(capsys, "validate", "quikstart")
    assert (code, "did you mean 'quickstart'?" in err) == (2, True)
    (tmp_path / "quickstart").write_text("name = 1\n")
    assert call(capsys, "validate", "quickstart")[0] == 2  # a file of that name comes first
    assert call(capsys, "validate", "../pyproject")[0] == 2
    assert {"quickstart", "small/noise"} <= set(names())


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("reun", "run"), ("lst", "runs"), ("delete", "rm"), ("dryrun", "plan"), ("validat", "validate"), ("new", "init")],
)
def test_mistyped_verbs_are_answered_with_the_right_one(
    capsys: pytest.CaptureFixture[str], typed: str, meant: str
) -> None:
    code, _, err = call(capsys, typed)
    assert (code, f"did you mean '{meant}'?" in err) == (2, True), err


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_an_example(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    assert f"layersig {verb}" in call(capsys, verb, "-h")[1].partition("\n\n")[2], verb


def test_help_shows_every_group(capsys: pytest.CaptureFixture[str]) -> None:
    out = call(capsys, "-h")[1]
    assert all(f"\n{group}:\n" in out for group in GROUPS)


def test_the_shell_completes_verbs_recipes_and_runs(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from click.shell_completion import ShellComplete

    from layersig.cli.main import cli

    complete = ShellComplete(cli, {}, "layersig", "_LAYERSIG_COMPLETE")
    assert "validate" in {item.value for item in complete.get_completions([], "va")}
    assert "quickstart" in {item.value for item in complete.get_completions(["run"], "qu")}
    assert {"mine", "mine/0123456789ab"} <= {item.value for item in complete.get_completions(["show"], "mi")}


def test_the_shell_completes_keys_and_values_of_overrides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from click.shell_completion import ShellComplete

    from layersig.cli.main import cli

    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(RECIPE)
    complete = ShellComplete(cli, {}, "layersig", "_LAYERSIG_COMPLETE")

    def found(typed: str, verb: str = "run") -> set[str]:
        return {item.value for item in complete.get_completions([verb, "mine.toml"], typed)}

    assert {"train.rank=", "train.method="} <= found("train.")
    assert found("train.meth", "plan") == {"train.method="}
    assert "arms.ila-30.select.fraction=" in found("arms.")
    assert "data.chats.heldout=" in found("data.chats.h")
    assert {"scorers.ila.steps=", "scorers.ila.kind="} <= found("scorers.ila.")
    assert {"train.method=lora", "train.method=dora"} <= found("train.method=")
    assert "scorers.ila.kind=gradient-norm" in found("scorers.ila.kind=g")
    assert "arms.ila-30.select.kind=top" in found("arms.ila-30.select.kind=t")
    assert found("model.quantization=") == {"model.quantization=none", "model.quantization=nf4"}
    assert found("evaluate.heldout=") == {"evaluate.heldout=true", "evaluate.heldout=false"}
    assert found("nothing.") == set()


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("--dry-run", "`layersig plan RECIPE` shows what a run would do"),
        ("-n", "`layersig plan RECIPE`"),
        ("--resume", "continues where it stopped"),
        ("-q", "progress goes to stderr"),
        ("--smok", "--smoke"),
    ],
)
def test_options_of_other_programs_are_answered(capsys: pytest.CaptureFixture[str], option: str, hint: str) -> None:
    code, _, err = call(capsys, "run", "quickstart", option)
    assert (code, hint in err) == (2, True), err


def test_the_version_and_tracebacks_behind_a_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "-V")[1].startswith("layersig, version ")
    with pytest.raises(UserError):
        call(capsys, "show", "nothing", "--debug")


def test_a_run_is_watched_until_it_ends(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from layersig.cli import status
    from layersig.store.runfolder import RunFolder

    ended = RunFolder(run).state()
    states = iter([{**ended, "status": each} for each in ("running", "running", "running", "complete")])
    monkeypatch.setattr(RunFolder, "state", lambda _: next(states))
    monkeypatch.setattr(status, "_EVERY", 0.0)
    lines = call(capsys, "status", "mine", "--watch")[1].splitlines()
    shown = [line for line in lines if line.startswith("mine/")]
    assert [line.split()[1] for line in shown] == ["running", "complete"]
