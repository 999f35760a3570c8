"""Memory on a GPU: what is loaded, lent, kept, and what happens where there is too little."""

from __future__ import annotations

import psutil
import pytest
import torch

from layersig.data.examples import Examples
from layersig.evaluating.heldout import mean_losses
from layersig.fast.decoder import Decoder
from layersig.fast.runner import Workload, reading_runner
from layersig.generating.generation import generate
from layersig.generating.prompts import Prompt
from layersig.models.accelerator import accelerator
from layersig.models.dense import trained_weights
from layersig.models.devices import free, peak_memory, pick_dtype
from layersig.models.layermap import layer_map
from layersig.models.load import borrow_model, load_model
from layersig.recipe.schema import LEAST_AUTO_TOKENS
from layersig.stages.sizes import kept_sizes
from layersig.streams import Streams
from layersig.training.gradients import visit_gradients
from layersig.training.loop import train
from layersig.training.optimization import Optimization
from tests.benchmarks.training import logged, settings
from tests.gpu.shapes import Setting, adapted
from tests.tiny import tiny_tokenizer

pytestmark = pytest.mark.cuda


@pytest.mark.card
def test_the_card_is_known(device: torch.device) -> None:
    found = accelerator(device)
    assert found.keys() >= {"accelerator", "accelerator_gib", "multiprocessors", "capability", "cuda"}
    assert pick_dtype("auto", device).dtype is torch.bfloat16 or torch.cuda.get_device_capability(device) < (8, 0)
    assert not torch.backends.cuda.cudnn_sdp_enabled()
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.card
def test_a_peak_is_credited_to_the_block_around(device: torch.device) -> None:
    with peak_memory(device) as outer:
        held = torch.zeros(2**30, dtype=torch.uint8, device=device)
        del held
        with peak_memory(device) as inner:
            pass
    assert outer.growth >= 2**30
    assert inner.growth < 2**28


def test_weights_go_straight_to_the_device(setting: Setting, tmp_path) -> None:
    model = setting.model("1B")
    model.save_pretrained(tmp_path)
    own = {name: value.cpu() for name, value in model.state_dict().items()}
    size = sum(value.nbytes for value in own.values())
    del model
    free(setting.device)
    before = psutil.Process().memory_info().rss
    loaded = load_model(tmp_path, dtype=torch.bfloat16, device=setting.device)
    grown = psutil.Process().memory_info().rss - before
    assert setting.tiny or grown < size / 2
    assert all(torch.equal(value.cpu(), own[name]) for name, value in loaded.state_dict().items())


def test_a_loan_leaves_nothing_behind(setting: Setting, tmp_path) -> None:
    setting.model("1B").save_pretrained(tmp_path)
    conversations = setting.conversations(8)
    compute = {"dtype": torch.bfloat16, "device": setting.device}
    with borrow_model(tmp_path, **compute):
        pass
    before = _allocated(setting.device)
    with borrow_model(tmp_path, **compute) as model:
        trained = adapted(model, dropout=0.1)
        logged(trained, conversations, [range(8)], 0.1, micro_batch_tokens=1024)
        trained.unload().requires_grad_(False)
        del trained, model
    with borrow_model(tmp_path, **compute):
        pass
    assert _allocated(setting.device) - before < 2**20


def _allocated(device: torch.device) -> int:
    free(device)
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


def test_gradient_scorers_hold_little_with_checkpointing(setting: Setting) -> None:
    model, conversations = setting.model("1B"), setting.conversations(setting.few(32, 4))
    examples = Examples.of(conversations)
    weights = {layer.name: model.get_submodule(layer.name).weight for layer in layer_map(model) if layer.block}
    peaks, sums = [], []
    for again in (False, True):
        total: dict[str, float] = {}
        with peak_memory(setting.device) as memory, reading_runner(model, examples, 8192, recompute=again) as runner:
            visit_gradients(
                runner,
                weights,
                examples,
                [range(len(conversations))],
                lambda _, name, value, total=total: total.__setitem__(name, value.norm().item()),
            )
        peaks.append(memory.growth)
        sums.append(total)
    assert sums[1] == pytest.approx(sums[0], rel=2e-2)
    assert setting.tiny or peaks[1] < 0.5 * peaks[0]


@pytest.mark.card
def test_full_fine_tuning_takes_what_is_planned(setting: Setting) -> None:
    model, conversations = setting.model("1B"), setting.conversations(24)
    layers = [layer for layer in layer_map(model) if layer.block is not None]
    count = sum(layer.parameters for layer in layers)
    rule = settings(0.0, method="full", micro_batch_tokens=2048, gradient_checkpointing=True)
    with peak_memory(setting.device) as memory, trained_weights(model, layers) as weights:
        work = Workload(model, weights, Examples.of(conversations), [range(24)] * 2, rule, Streams(0, 0))
        train(work, Optimization.of(rule))
    assert memory.growth < 17.5 * count + 4 * 2**30


@pytest.mark.card
def test_a_step_goes_on_in_halves_where_memory_runs_out(setting: Setting) -> None:
    model = adapted(setting.model("1B"))
    conversations, steps = setting.conversations(16), [range(16)]
    with peak_memory(setting.device) as memory:
        whole = logged(model, conversations, steps, 0.0, micro_batch_tokens=2**15)
    total = torch.cuda.get_device_properties(setting.device).total_memory
    free(setting.device)
    room = memory.start + 0.6 * memory.growth
    torch.cuda.set_per_process_memory_fraction(room / total, setting.device)
    try:
        model = adapted(model.unload())
        with kept_sizes() as sizes:
            parts = logged(model, conversations, steps, 0.0, micro_batch_tokens=2**15)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, setting.device)
    assert sizes.halved
    assert parts.steps[0].loss == pytest.approx(whole.steps[0].loss, rel=1e-3)


def test_what_the_device_chooses_fits(setting: Setting) -> None:
    """Nothing has to be halved where tokens are left to the device, in training, reading and writing."""
    conversations, tokenizer = setting.conversations(setting.few(96, 4)), tiny_tokenizer()
    prompts = [Prompt(tuple(each.tokens[:64].tolist()), (), setting.few(128, 4)) for each in conversations]
    model = adapted(setting.model("1B"))
    with kept_sizes() as sizes:
        logged(model, conversations, [range(len(conversations))], 0.1, micro_batch_tokens="auto")
        plain = model.unload().requires_grad_(False)
        assert len(mean_losses(plain, Examples.of(conversations), "conversations", "auto")) == len(conversations)
        assert all(generate(Decoder(plain), tokenizer, prompts, "auto"))
    assert not sizes.halved
    least = 8 * LEAST_AUTO_TOKENS
    assert setting.device.type == "cpu" or min(size for size in sizes.chosen.values() if size > 1) >= least


def test_four_bit_weights_train(device: torch.device, tmp_path) -> None:
    pytest.importorskip("bitsandbytes")
    setting = Setting(device, tiny=True)
    setting.model("1B").save_pretrained(tmp_path)
    model = load_model(tmp_path, dtype=torch.bfloat16, device=device, quantization="nf4")
    trained = adapted(model, dropout=0.1)
    before = {name: value.detach().clone() for name, value in trained.named_parameters() if value.requires_grad}
    log = logged(trained, setting.conversations(4), [range(4)] * 2, 0.1, micro_batch_tokens=256)
    assert all(torch.isfinite(torch.tensor(step.loss)) for step in log.steps)
    assert all(not torch.equal(value, before[name]) for name, value in trained.named_parameters() if name in before)
