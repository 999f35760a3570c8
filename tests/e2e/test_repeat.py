"""A run repeated from its folder alone, and packed for a reviewer."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from layersig.engine.repeat import _Keeper
from layersig.exporting.card import _public
from layersig.recipe.load import load
from layersig.store.archive import _weights
from tests.e2e.world import Run, World
from tests.manifests import manifest, source

PLUGIN = """\
from layersig import scorer


@scorer("last-letter", needs={"model"}, version=1)
def last_letter(context):
    return {layer: float(len(str(layer)) * 10 + number) for number, layer in enumerate(context.layers)}
"""
OVERRIDES = (
    'plugins=["./.tools/letters.py"]',
    "scorers.letters.kind=last-letter",
    'scorers.again={ kind = "transfer", source = "file:outside/earlier", scorer = "ila" }',
    "analyze.controls=false",
    """arms=[
        { name = "ila-30", scorer = "ila", select = { kind = "top", fraction = 0.3 } },
        { name = "letters-30", scorer = "letters", select = { kind = "top", fraction = 0.3 } },
    ]""",
)


@pytest.fixture(scope="module")
def kept(world: World, first: Run) -> Run:
    """A run that reads a plugin, data, a task with its rows, and the rankings of an earlier run."""
    (world.base / ".tools").mkdir()
    (world.base / ".tools" / "letters.py").write_text(PLUGIN)
    shutil.copytree(first.path, world.base / "outside" / "earlier")
    told = world.run(*OVERRIDES)
    assert told.code == 0, told.err
    return told.run


def test_everything_local_that_the_recipe_names_is_in_the_run_folder(world: World, kept: Run) -> None:
    folder = kept.path / "repeat"
    for name in (".tools/letters.py", "chats.jsonl", "choice.yaml", "choice.jsonl", "outside/earlier/scores.jsonl"):
        assert (folder / name).read_bytes() == (world.base / name).read_bytes(), name
    inputs = {each["file"]: each for each in kept.manifest["inputs"]}
    assert inputs["repeat/.tools/letters.py"]["key"] == "plugins.0"
    assert inputs["repeat/choice.jsonl"]["key"] == "evaluate.tasks.0.source"
    for name, each in inputs.items():
        assert each["sha256"] == hashlib.sha256((kept.path / name).read_bytes()).hexdigest()
    pins = dict(line.split("==") for line in (folder / "requirements.txt").read_text().splitlines())
    assert pins == kept.manifest["packages"]
    assert pins.keys() > {"torch", "transformers", "peft", "lm-eval", "jinja2", "numpy"}
    assert list(pins) == sorted(pins)


def test_a_run_is_repeated_from_its_folder_alone(world: World, kept: Run, tmp_path: Path) -> None:
    """Elsewhere, with the plugin, the data and the task of the first run gone: every stage has the same inputs."""
    copy = Path(shutil.copytree(kept.path, tmp_path / "copy"))
    hidden = world.base / "hidden"
    hidden.mkdir()
    names = (".tools", "chats.jsonl", "choice.yaml", "choice.jsonl", "outside")
    for name in names:
        (world.base / name).rename(hidden / name)
    try:
        again = World(world.base, copy / "repeat" / "recipe.toml").run()
    finally:
        for name in names:
            (hidden / name).rename(world.base / name)
    assert again.code == 0, again.err
    assert again.run.ran == set()
    assert {name: each["fingerprint"] for name, each in again.run.stages.items()} == {
        name: each["fingerprint"] for name, each in kept.stages.items()
    }
    assert again.run.results() == kept.results()


def test_the_kept_recipe_has_the_id_of_the_run_where_its_files_lie_below_it(
    world: World, kept: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the folders of weights and of runs are named otherwise: those are not copied, or not whole."""
    public = ("model.source=hub:some/model", 'scorers.again.source="file:outside/earlier/scores.jsonl"')
    monkeypatch.chdir(world.base)
    written = load(world.recipe, [*OVERRIDES, *public])
    monkeypatch.chdir(kept.path / "repeat")
    assert load("recipe.toml", public).id == written.id
    assert load("recipe.toml", public).recipe.plugins == (".tools/letters.py",)


def test_files_outside_of_the_recipe_s_folder_are_kept_too(world: World, tmp_path: Path) -> None:
    plugin = tmp_path / "far" / "letters.py"
    plugin.parent.mkdir()
    plugin.write_text(PLUGIN)
    told = world.run(f'plugins=["{plugin}"]', "scorers.letters.kind=last-letter", "arms=[]", "evaluate.tasks=[]")
    assert told.code == 0, told.err
    (found,) = [each for each in told.run.manifest["inputs"] if each["key"] == "plugins.0"]
    assert found["file"].startswith("repeat/elsewhere/")
    assert (told.run.path / found["file"]).read_text() == PLUGIN
    recipe = load(told.run.path / "repeat" / "recipe.toml").recipe
    assert told.run.path / "repeat" / recipe.plugins[0] == told.run.path / found["file"]


@pytest.fixture
def packed(world: World, kept: Run, tmp_path: Path) -> Path:
    target = tmp_path / "run.tar.gz"
    told = world.call("archive", kept.path, "-o", target, "--json")
    assert told.code == 0, told.err
    assert told.json["archive"] == str(target)
    return target


