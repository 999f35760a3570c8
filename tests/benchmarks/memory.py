"""Memory of trainings of the embedded model: what is counted on the meta device beside what the process takes.

    python -m tests.benchmarks.memory

Every training runs in a process of its own, padded as on a GPU, in float32 on the CPU. `tensors` is the peak of all
tensors that are alive, `resident` by how much the process grew from before the model was loaded.
"""

from __future__ import annotations

import subprocess
import sys

import torch

from layersig.fast import batching
from layersig.fast.runner import Workload, training_runner
from layersig.models.adapters import inject_lora
from layersig.models.devices import peak_memory
from layersig.models.layermap import layer_map, model_of_configuration
from layersig.models.live_bytes import LiveBytes
from layersig.models.load import load_model
from layersig.planning.gpu_memory import spread
from layersig.recipe.schema import TrainSettings
from layersig.streams import Streams
from layersig.training.counted import count_training
from tests.benchmarks.world import model_folder
from tests.shapes import rows_of

LENGTHS = (128, 512, 1024)
SHARES = (1.0, 0.3)
_ROWS = 2
_MIB = 2**20


def main() -> None:
    if sys.argv[1:]:
        sys.stdout.write(measured(int(sys.argv[1]), float(sys.argv[2])))
        return
    sys.stdout.write(f"{'layers':>8}{'length':>8}{'counted':>10}{'tensors':>10}{'resident':>10}   MiB\n")
    for share in SHARES:
        for length in LENGTHS:
            command = [sys.executable, "-m", "tests.benchmarks.memory", str(length), str(share)]
            tensors, resident = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            found = counted(length, share)
            sys.stdout.write(
                f"{share:8.0%}{length:8}{found / _MIB:10.0f}{int(tensors) / _MIB:10.0f}{int(resident) / _MIB:10.0f}\n"
            )


def settings(length: int) -> TrainSettings:
    return TrainSettings(rank=32, dropout=0.0, batch_size=_ROWS, micro_batch_tokens=_ROWS * length)


def counted(length: int, share: float) -> int:
    model = model_of_configuration(model_folder()).float().eval().requires_grad_(False)
    layers = spread(list(layer_map(model)), share)
    found = count_training(model, layers, settings(length), whole=False, length=length)
    return found.weights + found.trained + found.passing


def measured(length: int, share: float) -> str:
    batching.packing.why_padded = lambda model, longest: "for comparison"
    with peak_memory(torch.device("cpu")) as memory:
        model = load_model(model_folder(), dtype=torch.float32, device="cpu")
        layers = spread(list(layer_map(model)), share)
        adapted = inject_lora(model, layers, rank=32, alpha=64, dropout=0.0, streams=Streams(0))
        parameters = {name: each for name, each in adapted.named_parameters() if each.requires_grad}
        examples = rows_of(2 * _ROWS, length)
        work = Workload(adapted, parameters, examples, [range(len(examples))], settings(length), Streams(0))
        with LiveBytes(adapted.parameters()) as live, training_runner(work) as runner:
            runner.loss_and_gradients(range(len(examples)), 1)
    return f"{live.peak} {memory.growth}"


if __name__ == "__main__":
    main()
