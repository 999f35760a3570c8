"""`hub:ID[@REVISION]`: models and data of the Hugging Face hub, or of the server that `HF_ENDPOINT` names.

One of several configurations of a data set is `hub:ID:CONFIGURATION[@REVISION]`.

Files lie in the hub's own cache (`HF_HOME`), so what other programs have fetched is used again.
"""

from __future__ import annotations

import glob
import json
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import pyarrow
import pyarrow.parquet
from huggingface_hub import HfApi, constants, metadata_load, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import disable_progress_bars

from layersig.errors import MachineError, UserError, one_line
from layersig.sources.entries import hash_files, whole_entry
from layersig.sources.files import ADAPTER_CONFIG, MODEL_PATTERNS, check_model_folder, digest_model
from layersig.sources.hubfiles import files_of_split
from layersig.sources.source import Kind, Request, Source

TIMEOUT = 5.0
"""Seconds that the hub has to answer the first request; without a network, that is how long a run waits."""

_CARD = "README.md"
# The root of the HTTP library's errors; which library that is has changed between versions of huggingface_hub.
_HTTP_ERROR = cast(type[Exception], HfHubHTTPError.__bases__[0])


@dataclass(frozen=True, slots=True)
class _Repo:
    """A repository at a commit.

    Attributes:
        spec: How the recipe names it.
        id: `owner/name`.
        type: `model` or `dataset`.
        revision: What was asked for: a branch, tag or commit; None for the default branch.
        commit: What it stands for.
        names: All files; None when the hub was not asked.
        notes: What the user should know.
        config: Configuration of a data set that was asked for; None for the default one.
    """

    spec: str
    id: str
    type: str
    revision: str | None
    commit: str
    names: tuple[str, ...] | None
    notes: tuple[str, ...]
    config: str | None = None

    @property
    def reached(self) -> bool:
        return self.names is not None


class Hub:
    """Models (safetensors, configuration, tokenizer), data and questions (the files of one split)."""

    kinds: frozenset[Kind] = frozenset({"model", "data", "questions"})

    def load(self, kind: Kind, reference: str, request: Request) -> Source:
        """Fetch it, or take it from the cache when the hub cannot be reached.

        Raises:
            UserError: No such repository, revision or split; access refused; the files cannot be used.
            MachineError: The hub cannot be reached, and what is asked for is not in the cache.
        """
        repo_type = "model" if kind == "model" else "dataset"
        repo = _locate(reference, repo_type, offline=request.offline)
        path, digest, card = (_model if kind == "model" else _data)(repo, request)
        return Source(
            spec=repo.spec,
            resolved=f"hub:{repo.id}{f':{repo.config}' if repo.config else ''}@{repo.commit}",
            label=repo.id.rpartition("/")[2],
            kind=kind,
            path=path,
            revision=repo.commit,
            digest=digest,
            licence=_licence(card),
            notes=repo.notes,
        )


@contextmanager
def asked_once(repo_id: str) -> Iterator[None]:
    """Within this context, if the hub is unreachable, other libraries use its cache at once, without asking it.

    By default they retry six times, for half a minute.

    Args:
        repo_id: The data set to ask for; a hub that refuses it or does not know it has answered.
    """
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _answers(constants.ENDPOINT, repo_id)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@lru_cache
def _answers(endpoint: str, repo_id: str) -> bool:
    try:
        HfApi(endpoint=endpoint).dataset_info(repo_id, timeout=TIMEOUT)
    except (HfHubHTTPError, HFValidationError):
        return True
    except (_HTTP_ERROR, OfflineModeIsEnabled, OSError):
        return False
    return True


def _locate(reference: str, repo_type: str, *, offline: bool) -> _Repo:
    """Ask the hub for the commit and its files; without an answer, use what the cache has of that revision."""
    named, _, wanted = reference.partition("@")
    repo_id, _, config = named.partition(":")
    spec, revision = f"hub:{reference}", wanted or None
    if config and repo_type == "model":
        raise UserError(f"{spec}: only data sets have configurations; write hub:ID or hub:ID@REVISION")
    try:
        if offline:
            raise MachineError(
                f"{spec} is not on this machine and --offline forbids fetching it; "
                "run `layersig fetch RECIPE` once with a network"
            )
        with _translated(spec):
            ask = HfApi().model_info if repo_type == "model" else HfApi().dataset_info
            info = ask(repo_id, revision=revision, timeout=TIMEOUT)
        names = tuple(sibling.rfilename for sibling in info.siblings or ())
        return _Repo(spec, repo_id, repo_type, revision, str(info.sha), names, (), config or None)
    except MachineError as unreachable:
        try:
            cached = snapshot_download(
                repo_id, repo_type=repo_type, revision=revision, allow_patterns=[_CARD], local_files_only=True
            )
        except HFValidationError as error:
            raise UserError(f"{spec}: {error}") from error
        except LocalEntryNotFoundError:
            raise unreachable from None
        commit = Path(cached).name
        note = f"{spec}: the hub was not asked; commit {commit[:12]} from the cache of this machine is used"
        return _Repo(spec, repo_id, repo_type, revision, commit, None, () if offline else (note,), config or None)