def test_an_archive_holds_what_a_reviewer_needs_and_no_weights(kept: Run, packed: Path) -> None:
    with tarfile.open(packed) as tar:
        members = {name.partition("/")[2]: tar.getmember(name) for name in tar.getnames()}
        read = {name: tar.extractfile(member).read() for name, member in members.items()}  # type: ignore[union-attr]
    wanted = {
        *("recipe.toml", "resolved.toml", "manifest.json", "scores.jsonl", "analysis.json", "report.html", "README.md"),
        *("repeat/recipe.toml", "repeat/.tools/letters.py", "repeat/requirements.txt", "evaluations/base/items.jsonl"),
    }
    assert wanted <= members.keys()
    assert not [name for name in members if name.startswith(("adapters/", "models/", ".")) or "safetensors" in name]
    for name, raw in read.items():
        if name != "README.md":
            assert raw == (kept.path / name).read_bytes()
    assert list(members) == sorted(members)
    assert {(each.mtime, each.uid, each.gid, each.uname, each.mode) for each in members.values()} == {
        (0, 0, 0, "", 0o644)
    }
    readme = read["README.md"].decode()
    assert "layersig run repeat/recipe.toml model.source=path:FOLDER" in readme
    assert kept.manifest["sources"][0]["digest"] in readme


def test_an_archive_has_the_same_bytes_whenever_it_is_packed(
    world: World, kept: Run, packed: Path, tmp_path: Path
) -> None:
    for path in kept.path.rglob("*.json*"):
        path.touch()
    assert world.call("archive", kept.path, "-o", tmp_path / "again.tar.gz").code == 0
    assert (tmp_path / "again.tar.gz").read_bytes() == packed.read_bytes()


def test_an_archive_is_unpacked_and_run(world: World, kept: Run, packed: Path, tmp_path: Path) -> None:
    with tarfile.open(packed) as tar:
        tar.extractall(tmp_path, filter="data")
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    again = World(world.base, folder / "repeat" / "recipe.toml").run(f"model.source=path:{world.base / 'model'}")
    assert again.code == 0, again.err
    assert (again.run.ran, again.run.results()) == (set(), kept.results())


def test_an_untrained_model_of_a_folder_is_named_by_its_place_at_home_and_by_its_name_elsewhere(tmp_path: Path) -> None:
    keeper = _Keeper(tmp_path, tmp_path / "repeat")
    spec = f"untrained:path:{tmp_path / 'm'}"
    assert keeper.rewritten({"model": {"source": "untrained:path:m"}}) == {"model": {"source": spec}}
    found = source("model", "model", resolved=spec, node="source/model")
    assert _public(found) == "untrained:path:m"
    (step,) = _weights(manifest(sources=[found]))
    assert "model.source=untrained:path:FOLDER" in step


def test_data_may_stay_out_of_an_archive(world: World, kept: Run, tmp_path: Path) -> None:
    target = tmp_path / "bare.tar.gz"
    assert world.call("archive", kept.path, "-o", target, "--no-data").code == 0
    with tarfile.open(target) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
        readme = tar.extractfile(f"{kept.manifest['name']}-{kept.manifest['id']}/README.md").read()  # type: ignore[union-attr]
    assert "repeat/.tools/letters.py" in names
    assert not names & {"repeat/chats.jsonl", "repeat/choice.jsonl", "repeat/outside/earlier/scores.jsonl"}
    digest = hashlib.sha256((world.base / "chats.jsonl").read_bytes()).hexdigest()
    assert f"Supply `chats.jsonl` (sha256 `{digest}`)" in readme.decode()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("no run", "no run"),
        ("unfinished", "is failed, and an archive is of a finished run"),
        ("no report", "lacks report.html"),
        ("edited score", "is not what the run wrote"),
        ("edited plugin", "letters.py"),
        ("target exists", "exists; name a file that is not there yet"),
        ("no such folder", "is no folder"),
        ("inside the run", "lies in the run folder"),
    ],
)
def test_what_cannot_be_packed_is_refused(world: World, kept: Run, tmp_path: Path, fault: str, words: str) -> None:
    run = Path(shutil.copytree(kept.path, tmp_path / "runs" / "tiny" / kept.path.name))
    target = tmp_path / "run.tar.gz"
    match fault:
        case "no run":
            run = tmp_path / "nothing"
        case "unfinished":
            manifest = json.loads((run / "manifest.json").read_text())
            (run / "manifest.json").write_text(json.dumps({**manifest, "status": "failed"}))
        case "no report":
            (run / "report.html").unlink()
        case "edited score":
            (run / "scores.jsonl").write_text((run / "scores.jsonl").read_text().replace("1", "2"))
        case "edited plugin":
            (run / "repeat" / ".tools" / "letters.py").write_text("# nothing\n")
        case "target exists":
            target.write_text("mine")
        case "no such folder":
            target = tmp_path / "absent" / "run.tar.gz"
        case "inside the run":
            target = run / "run.tar.gz"
    told = world.call("archive", run, "-o", target)
    assert told.code == 2
    assert words in told.err
    assert "Traceback" not in told.err
    assert target.exists() == (fault == "target exists")
    assert not list(tmp_path.glob(".run.tar.gz*"))
