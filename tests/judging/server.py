"""A small judge on the loopback interface that answers as a test tells it to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CREATED = 1_790_000_000


@dataclass(frozen=True)
class Answer:
    """What the server does with a request.

    Attributes:
        text: What the judge writes.
        finish: Why it ended; None leaves it out.
        message: Further fields of the message, or others in the place of its content.
        usage: Tokens counted.
        status: Code; anything but 200 sends `body` instead of a completion.
        body: Raw body; None makes a completion of `text`.
        headers: Further headers.
        delay: Seconds before anything is sent.
        drop: Close the connection without a word.
        drip: Seconds before every byte of the body.
        cut: Bytes at the end of the body that are promised and never sent.
    """

    text: str = "Fair.\nRating: 7"
    finish: str | None = "stop"
    message: Mapping[str, Any] = field(default_factory=dict)
    usage: Mapping[str, int] | None = field(default_factory=lambda: {"total_tokens": 11})
    status: int = 200
    body: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drop: bool = False
    drip: float = 0.0
    cut: int = 0


Behaviour = Callable[[Mapping[str, Any], int], Answer | str]


@dataclass
class Judge:
    """A running server.

    Attributes:
        url: Base URL.
        behaviour: What it does with a request and its number from 1; may be changed while it runs.
        bodies: Every request, in order of arrival.
        keys: The `Authorization` header of every request.
        times: When each came.
    """

    url: str
    behaviour: Behaviour
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    stop: Callable[[], None] = lambda: None

    @property
    def prompts(self) -> list[str]:
        """The last message of every request."""
        return [str(body["messages"][-1]["content"]) for body in self.bodies]


def scripted(answers: Sequence[Answer | str]) -> Behaviour:
    """The answers in turn, the last of them for ever."""
    return lambda body, number: answers[min(number, len(answers)) - 1]


def sensible(body: Mapping[str, Any], number: int = 0) -> str:
    """A judge that gives longer answers higher grades and prefers them, whatever the order."""
    text = body["messages"][1]["content"]
    if "<second_assistant>" not in text:
        return f"Length counts.\nRating: {1 + len(_last(text)) % 10}"
    first, second = (len(_last(part)) for part in text.split("<second_assistant>"))
    return "Length counts.\nVerdict: " + ("TIE" if first == second else "FIRST" if first > second else "SECOND")


def _last(text: str) -> str:
    return text.rpartition("<assistant")[2].partition(">\n")[2].partition("\n</assistant>")[0]


@contextmanager
def judge_server(behaviour: Behaviour = sensible, port: int = 0) -> Iterator[Judge]:
    """Serve until the block ends, or until `stop` is called: then nothing listens at its port."""
    httpd = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
    httpd.daemon_threads = True
    judge = Judge(f"http://127.0.0.1:{httpd.server_port}/v1", behaviour)
    httpd.judge = judge  # type: ignore[attr-defined]
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    stopped = threading.Event()

    def stop() -> None:
        if not stopped.is_set():
            stopped.set()
            httpd.shutdown()
            httpd.server_close()

    judge.stop = stop
    try:
        yield judge
    finally:
        stop()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    lock = threading.Lock()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        judge: Judge = self.server.judge  # type: ignore[attr-defined]
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.lock:
            judge.bodies.append({**body, "path": self.path})
            judge.keys.append(self.headers.get("Authorization"))
            judge.times.append(time.monotonic())
            number = len(judge.bodies)
        made = judge.behaviour(body, number)
        answer = Answer(made) if isinstance(made, str) else made
        time.sleep(answer.delay)
        if answer.drop:
            return
        completion = {
            "id": "x",
            "model": f"{body['model']}-2026-09-21",
            "created": CREATED,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": answer.text, **answer.message},
                    **({} if answer.finish is None else {"finish_reason": answer.finish}),
                }
            ],
            "usage": answer.usage,
        }
        raw = (json.dumps(completion) if answer.body is None else answer.body).encode()
        try:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            raw = raw[: len(raw) - answer.cut]
            for part in (raw[at : at + 1] for at in range(len(raw))) if answer.drip else (raw,):
                time.sleep(answer.drip)
                self.wfile.write(part)
        except OSError:
            return  # who asked has gone
