"""Damaged data files: rows of conversations and of questions, and tasks of a user with their rows.

Good files of many shapes are damaged, as bytes or as values, and read by what a run reads them with.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.csv
import pyarrow.parquet
from huggingface_hub import constants

from layersig.data.questions import read_questions
from layersig.data.stage import prepare
from layersig.evaluating.loading import load_task
from layersig.evaluating.tasks import resolve_task
from layersig.recipe.schema import TaskSettings
from layersig.records import Cell
from layersig.sources.resolve import resolve
from layersig.sources.source import Request
from layersig.stages.job import Job, Silent
from layersig.stages.kinds import Data
from layersig.streams import Streams
from tests.tiny import tiny_tokenizer
from tests.torture.harness import Trial

Rows = list[Any]

_CALL = {"type": "function", "function": {"name": "weather", "arguments": '{"town": "Oslo"}'}}
_SHAPES: tuple[dict[str, Any], ...] = (
    {"messages": [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "There."}]},
    {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Where?"}]},
            {"role": "assistant", "content": "There.", "train": True, "reasoning_content": "Hm."},
        ],
        "source": "x",
    },
    {
        "messages": [
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": None, "tool_calls": [_CALL]},
            {"role": "tool", "content": "rain", "name": "weather"},
            {"role": "assistant", "content": "It rains."},
        ],
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}],
    },
    {"conversations": [{"from": "human", "value": "Where?"}, {"from": "gpt", "value": "There."}], "weight": 1},
    {"conversations": ["Where?", "There."]},
    {"instruction": "Translate.", "input": "Haus", "output": "House", "id": 1},
    {"system": "Be brief.", "question": "Where?", "context": "Here.", "answer": "There.", "label": True},
    {"prompt": "Where?", "chosen": "There.", "rejected": "Nowhere.", "score_chosen": 1.5},
    {"prompt": "Where?", "response": "There.", "history": [["Hi.", "Hello."]], "thinking": "Hm."},
)
_QUESTION = {"question_id": 1, "category": "writing", "turns": ["Where?", "Why?"], "reference": ["There.", "So."]}
_ITEM = {"question": "Door opens to the", "choices": [" left", " right"], "answer": 0, "hint": "Look.", "id": "a"}
_TASK = """task: doors
dataset_path: json
dataset_kwargs:
  data_files:
    test: rows{suffix}
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{hint}}}}\\n{{{{question}}}}"
doc_to_target: answer
doc_to_choice: choices
metric_list:
  - metric: acc
    higher_is_better: true
