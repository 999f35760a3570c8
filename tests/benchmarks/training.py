"""LoRA on every linear layer: our loop, transformers' Trainer and TRL's SFTTrainer around PEFT."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from layersig.data.examples import Example, Examples
from layersig.fast.batching import PackedBatching, PaddedBatching
from layersig.fast.head import logits_at
from layersig.fast.lora import fast_lora
from layersig.fast.loss import cross_entropy
from layersig.fast.packing import packed
from layersig.fast.runner import Workload
from layersig.recipe.schema import TrainSettings
from layersig.streams import Streams
from layersig.training.log import TrainLog
from layersig.training.loop import train
from layersig.training.optimization import Optimization
from tests.benchmarks import world
from tests.benchmarks.harness import Table, alternate, matrix_peak, ratio
from tests.benchmarks.world import CPU

RATE = 2e-4


def settings(dropout: float, **more) -> TrainSettings:
    return TrainSettings(dropout=dropout, learning_rate=RATE, schedule="constant", warmup_ratio=0.0, **more)


def logged(model, found: Sequence[Example], chosen: Sequence[Sequence[int]], dropout: float, **more) -> TrainLog:
    """Our training."""
    rule = settings(dropout, **more)
    work = Workload(model, world.trained(model), Examples.of(found), chosen, rule, Streams(0, 0))
    return train(work, Optimization.of(rule))


def ours(model, found: Sequence[Example], chosen: Sequence[Sequence[int]], dropout: float) -> float:
    """Seconds from the start of the first step to the end of the last."""
    return logged(model, found, chosen, dropout).seconds


class Clock(TrainerCallback):
    """Seconds from the start of the first step to the end of the last, and the losses that were logged."""

    def __init__(self) -> None:
        self.began = self.ended = 0.0
        self.losses: list[float] = []

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    def on_step_begin(self, args, state, control, **kwargs):
        self.began = self.began or time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        if not args.use_cpu:
            torch.cuda.synchronize()
        self.ended = time.perf_counter()

    def on_log(self, args, state, control, logs=None, **kwargs):
        if logs and "loss" in logs:
            self.losses.append(float(logs["loss"]))


def _arguments(kind, folder: str, model, **options):
    options.setdefault("per_device_train_batch_size", world.BATCH)
    options.setdefault("logging_strategy", "no")
    return kind(
        output_dir=folder,
        num_train_epochs=1,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        adam_beta2=0.99,
        weight_decay=0.1,
        max_grad_norm=1.0,
        use_cpu=model.device.type == "cpu",
        bf16=model.device.type == "cuda",  # on a CPU autocast would only add casts: the weights are bfloat16 already
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        remove_unused_columns=False,
        train_sampling_strategy="sequential",  # the optimizer batches are given
        **options,
    )


def trainer(model, found: Sequence[Example], chosen: Sequence[Sequence[int]], **options) -> Clock:
    """The same with `Trainer`."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        Trainer(
            model=model,
            args=_arguments(TrainingArguments, folder, model, **options),
            train_dataset=world.rows(found, chosen),
            data_collator=world.padded,
            callbacks=[clock],
        ).train()
    return clock


