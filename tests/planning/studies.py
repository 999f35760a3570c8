"""Three small studies that between them have every kind of stage that runs a model."""

from __future__ import annotations

from pathlib import Path

from tests.study import RECIPE, chats, write_lines, write_study

LORA = RECIPE.replace("steps = 3", "epochs = 2").replace("rank = 2", "rank = 8")
"""LoRA on few layers and on all, ILA, tasks."""

SCORERS = """\
name = "scorers"
seeds = [0, 1]
[model]
source = "path:model"
dtype = "float32"
[[data]]
name = "chats"
source = "file:chats.jsonl"
heldout = 6
max_tokens = 64
[train]
rank = 4
dropout = 0.1
steps = 4
batch_size = 4
learning_rate = 0.01
[scorers.gradient]
kind = "gradient-norm"
batches = 2
[scorers.taylor]
kind = "update-taylor"
batches = 2
[scorers.path]
kind = "path-attribution"
batches = 2
nodes = 2
[scorers.out]
kind = "leave-one-out"
batches = 1
[scorers.sensitive]
kind = "adalora-sensitivity"
batches = 2
[scorers.moved]
kind = "weight-change"
[scorers.last]
kind = "last-k"
[[arms]]
name = "last"
scorer = "last"
select = { kind = "top", fraction = 0.4 }
[[arms]]
name = "searched"
scorer = "gradient"
select = { kind = "top", fraction = 0.5 }
train = { search = { learning_rates = [0.01, 0.001], validation = 0.2 } }
[[arms]]
name = "adalora"
scorer = "taylor"
select = { kind = "top", fraction = 0.5 }
train = { method = "adalora", adalora = { init_r = 4, target_r = 2 } }
[[arms]]
name = "full"
scorer = "moved"
select = { kind = "top", fraction = 0.5 }
train = { method = "full" }
[evaluate]
tasks = [{ source = "file:choice.yaml", floor = true, shots = 2, limit = 6 }]
[analyze]
controls = false
primary = ["last", "full"]
"""

PRUNING = """\
name = "pruning"
seeds = [0]
[model]
source = "path:model"
dtype = "float32"
[[data]]
name = "chats"
source = "file:chats.jsonl"
heldout = 6
max_tokens = 64
[train]
rank = 4
steps = 4
batch_size = 4
learning_rate = 0.01
[scorers.bi]
kind = "block-influence"
batches = 2
[scorers.ablation]
kind = "ablation"
batches = 2
[scorers.tasks]
kind = "ablation"
tasks = [{ source = "file:choice.yaml", limit = 4 }]
[[arms]]
name = "bi"
scorer = "bi"
select = { kind = "lowest", count = 1 }
action = "prune"
[[arms]]
name = "recovered"
scorer = "ablation"
select = { kind = "lowest", count = 1 }
action = "prune"
recover = {}
[evaluate]
tasks = [{ source = "file:choice.yaml", limit = 6 }, "file:write.yaml"]
[analyze]
baseline = "base"
controls = false
"""

WRITTEN = """\
task: written
dataset_path: json
dataset_kwargs:
  data_files:
    test: write.jsonl
output_type: generate_until
test_split: test
doc_to_text: "{{question}}"
doc_to_target: answer
generation_kwargs:
  max_gen_toks: 6
  do_sample: false
  until: []
metric_list:
  - metric: exact_match
"""

STUDIES = {"lora": LORA, "scorers": SCORERS, "pruning": PRUNING}


def write(folder: Path, name: str) -> Path:
    """One of `STUDIES` with everything that it names; the path of the recipe."""
    recipe = write_study(folder, recipe=STUDIES[name])
    (folder / "write.yaml").write_text(WRITTEN)
    write_lines(folder / "chats.jsonl", chats(40))
    write_lines(folder / "write.jsonl", [{"question": f"count to {n}", "answer": str(n)} for n in range(5)])
    return recipe