def _model(repo: _Repo, request: Request) -> tuple[Path, str, Path | None]:
    # Folders below the top hold other formats, and `consolidated` files repeat the weights in the publisher's own.
    folder = _snapshot(repo, [*MODEL_PATTERNS, ADAPTER_CONFIG, _CARD], ignore=["*/*", "consolidated*"])
    check_model_folder(folder)
    return folder, digest_model(folder, request.cache), folder / _CARD


def _data(repo: _Repo, request: Request) -> tuple[Path, str, Path | None]:
    if not re.fullmatch(r"\w[\w.\-]*", request.split):
        raise UserError(f"{repo.spec}: {request.split!r} is not the name of a split")
    card = _snapshot(repo, [_CARD]) / _CARD if repo.names is None or _CARD in repo.names else None

    def build(folder: Path) -> None:
        if repo.names is None:
            raise MachineError(
                f"{repo.spec}: split {request.split!r} of commit {repo.commit[:12]} is not on this machine and the "
                "hub was not reached; run `layersig fetch RECIPE` once with a network"
            )
        chosen = files_of_split(repo.spec, repo.names, request.split, _metadata(card), repo.config, request.warn)
        snapshot = _snapshot(repo, [glob.escape(name) for name in chosen])
        try:
            _merge([snapshot / name for name in chosen], folder, request.split)
        except (ValueError, pyarrow.ArrowException) as error:
            raise UserError(f"{repo.spec}: the files of split {request.split!r} cannot be joined: {error}") from error

    parts = (repo.id.replace("/", "--"), repo.commit[:16], repo.config, request.split)
    origin = {"repository": repo.id, "commit": repo.commit, "split": request.split}
    entry = whole_entry(
        request.cache,
        "hub",
        "-".join(part for part in parts if part),
        build,
        origin=origin | ({"configuration": repo.config} if repo.config else {}),
        warn=request.warn,
    )
    (path,) = entry.path.iterdir()
    return path, hash_files(request.cache, {"data": path})["data"], card


def _snapshot(repo: _Repo, allow: list[str], ignore: list[str] | None = None) -> Path:
    if not sys.stderr.isatty():  # the hub's progress bars are noise in a log
        disable_progress_bars()
    with _translated(repo.spec):
        folder = Path(
            snapshot_download(
                repo.id,
                repo_type=repo.type,
                # The name, not the commit: the cache then remembers offline what the name stood for.
                revision=repo.revision if repo.reached else repo.commit,
                allow_patterns=allow,
                ignore_patterns=ignore,
                local_files_only=not repo.reached,
            )
        )
    if folder.name != repo.commit:
        raise MachineError(f"{repo.spec} was changed on the hub while it was fetched; run again")
    return folder


@contextmanager
def _translated(spec: str) -> Iterator[None]:
    """Translate hub errors: `UserError` if the user can fix it, `MachineError` for network failures."""
    try:
        yield
    except GatedRepoError as error:
        raise UserError(
            f"{spec} is gated: ask for access on its page, then log in with `hf auth login` or set HF_TOKEN"
        ) from error
    except RevisionNotFoundError as error:
        raise UserError(f"{spec}: the repository has no such revision; name a branch, a tag or a commit") from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"{spec} was not found; check its name, or, if it is private, log in with `hf auth login` or set HF_TOKEN"
        ) from error
    except HFValidationError as error:
        raise UserError(f"{spec}: {error}") from error
    except HfHubHTTPError as error:
        if error.response.status_code in (401, 403):
            raise UserError(
                f"{spec}: the hub refuses your token; log in again with `hf auth login`, or correct HF_TOKEN"
            ) from error
        said = str(error).splitlines()[0]
        raise MachineError(f"{spec}: the hub answered with an error ({said}); try again later") from error
    except (_HTTP_ERROR, OfflineModeIsEnabled, OSError) as error:
        raise MachineError(f"{spec} cannot be reached ({one_line(error)}; is there a network?)") from error


def _merge(files: list[Path], folder: Path, split: str) -> None:
    """One file with the rows of all. A copy, not a link, so that damage to it cannot reach the hub's cache."""
    if len(files) == 1:
        shutil.copyfile(files[0], folder / f"{split}{files[0].suffix}")
    elif files[0].suffix == ".parquet":
        table = pyarrow.concat_tables(map(pyarrow.parquet.read_table, files), promote_options="default")
        pyarrow.parquet.write_table(table, folder / f"{split}.parquet")
    else:
        (folder / f"{split}.jsonl").write_bytes(b"".join(_lines(file) for file in files))


def _lines(file: Path) -> bytes:
    """Content of a `.jsonl` or `.json` file, one row a line."""
    raw = file.read_bytes()
    if raw.lstrip().startswith(b"["):
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in json.loads(raw)).encode()
    return raw if raw.endswith(b"\n") else raw + b"\n"


def _metadata(card: Path | None) -> dict[str, Any]:
    return (metadata_load(card) or {}) if card is not None and card.is_file() else {}


def _licence(card: Path | None) -> str | None:
    licence = _metadata(card).get("license")
    return ", ".join(map(str, licence)) if isinstance(licence, list) else licence
