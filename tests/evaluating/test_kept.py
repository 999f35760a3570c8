"""An evaluation that is killed at any moment ends with the bytes of one that was not, and asks for no answer twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from layersig.evaluating import heldout as heldout_module
from layersig.evaluating.kept import KeptAnswers, packed
from layersig.evaluating.stage import evaluate
from layersig.fast.decoder import Decoder
from layersig.records import Cell
from layersig.stages.job import Job
from layersig.stages.measurements import Evaluate
from layersig.streams import Streams
from tests.evaluating.test_stage import EXAMPLES
from tests.tiny import save_tiny, tiny_model

CHOICE = """\
task: capitals
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{country}}:"
doc_to_choice: cities
doc_to_target: right
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""
WRITTEN = """\
task: written
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{country}}:"
doc_to_target: "{{cities[0]}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 6, do_sample: false}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""
ROLLING = """\
task: rolling
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{country}}"
metric_list: [{metric: byte_perplexity}]
"""


class Killed(BaseException):
    """What a signal does to a process, in this one."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from layersig.data.examples import write_examples

    folder = tmp_path_factory.mktemp("world")
    lines = [
        {"country": f"land {n} " * (n % 3 + 1), "cities": [f"city {n}", "nowhere"], "right": n % 2} for n in range(8)
    ]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    for name, text in (("capitals", CHOICE), ("written", WRITTEN), ("rolling", ROLLING)):
        (folder / f"{name}.yaml").write_text(text)
    (folder / "data").mkdir()
    write_examples(folder / "data", "heldout", EXAMPLES)
    save_tiny(folder / "model")
    return folder


def job(world: Path, place: Path) -> Job:
    """The stage, in a workplace as the cache gives it: `out` is empty each time, `work` survives."""
    for name in ("out", "work"):
        (place / name).mkdir(parents=True, exist_ok=True)
    for each in (place / "out").iterdir():
        each.unlink()
    tasks = [
        {"source": f"file:{name}.yaml", "floor": name == "capitals"} for name in ("capitals", "written", "rolling")
    ]
    params = {"tasks": tasks, "batch_tokens": 48, "dtype": "float32", "device": "cpu", "quantization": "none"}
    inputs = {"model": world / "model", "data/chats": world / "data"}
    inputs |= {f"task/{n}": world / f"{name}.yaml" for n, name in enumerate(("capitals", "written", "rolling"))}
    streams = Streams(0, 0)
    return Job(Cell(), Evaluate.of(**params, attention="sdpa"), inputs, place / "out", place / "work", streams)


def bytes_of(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((place / "out").iterdir())}


@contextmanager
def passes(monkeypatch: pytest.MonkeyPatch, deadly: int | None = None) -> Iterator[list[str]]:
    """Notes every pass through the model, and dies in the one with this number."""
    noted: list[str] = []

    def deadlier(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*arguments: Any, **options: Any) -> Any:
            noted.append(name)
            if len(noted) == deadly:
                raise Killed
            return function(*arguments, **options)

        return noting

    with monkeypatch.context() as patch:
        for owner, name in ((Decoder, "logits"), (Decoder, "forward"), (heldout_module, "token_losses")):
            patch.setattr(owner, name, deadlier(name, getattr(owner, name)))
        yield noted


@pytest.fixture(scope="module")
def whole(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, float]:
    """An evaluation that was not interrupted: its folder, its passes and its tokens."""
    place = tmp_path_factory.mktemp("whole")
    patch = pytest.MonkeyPatch()
    done = job(world, place)
    with passes(patch) as noted:
        evaluate(done)
    return place, len(noted), done.cost["tokens"]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.7, 0.9])
def test_killed_in_any_pass_it_asks_for_nothing_twice(world, whole, tmp_path, monkeypatch, share):
    place, every, tokens = whole
    # The first passes try out the decoder; the last ones answer.
    deadly = 1 + round(share * (every - 1))
    with passes(monkeypatch, deadly) as before, pytest.raises(Killed):
        evaluate(job(world, tmp_path))
    kept = sum(len(json.loads(line)["answers"]) for line in _lines(tmp_path))
    again = job(world, tmp_path)
    with passes(monkeypatch) as after:
        evaluate(again)
    assert bytes_of(tmp_path) == bytes_of(place)
    assert len(_lines(tmp_path)) == len(_lines(place))
    # What is done again: the batch that it died in, at most 6 passes of writing, with what the batch continues; and
    # the passes in which the decoder tries itself out.
    with passes(monkeypatch) as trial:
        Decoder(tiny_model("llama"))
    assert len(before) + len(after) <= every + 6 + 1 + len(trial)
    assert share == 0 or kept > 0
    assert again.cost["tokens"] == pytest.approx(tokens, rel=0.25)


def _lines(place: Path) -> list[str]:
    path = place / "work" / "answers.jsonl"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.slow
def test_killed_again_and_again_it_still_ends(world, whole, tmp_path, monkeypatch):
    place, every, _ = whole
    for _ in range(every):
        try:
            with passes(monkeypatch, deadly=20):
                evaluate(job(world, tmp_path))
            break
        except Killed:
            continue
    assert bytes_of(tmp_path) == bytes_of(place)


@pytest.mark.parametrize(
    ("damage", "place_in_file"), [("cut", 0.1), ("cut", 0.97), ("zeros", 0.6), ("other", 0.5), ("numbers", 0.7)]
)
def test_a_file_that_a_crash_left_damaged_is_used_up_to_there(world, whole, tmp_path, damage, place_in_file):
    place, _, _ = whole
    content = (place / "work" / "answers.jsonl").read_bytes()
    at = int(place_in_file * len(content))
    damaged = {
        "cut": content[:at],
        "zeros": content[:at] + bytes(len(content) - at),
        "other": content[:at] + b"\xff{]" + content[at + 3 :],
        "numbers": content[:at].rpartition(b"\n")[0] + b'\n{"round": "first"}\n' + content[at:],
    }[damage]
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "answers.jsonl").write_bytes(damaged)
    evaluate(job(world, tmp_path))
    assert bytes_of(tmp_path) == bytes_of(place)
    for line in _lines(tmp_path):
        json.loads(line)


def test_answers_to_other_requests_are_not_used(tmp_path):
    path = tmp_path / "answers.jsonl"
    first = KeptAnswers(path)
    for content in ((1, 2), (3,)):
        first.round(packed([each]) for each in content).keep({0: [0.5, True]}, 7)
    second = KeptAnswers(path)
    assert second.round(packed([each]) for each in (1, 2)).known == {0: [0.5, True]}
    assert second.round(packed([each]) for each in (4,)).known == {}
    third = KeptAnswers(path)
    assert third.round(packed([each]) for each in (3,)).known == {}
    assert third.round([packed([3])]).tokens == 7
    assert packed([1, 2], [3]) != packed([1], [2, 3])


SCRIPT = """
import os, signal, sys
from pathlib import Path
from layersig.evaluating.kept import Round
from layersig.evaluating.stage import evaluate
from tests.evaluating.test_kept import job

keep, times = Round.keep, []

def deadly(self, answers, tokens):
    times.append(1)
    if len(times) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    keep(self, answers, tokens)

Round.keep = deadly
evaluate(job(Path(sys.argv[1]), Path(sys.argv[2])))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, 9, 14])
def test_killed_by_the_system(world, whole, tmp_path, number):
    place, _, _ = whole
    killed = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(world), str(tmp_path), str(number)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(_lines(tmp_path)) == number - 1
    evaluate(job(world, tmp_path))
    assert bytes_of(tmp_path) == bytes_of(place)
