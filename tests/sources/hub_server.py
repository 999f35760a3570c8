"""A small stand-in for the model hub on the loopback interface, for every test that needs one."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import pyarrow
import pyarrow.parquet
import pytest

Access = Literal["open", "gated", "bad-token", "broken"]


@dataclass(frozen=True)
class Repo:
    """A repository with one commit on `main`.

    Attributes:
        id: `owner/name`.
        type: `model` or `dataset`.
        files: Content by name.
        access: `gated` shows what there is but refuses the files (403), `bad-token` refuses all (401), `broken`
            answers 500.
        earlier: The commit before, which is still there by its name.
    """

    id: str
    type: Literal["model", "dataset"]
    files: Mapping[str, bytes]
    access: Access = "open"
    earlier: Repo | None = None

    @property
    def commit(self) -> str:
        """40 hexadecimal digits that stand for the content."""
        return hashlib.sha1(
            b"".join(name.encode() + content for name, content in sorted(self.files.items()))
        ).hexdigest()


@dataclass
class HubServer:
    """A running server.

    Attributes:
        url: For `HF_ENDPOINT`.
        requests: `METHOD path` of every request so far.
    """

    url: str
    requests: list[str] = field(default_factory=list)

    def environment(self, home: Path) -> dict[str, str]:
        """What a new process needs to take this server for the hub and `home` for its cache."""
        return {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}


def no_robots(count: int, split: str) -> list[dict[str, Any]]:
    """Rows in the fields of the data set of that name."""
    return [
        {
            "prompt": f"{split} {n}?",
            "prompt_id": f"{n:04}",
            "messages": [{"content": f"{split} {n}?", "role": "user"}, {"content": f"{n}.", "role": "assistant"}],
            "category": "Open QA",
        }
        for n in range(count)
    ]


def parquet(rows: list[dict[str, Any]]) -> bytes:
    """A file of rows."""
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


def use_hub(monkeypatch: pytest.MonkeyPatch, url: str, home: Path) -> None:
    """Make this process take `url` for the hub; huggingface_hub reads the environment only when it is imported."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@contextmanager
def hub_server(*repos: Repo) -> Iterator[HubServer]:
    """Serve repositories until the block ends: info, tree and files with ETag and commit, and the hub's error codes."""
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    httpd.daemon_threads = True
    server = HubServer(f"http://127.0.0.1:{httpd.server_port}")
    httpd.repos = {(repo.type, repo.id): repo for repo in repos}  # type: ignore[attr-defined]
    httpd.log = server.requests  # type: ignore[attr-defined]
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.log.append(f"{self.command} {path}")  # type: ignore[attr-defined]
        parts = path.strip("/").split("/")
        if parts[0] == "api":
            repo_type: str = parts[1].removesuffix("s")
            repo_id, rest = "/".join(parts[2:4]), parts[4:]
        else:
            repo_type = "dataset" if parts[0] == "datasets" else "model"
            parts = parts[1:] if repo_type == "dataset" else parts
            repo_id, rest = "/".join(parts[:2]), parts[2:]
        repo = self.server.repos.get((repo_type, repo_id))  # type: ignore[attr-defined]
        if repo is not None and repo.earlier is not None and rest[1:2] == [repo.earlier.commit]:
            repo = repo.earlier
        if repo is None:
            self._error(404, "RepoNotFound")
        elif repo.access == "gated" and rest[:1] == ["resolve"]:
            self._error(403, "GatedRepo")
        elif repo.access == "bad-token":
            self._error(401, None)
        elif repo.access == "broken":
            self._error(500, None)
        elif len(rest) > 1 and rest[1] not in ("main", repo.commit):
            self._error(404, "RevisionNotFound")
        elif rest[:1] == ["resolve"]:
            self._file(repo, "/".join(rest[2:]))
        elif rest[:1] == ["tree"]:
            self._json(
                [
                    {"type": "file", "path": name, "size": len(content), "oid": _etag(content)}
                    for name, content in repo.files.items()
                ]
            )
        else:
            siblings = [{"rfilename": name} for name in repo.files]
            self._json({"id": repo.id, "sha": repo.commit, "private": False, "siblings": siblings, "tags": []})

    def _file(self, repo: Repo, name: str) -> None:
        if name not in repo.files:
            self._error(404, "EntryNotFound")
            return
        content = repo.files[name]
        self._send(200, content, {"ETag": f'"{_etag(content)}"', "X-Repo-Commit": repo.commit})

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, code: str | None) -> None:
        self._send(status, b"", {"X-Error-Code": code} if code else {})

    def _send(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _etag(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()