"""


def trials(count: int, folder: Path) -> Iterator[Trial]:
    """So many damaged files, of every family in turn; a task that names a data set of the hub does not reach it."""
    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        for number in range(count):
            family = _FAMILIES[number % len(_FAMILIES)]
            place = folder / str(number)
            place.mkdir()
            yield family(random.Random(number), place, f"{family.__name__.strip('_')} {number}")
            shutil.rmtree(place)
    finally:
        constants.HF_HUB_OFFLINE = before


def _conversations(random: random.Random, folder: Path, name: str) -> Trial:
    rows = _copies(random, random.choice(_SHAPES))
    path = _written(random, folder / f"rows{random.choice(('.jsonl', '.json', '.parquet'))}", _damaged(random, rows))
    return Trial(name, lambda: _prepared(folder, path), str(folder))


def _mixed(random: random.Random, folder: Path, name: str) -> Trial:
    rows = [_copies(random, random.choice(_SHAPES))[place % 4] for place in range(6)]
    path = _written(random, folder / "rows.jsonl", _damaged(random, rows))
    return Trial(name, lambda: _prepared(folder, path), str(folder))


def _questions(random: random.Random, folder: Path, name: str) -> Trial:
    rows = [{**row, "question_id": place} for place, row in enumerate(_copies(random, _QUESTION))]
    path = _written(random, folder / f"rows{random.choice(('.jsonl', '.json', '.parquet'))}", _damaged(random, rows))

    def run() -> None:
        read_questions(resolve(f"file:{path.name}", "questions", Request(folder, folder / "cache")).path)

    return Trial(name, run, str(folder))


def _items(random: random.Random, folder: Path, name: str) -> Trial:
    path = folder / f"rows{random.choice(('.jsonl', '.json', '.parquet', '.csv'))}"
    _written(random, path, _damaged(random, _copies(random, _ITEM)))
    yaml = folder / "doors.yaml"
    yaml.write_text(_TASK.format(suffix=path.suffix))
    return Trial(name, lambda: _loaded(folder, yaml), str(folder))


def _tasks(random: random.Random, folder: Path, name: str) -> Trial:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in _copies(random, _ITEM)))
    lines = _TASK.format(suffix=".jsonl").splitlines()
    for _ in range(random.randint(1, 2)):
        place = random.randrange(len(lines))
        key, colon, _ = lines[place].partition(":")
        match random.randrange(5):
            case 0:
                del lines[place]
            case 1:
                lines[place] = f"{key}{colon} {random.choice(_YAML)}"
            case 2:
                lines.insert(place, random.choice(_YAML_LINES))
            case 3:
                lines[place] = lines[place][: random.randrange(len(lines[place]) + 1)]
            case _:
                lines.append(lines[place])
    yaml = folder / "doors.yaml"
    yaml.write_bytes(_bytes_damaged(random, "\n".join(lines).encode()) if random.random() < 0.3 else _joined(lines))
    return Trial(name, lambda: _loaded(folder, yaml), str(folder))


_FAMILIES: tuple[Callable[[random.Random, Path, str], Trial], ...] = (
    _conversations,
    _items,
    _mixed,
    _tasks,
    _conversations,
    _questions,
    _items,
)
_YAML = (
    *("null", "3", "-1", "1e400", "true", "[]", "{}", "[1, {a: b}]", "{a: [b]}", "'{{'", "'{{ question.x.y }}'"),
    *("'{% for c in choices %}{{ c }}{% endfor %}'", "'{{ hint | upper }}'", "'{{ nothing }}'", "'\\0'", "x" * 5000),
    *("!function nowhere.nothing", "!!python/object:os.system {}", "&a [*a]", "../rows.jsonl", "/", "[" * 500),
    *("'{{ 1 / 0 }}'", "'{{ choices[9] }}'", "generate_until", "loglikelihood", "hint", "*missing", "2026-01-01"),
)
_YAML_LINES = (
    *("\t", "%", "include: nothing.yaml", "class: X", "group: doors", "num_fewshot: 3", "fewshot_split: test"),
    *("fewshot_config: {split: x}", "process_docs: '{{x}}'", "? [a]", "- a", "repeats: -1", "unsafe_code: true"),
    *("doc_to_text: 5", "generation_kwargs: [1]", "target_delimiter: 3", "gen_prefix: '{{hint}}'", "metadata: x"),
    *("filter_list: 3", "process_results: x", "description: '{{x'", "doc_to_choice: '[1,'", "use_prompt: 'x:y'"),
)


def _copies(random: random.Random, row: dict[str, Any]) -> Rows:
    text = json.dumps(row)
    distinct = (re.sub("(Where|Weather|Haus|Door)", rf"\1 {place}", text) for place in range(7))
    return [json.loads(each) for each in distinct][: random.randint(4, 7)]


def _joined(lines: list[str]) -> bytes:
    return "\n".join(lines).encode()


_DEEP = "[" * 3000 + "]" * 3000
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**70, 1e308, float("nan"), float("inf"), "", " \n", "x" * 200_000, "\0", "\ud83d"),
    *([], {}, [[]], [{}], [None], {"": None}, [1, "a", {}], {"type": "image"}, [{"type": "image_url"}], "false", 0.5),
    *("[{", '[{"role": "user"}]', '{"name": 1}', "{{ 7 * 7 }}", "\u2028", [["a", "b", "c"]], [{"role": "user"}]),
)


def _damaged(random: random.Random, rows: Rows) -> Rows:
    """Rows of which a few values or keys are others than they should be."""
    for _ in range(random.randint(0, 3)):
        place = random.randrange(len(rows))
        if random.random() < 0.1:
            rows[place] = random.choice(_VALUES)
            continue
        owner, key = _spot(random, rows[place])
        if owner is None:
            continue
        match random.randrange(6):
            case 0:
                del owner[key]
            case 1 if isinstance(owner, dict):
                owner[random.choice(_KEYS)] = owner[key]
            case 2:
                owner[key] = [owner[key]]
            case 3:
                owner[key] = {"x": owner[key]}
            case 4 if isinstance(owner, dict):
                owner[random.choice(_KEYS)] = random.choice(_VALUES)
            case _:
                owner[key] = random.choice(_VALUES)
    return rows


_KEYS = (
    *("label", "weight", "loss_mask", "train", "tools", "reasoning", "content", "role", "system", "", "\0", "a" * 5000),
    *("images", "rejected", "mask", "history", "tool_calls", "name", "messages", "text", "choices", "input"),
)


def _spot(random: random.Random, value: Any) -> tuple[Any, Any]:
    """A container somewhere in a value, and a key of it."""
    owner, key = None, None
    while isinstance(value, dict | list) and value:
        owner = value
        key = random.choice(list(value)) if isinstance(value, dict) else random.randrange(len(value))
        value = value[key]
        if random.random() < 0.4:
            break
    return owner, key


def _written(random: random.Random, path: Path, rows: Rows) -> Path:
    if path.suffix in (".parquet", ".csv"):
        try:
            table = pyarrow.Table.from_pylist(rows)
            writer = pyarrow.parquet.write_table if path.suffix == ".parquet" else pyarrow.csv.write_csv
            writer(table, path)
        except Exception:  # what these formats cannot hold is written as something else under their names
            path.write_text(repr(rows), encoding="utf-8", errors="surrogatepass")
    else:
        texts = [json.dumps(row) for row in rows]
        if random.random() < 0.1:
            texts[random.randrange(len(texts))] = random.choice((_DEEP, '{"a": ' * 900 + "1" + "}" * 900, "9" * 6000))
        if random.random() < 0.1:
            texts[0] = texts[0].replace("{", '{"prompt": "twice", "prompt": "once", ', 1)
        text = f"[{', '.join(texts)}]" if path.suffix == ".json" else "".join(f"{each}\n" for each in texts)
        codec = random.choice((*("utf-8",) * 8, "utf-16", "utf-8-sig"))
        path.write_bytes(text.encode(codec))
    if random.random() < 0.3:
        path.write_bytes(_bytes_damaged(random, path.read_bytes()))
    return path


def _bytes_damaged(random: random.Random, raw: bytes) -> bytes:
    changed = bytearray(raw)
    match random.randrange(4):
        case 0:
            return raw[: random.randrange(len(raw) + 1)]
        case 1:
            for _ in range(random.randint(1, 8)):
                if changed:
                    changed[random.randrange(len(changed))] = random.randrange(256)
        case 2:
            start = random.randrange(len(raw) + 1)
            changed[start:start] = random.choice((b"\0", b"\xff\xfe", b"\r", b"\xed\xa0\x80", b'"', b"{", b"\n\n"))
        case _:
            start = random.randrange(len(raw) + 1)
            del changed[start : start + random.randint(1, 40)]
    return bytes(changed)


def _prepared(folder: Path, path: Path) -> None:
    source = resolve(f"file:{path.name}", "data", Request(folder, folder / "cache"))
    out = folder / "out"
    out.mkdir()
    params = {"limit": None, "heldout": 0.2, "group_by": None, "max_tokens": 512, "chat_template": "auto"}
    params["max_rewritten"] = 1.0
    inputs = {"model": _model(), "rows": source.path}
    prepare(Job(Cell(data="x"), Data.of(**params), inputs, out, folder, Streams(0, None), reporter=Silent()))


@cache
def _model() -> Path:
    import tempfile

    folder = Path(tempfile.mkdtemp())
    tiny_tokenizer().save_pretrained(folder)
    return folder


def _loaded(folder: Path, yaml: Path) -> None:
    found = resolve_task(f"file:{yaml.name}", None, Request(folder, folder / "cache"))
    task = load_task(TaskSettings(source=f"file:{yaml.name}"), found.path, Streams(0))
    for part in task.parts:
        part.build_all_requests()