def sft_trainer(model, found: Sequence[Example], chosen: Sequence[Sequence[int]], tokenizer, **options) -> Clock:
    """The same with TRL's `SFTTrainer`."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        SFTTrainer(
            model=model,
            args=_arguments(
                SFTConfig,
                folder,
                model,
                max_length=None,
                dataset_kwargs={"skip_prepare_dataset": True},
                **{"gradient_checkpointing": False, **options},
            ),
            train_dataset=Dataset.from_list(world.rows(found, chosen)),
            data_collator=world.padded,
            processing_class=tokenizer,
            callbacks=[clock],
        ).train()
    return clock


def arithmetic(
    model, found: Sequence[Example], chosen: Sequence[Sequence[int]], *, forward: float = 1.0, backward: float = 1.0
) -> float:
    """Operations that no implementation can leave out: products of weights, factors and attention, with gradients.

    Frozen weights take 2 forward and 2 backward a token and entry, factors 2 and 4, the head both at targets only;
    attention 4 forward and 8 backward a pair of positions that sees each other, and channel. `forward` and `backward`
    are the shares of the blocks that are gone through.
    """
    config = model.config
    body = model.get_base_model().model.layers.named_parameters()
    frozen = sum(each.numel() for name, each in body if each.dim() == 2 and "lora_" not in name)
    factors = sum(parameter.numel() for parameter in world.trained(model).values())
    head = config.vocab_size * config.hidden_size
    total = 0.0
    for batch in chosen:
        for index in batch:
            length, targets = len(found[index]), int(found[index].targets.sum())
            pairs = length * (length + 1) / 2
            total += 2 * (forward + backward) * length * frozen + 6 * length * factors + 4 * targets * head
            total += (4 * forward + 8 * backward) * pairs * config.hidden_size * config.num_hidden_layers
    return total


def speed(data: dict[str, str], dropouts: Sequence[float], steps: int, repeats: int) -> Table:
    peak = matrix_peak(torch.bfloat16)
    rows = [
        [f"{title}, dropout {dropout:g}: {row[0]}", *row[1:]]
        for title, spec in data.items()
        for dropout in dropouts
        for row in _compared(world.examples(spec), dropout, steps, repeats, peak)
    ]
    return Table(
        "Training",
        "LoRA of rank 32 on all 210 linear layers of SmolLM2-135M, bfloat16 weights and float32 factors, AdamW. Real "
        "tokens a second (padding does not count), from the start of the first step to the end of the last.",
        ["", "tokens/s", "spread", "times the best peer", "times padded Trainer", "of the arithmetic limit"],
        rows,
        [
            f"bfloat16 matrix peak measured in this run: {peak / 1e9:.0f} GFLOP/s.",
            f"{steps} optimizer steps of {world.BATCH} examples a repeat, {repeats} repeats in turn after one to warm "
            "up. Grouped: batches of examples of one length; the optimizer batches are the same for all who are "
            "compared on them. Ratios hold against the fastest peer on whichever batches, and against Trainer with "
            "dynamic padding of mixed batches.",
        ],
    )


def _compared(
    found: Sequence[Example], dropout: float, steps: int, repeats: int, peak: float
) -> Iterator[tuple[str, ...]]:
    mixed, grouped = (world.batches(found, steps, grouped=flag) for flag in (False, True))
    fresh = world.copies(world.peft_model(dropout=dropout))
    timings = alternate(
        {
            "layersig": lambda: ours(fresh(), found, mixed, dropout),
            "layersig, grouped": lambda: ours(fresh(), found, grouped, dropout),
            "Trainer + PEFT": lambda: trainer(fresh(), found, mixed).seconds,
            "Trainer + PEFT, grouped": lambda: trainer(fresh(), found, grouped).seconds,
            "TRL, grouped": lambda: sft_trainer(fresh(), found, grouped, world.tokenizer()).seconds,
        },
        repeats,
    )
    count, limit = world.tokens(found, mixed), arithmetic(fresh(), found, mixed) / peak
    best = min(
        (timing for name, timing in timings.items() if not name.startswith("layersig")), key=lambda each: each.median
    )
    for name, timing in timings.items():
        own = name.startswith("layersig")
        yield (
            name,
            f"{count / timing.median:.0f}",
            f"{timing.spread:.0%}",
            ratio(best, timing) if own else "",
            ratio(timings["Trainer + PEFT"], timing) if own else "",
            f"{limit / timing.median:.0%}",
        )


def equality(spec: str, steps: int) -> Table:
    """Whether the fast loop trains the same model: held-out loss, and gradients against float32."""
    found = world.examples(spec)
    heldout = [found[index] for index in range(0, len(found), len(found) // 24)][:24]
    chosen = world.batches(found, steps, grouped=True)
    losses = {}
    for name, run in (
        ("layersig", lambda model: ours(model, found, chosen, 0.0)),
        ("Trainer + PEFT", lambda model: trainer(model, found, chosen)),
    ):
        model = world.peft_model(dropout=0.0)
        run(model)
        losses[name] = _heldout(model, heldout)
    distances = {"layersig": [], "Trainer + PEFT": []}
    for indices in chosen[:: len(chosen) // 4]:
        batch = [found[index] for index in indices]
        reference = _gradient(torch.float32, batch, fast=False)
        for name, fast in (("layersig", True), ("Trainer + PEFT", False)):
            distances[name].append(_distance(_gradient(torch.bfloat16, batch, fast=fast), reference))
    rows = [
        [name, f"{losses[name]:.5f}", f"{sum(each) / len(each):.4f} ({min(each):.4f} to {max(each):.4f})"]
        for name, each in distances.items()
    ]
    return Table(
        "The same training",
        f"Held-out loss of 24 examples in float32 after {steps} identical optimizer batches at dropout 0, and the "
        "distance of the bfloat16 gradient to the float32 gradient of plain PEFT, relative to its norm: mean and "
        f"range of {len(distances['layersig'])} batches.",
        ["", "held-out loss", "distance of the gradient"],
        rows,
        [f"Difference of held-out losses: {abs(losses['layersig'] - losses['Trainer + PEFT']):.5f} nats a token."],
    )


def _heldout(model, heldout: Sequence[Example]) -> float:
    model = model.float().eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for example in heldout:
            micro = PaddedBatching(4096).lay_out([example], CPU)
            with logits_at(model, micro.positions):
                logits = model(**micro.inputs, use_cache=False).logits
            total += torch.nn.functional.cross_entropy(logits, micro.labels, reduction="sum").item()
            count += len(micro.labels)
    return total / count


def _gradient(dtype: torch.dtype, batch: Sequence[Example], *, fast: bool) -> dict[str, torch.Tensor]:
    model = world.peft_model(dropout=0.0, dtype=dtype).eval()
    for number, (name, parameter) in enumerate(world.trained(model).items()):
        if "lora_B" in name:  # as after some training, so that both factors have a gradient
            parameter.data.normal_(std=0.01, generator=torch.Generator().manual_seed(number))
    base = model.get_base_model()
    targets = sum(int(example.targets.sum()) for example in batch)
    if fast:
        with packed(base), fast_lora(base):
            _backward(base, PackedBatching(4096).lay_out(batch, CPU), targets)
    else:
        for example in batch:
            _backward(base, PaddedBatching(4096).lay_out([example], CPU), targets)
    return {name: parameter.grad for name, parameter in world.trained(model).items()}


def _backward(model, micro, targets: int) -> None:
    with logits_at(model, micro.positions):
        logits = model(**micro.inputs, use_cache=False).logits
    cross_entropy(logits, micro.labels, targets).backward()


def _distance(found: dict[str, torch.Tensor], reference: dict[str, torch.Tensor]) -> float:
    apart = sum(((found[name] - reference[name]) ** 2).sum() for name in reference)
    return float((apart / sum((value**2).sum() for value in reference.values())).sqrt())
