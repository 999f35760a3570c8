"""How work is shared out, and how processes find one another; no process is started."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from layersig.cli.main import main
from layersig.distributed.launch import Launch, visible_cards
from layersig.distributed.world import ALONE, Several, World, world
from layersig.errors import UserError
from layersig.fast.plain import singly
from layersig.fast.shares import SharedCut, Sharing, shares
from layersig.recipe.schema import TrainSettings
from layersig.stages.halving import Halving, undivided
from layersig.stages.kinds import SPECS
from layersig.training.methods.splitting import check_split
from tests.training.world import examples


class Pretended(Several):
    """One of several processes, without the others."""

    def __init__(self, rank: int, size: int, *, sharded: bool = False) -> None:
        self.rank, self.size, self.sharded = rank, size, sharded


@given(st.lists(st.integers(1, 300), min_size=1, max_size=40), st.integers(1, 8), st.data())
def test_shares_are_the_batch_and_balanced(lengths: list[int], count: int, data: st.DataObject) -> None:
    batch = data.draw(st.lists(st.integers(0, len(lengths) - 1)))
    parts = shares(lengths, batch, count)
    assert sorted(index for part in parts for index in part) == sorted(batch)
    sizes = [sum(lengths[index] for index in part) for part in parts]
    longest = max((lengths[index] for index in batch), default=0)
    assert max(sizes) - min(sizes) <= longest


@given(st.integers(0, 9), st.integers(2, 5))
def test_over_a_split_model_every_process_passes_equally_often(rows: int, size: int) -> None:
    lengths = [3 + index % 4 for index in range(9)]
    cuts = [SharedCut(Pretended(rank, size), singly, 9)(lengths, range(rows)) for rank in range(size)]
    assert {len(cut) for cut in cuts} == {-(-rows // size)}
    real = [index for cut in cuts for (index,) in cut if index != 9]
    assert sorted(real) == list(range(rows))


def test_the_blank_example_has_no_target() -> None:
    held = Sharing(Pretended(0, 2, sharded=True), examples(3)).held
    assert len(held) == 4
    assert held.target_counts.tolist()[:3] == examples(3).target_counts.tolist()
    assert held.target_counts[3] == 0


def test_one_process_shares_nothing() -> None:
    sharing = Sharing(world(), examples(3))
    assert world() is ALONE
    assert sharing.held is sharing.examples
    assert sharing.cut(singly) is singly
    assert sharing.runner(sharing) is sharing  # type: ignore[arg-type, comparison-overlap]
    assert list(World().shared([1, 2], lambda own: [each * 2 for each in own])) == [(1, 2, True), (2, 4, True)]


def test_a_launch_is_read_from_the_environment() -> None:
    found = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "here", "MASTER_PORT": "1"}
    assert Launch.of(found) == Launch(3, 4, 1)
    assert Launch.of({}) is None
    assert Launch.of({**found, "WORLD_SIZE": "1"}) is None
    with pytest.raises(UserError, match="MASTER_PORT is not set"):
        Launch.of({name: value for name, value in found.items() if name != "MASTER_PORT"})


def test_every_process_of_a_machine_gets_a_card() -> None:
    environment = {"CUDA_VISIBLE_DEVICES": "4,6"}
    Launch(3, 4, 1).take_card(environment)
    assert environment == {"CUDA_VISIBLE_DEVICES": "6", "LOCAL_RANK": "0"}
    with pytest.raises(UserError, match="finds 2 GPUs"):
        Launch(2, 4, 2).take_card({"CUDA_VISIBLE_DEVICES": "4,6"})
    assert visible_cards({"CUDA_VISIBLE_DEVICES": ""}) == ()


def test_nothing_is_halved_while_others_pass_through_the_model() -> None:
    def work(batch: list[int]) -> int:
        if len(batch) > 1:
            raise MemoryError
        return sum(batch)

    halving: Halving[int] = Halving("numbers", len, lambda: None)
    with undivided(), pytest.raises(MemoryError):
        halving.run(work, [1, 2])
    assert halving.run(work, [1, 2]) == [1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "dora"}, r'"dora" reads whole weights'),
        ({"method": "full", "optimizer": "adamw-bf16"}, r'"adamw-bf16" cannot move weights that are split'),
    ],
)
def test_what_cannot_be_split_is_refused(change: dict[str, str], message: str) -> None:
    settings = TrainSettings().model_copy(update=change)
    with pytest.raises(UserError, match=message):
        check_split(settings, checkpoint=settings.method == "full")


def test_only_sums_depend_on_the_number_of_processes() -> None:
    shared = {kind: spec.shared for kind, spec in SPECS.items() if spec.shared}
    assert shared == {
        "reference": "sums",
        "tune": "sums",
        "recover": "sums",
        "score": "sums",
        "evaluate": "items",
        "untouched": "items",
    }


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["--shard"], {}, "--shard splits a model among several processes"),
        (["--engine", "local:2"], {"RANK": "0", "WORLD_SIZE": "2"}, "use one of the two"),
    ],
)
def test_options_that_do_not_go_with_the_launch_are_refused(
    arguments: list[str],
    environment: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in {**environment, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main(["run", "quickstart", *arguments])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@given(st.integers(0, 9), st.integers(1, 4))
def test_parts_are_taken_in_turns_and_summed_once(count: int, size: int) -> None:
    turns = World.turns(Pretended(0, size), count)
    assert [number for turn in turns for number in turn] == list(range(count))
    assert {len(turn) for turn in turns[:-1]} <= {size}
    done, summed = [], []
    for rank in range(size):
        process, total = Pretended(rank, size), torch.zeros(())
        process.sum = summed.extend  # type: ignore[method-assign]
        process.add_up(range(count), [total], lambda part, total=total: total.add_(2**part))
        done.append(int(total))
    assert sum(done) == 2**count - 1, "every part was added in one process"
    assert len(summed) == size
    split = torch.zeros(())
    Pretended(0, size, sharded=True).add_up(range(count), [split], lambda part: split.add_(2**part))
    assert int(split) == 2**count - 1, "over a sharded model every process takes all"
