"""The judge's endpoint: one request over HTTP, repeated after failures that may pass."""

from __future__ import annotations

import datetime as dt
import http.client
import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from layersig.errors import MachineError, UserError
from layersig.judging.prompts import Prompt

BUSY_TRIES = 8
"""Requests before a judge that is busy (429, 5xx) is given up; with the waits between them, some two minutes."""
BROKEN_TRIES = 3
"""Requests before connections that break or stay silent are given up."""
FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0
"""Seconds between requests: doubled from the first up to the longest, unless the endpoint names a time itself."""
LONGEST_ASKED = 600.0
"""Seconds that an endpoint may ask to wait; more than that is given up at once."""

_BUSY = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_OF_PROXIES = range(520, 531)
"""Errors of the proxies in front of many endpoints, which tell that the endpoint behind does not answer."""
_REFUSED = frozenset({400, 413, 422})
_ENDED = frozenset({"stop", "eos", "eos_token", "end_turn", "stop_sequence"})
"""What endpoints say of a reply that ended by itself; no stop sequence of ours is ever sent."""
_LENGTHS = ("max_tokens", "max_completion_tokens")
_REMEDIES = {
    "temperature": 'set `judge.temperature = "default"`, so that none is sent and the judge uses its own',
    "max_tokens": 'set `judge.length_key = "max_completion_tokens"`',
    "max_completion_tokens": 'set `judge.length_key = "max_tokens"`',
}
_COMPLAINT = re.compile(
    r"support|unknown|unrecogni|unexpected|invalid|must|only|deprecated|allowed|permitted|extra|range|instead|default",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(r"context|too (?:large|long|many)|exceed|at most", re.IGNORECASE)
_SHOWN = 300
_SIZE_LIMIT = 2**24
_PART = 2**16


class Reply(NamedTuple):
    """What the judge wrote.

    Attributes:
        text: Its words without thoughts that the endpoint gives apart; empty when it wrote none.
        finish: Why it ended: `stop` by itself, so that its last line closes it; else what the endpoint calls it
            (`length`, `content_filter`, ...), `refusal`, or `unknown` where the endpoint says nothing.
        model: The model that the endpoint says wrote them.
        created: When, as the endpoint says, in UTC.
        tokens: Tokens of prompt and answer, as the endpoint counts them.
    """

    text: str
    finish: str
    model: str | None
    created: str | None
    tokens: int


class Refused(Exception):
    """The endpoint refuses this one prompt, for instance because it is too long; others may still pass."""


class Halted(Exception):
    """Another question has met a failure that stops all of them."""


class _Again(Exception):
    """A failure that may pass: what it was, how often to try, and how long the endpoint asks to wait."""

    def __init__(self, told: str, tries: int, wait: float | None = None) -> None:
        super().__init__(told)
        self.tries = tries
        self.wait = wait


@dataclass(frozen=True)
class Endpoint:
    """An endpoint with OpenAI's chat completions API.

    Attributes:
        base: Base URL.
        settings: What every request holds besides the prompt: `model`, `temperature`, the limit of tokens.
        key: The key, or None; it goes into one header of the requests and nowhere else.
        key_env: The variable that it was read from, for messages.
        timeout: Seconds to wait for an answer.
        halt: Once it is set, waiting ends and nothing more is asked.
    """

    base: str
    settings: Mapping[str, Any]
    key: str | None
    key_env: str | None
    timeout: float
    halt: threading.Event

    def ask(self, prompt: Prompt) -> Reply:
        """Put one prompt to the judge.

        Raises:
            UserError: The endpoint refuses the key, or knows no such model or path.
            MachineError: It cannot be reached, or stays busy or broken.
            Refused: It refuses this prompt.
            Halted: `halt` was set.
        """
        failures = 0
        while not self.halt.is_set():
            try:
                return self._request(prompt)
            except _Again as failure:
                failures += 1
                wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (failures - 1)) if failure.wait is None else failure.wait
                if failures >= failure.tries or wait > LONGEST_ASKED:
                    raise MachineError(
                        f"the judge at {self.base} {self._safe(str(failure))}, {failures} times in a row; run again "
                        "later: verdicts received so far are kept"
                    ) from None
                self.halt.wait(wait)
        raise Halted

    def _request(self, prompt: Prompt) -> Reply:
        body = json.dumps({**self.settings, "messages": prompt}).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(f"{self.base.rstrip('/')}/chat/completions", body, headers, method="POST")
        deadline = time.monotonic() + self.timeout
        try:
            with _opened(self.base, request, self.timeout) as response:
                raw, status, headers = _read(response, deadline), response.status, response.headers
        except (OSError, http.client.HTTPException) as error:
            self._unreached(error)
        if not 200 <= status < 300:
            self._refusal(status, raw, headers.get("Retry-After"))
        return self._reply(raw, headers.get("Date"))

    def _reply(self, raw: bytes, sent: str | None) -> Reply:
        try:
            value = json.loads(raw)
            choice = value["choices"][0]
            text, refusal = _words(choice["message"])
            usage = value.get("usage") or {}
            finish = "refusal" if refusal else _finish(choice.get("finish_reason"), usage, self._limit)
            return Reply(
                self._safe(text or refusal),
                self._safe(finish),
                None if value.get("model") is None else self._safe(str(value["model"])),
                _moment(value.get("created"), sent),
                int(usage.get("total_tokens") or 0),
            )
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError):
            said = raw.decode(errors="replace")
            raise _Again(f"answers what is no chat completion ({_short(said)})", BROKEN_TRIES) from None

    def _refusal(self, code: int, raw: bytes, retry_after: str | None) -> None:
        """Raises what an error of HTTP means."""
        said = self._safe(_short(_message(raw)))
        if code in (401, 403):
            how = f"the key in {self.key_env}" if self.key else "requests without a key"
            remedy = f"set {self.key_env} to a valid key" if self.key_env else "name its variable in `judge.key_env`"
            raise UserError(f"the judge at {self.base} refuses {how} ({code}); {remedy}")
        if code in _BUSY or code in _OF_PROXIES:
            raise _Again(f"answers {code} ({said})", BUSY_TRIES, _retry_after(retry_after))
        if code in _REFUSED:
            setting = _refused_setting(raw, self.settings)
            if setting is None:
                raise Refused(f"{code}: {said}")
            raise UserError(f"the judge at {self.base} refuses `{setting}` ({code}: {said}); {_REMEDIES[setting]}")
        model = self.settings["model"]
        raise UserError(
            f"the judge at {self.base} answers {code} ({said}); correct `judge.endpoint`, or `judge.model` ({model})"
        )

    def _unreached(self, error: Exception) -> None:
        """Raises what an error of the network means."""
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(cause, TimeoutError):
            raise _Again(f"does not answer within {self.timeout:g} seconds", BROKEN_TRIES) from None
        if isinstance(cause, ConnectionRefusedError):
            raise MachineError(
                f"nothing listens at {self.base}; start the judge's server, or correct `judge.endpoint`. Verdicts "
                "received so far are kept"
            ) from None
        if isinstance(cause, ConnectionError | http.client.HTTPException):
            raise _Again(f"breaks off ({cause or type(cause).__name__})", BROKEN_TRIES) from None
        raise MachineError(f"the judge at {self.base} cannot be reached ({self._safe(str(cause))})") from None

    @property
    def _limit(self) -> object:
        return next((self.settings[name] for name in _LENGTHS if name in self.settings), None)

    def _safe(self, text: str) -> str:
        """A text from outside without the key, should it have been sent back."""
        return text.replace(self.key, "***") if self.key else text


def is_local(base: str) -> bool:
    """Whether a base URL leads to this machine."""
    host = urlsplit(base).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another place; it becomes an error that names the code."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow nothing."""


def _opened(base: str, request: urllib.request.Request, timeout: float) -> Any:
    """The response to a request, whatever its status; this machine is never reached through a proxy."""
    proxies = [urllib.request.ProxyHandler({})] if is_local(base) else []
    try:
        return urllib.request.build_opener(_NoRedirect, *proxies).open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        return error


def _read(response: Any, deadline: float) -> bytes:
    """The body of a response.

    Raises:
        TimeoutError: It is not whole at the deadline: the time limit of a socket is for each of its parts alone.
    """
    body = bytearray()
    while len(body) < _SIZE_LIMIT and (part := response.read1(_PART)):
        body += part
        if time.monotonic() > deadline:
            raise TimeoutError
    return bytes(body)


def _message(raw: bytes) -> str:
    """What an error's body says: OpenAI's `error.message`, FastAPI's `detail`, or the body itself."""
    return _complaint(raw)[1]


def _complaint(raw: bytes) -> tuple[frozenset[str], str]:
    """The parameters that an error's body names as such, and what it says."""
    text = raw.decode(errors="replace")
    try:
        value = json.loads(text)
    except ValueError:
        return frozenset(), text
    if not isinstance(value, dict):
        return frozenset(), text
    error = value.get("error", value.get("detail", value.get("message", value)))
    if isinstance(error, list) and error and all(isinstance(each, dict) and "msg" in each for each in error):
        places = [each.get("loc") or () for each in error]  # FastAPI repeats the whole request in `input`
        said = "; ".join(
            f"{'.'.join(map(str, place))}: {each['msg']}" for place, each in zip(places, error, strict=True)
        )
        return frozenset(str(part) for place in places for part in place), said
    if isinstance(error, dict):
        return frozenset({str(error.get("param"))}), str(error.get("message", error))
    return frozenset({str(value.get("param"))}), str(error)


def _refused_setting(raw: bytes, settings: Mapping[str, Any]) -> str | None:
    """The setting that an endpoint refuses, whatever the prompt; None where it is the prompt that it refuses."""
    named, said = _complaint(raw)
    for name in (each for each in _REMEDIES if each in settings):
        meant = name in named or (re.search(rf"(?<!\w){name}(?!\w)", said) and _COMPLAINT.search(said))
        # A limit that is refused for its value goes with one prompt: there is too little room behind it.
        if meant and not (name in _LENGTHS and _TOO_LONG.search(said)):
            return name
    return None


def _words(message: Mapping[str, Any]) -> tuple[str, str]:
    """What a message says, without thoughts that are given apart, and how it refuses to say anything."""
    content = message.get("content")
    texts, refusals = [], [message.get("refusal")]
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, dict):
            texts.append(part.get("text") if part.get("type") in (None, "text", "output_text") else None)
            refusals.append(part.get("refusal"))
        else:
            texts.append(part)
    said, refused = ("".join(str(each) for each in found if each is not None) for found in (texts, refusals))
    return said, refused


def _finish(reason: object, usage: Mapping[str, Any], limit: object) -> str:
    """Why a reply ended; where the endpoint gives no reason, fewer tokens than the limit show that it was not cut."""
    if reason is not None:
        return "stop" if str(reason).lower() in _ENDED else str(reason)
    used = usage.get("completion_tokens", usage.get("total_tokens"))
    return "stop" if isinstance(used, int) and isinstance(limit, int) and 0 < used < limit else "unknown"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."


def _moment(created: object, sent: str | None) -> str | None:
    """When an answer was made, by its own field or by the header `Date`."""
    try:
        moment = dt.datetime.fromtimestamp(float(str(created)), dt.UTC)
    except (ValueError, OverflowError, OSError):
        try:
            moment = parsedate_to_datetime(sent or "").astimezone(dt.UTC)
        except ValueError:
            return None
    return moment.replace(microsecond=0).isoformat()


def _retry_after(value: str | None) -> float | None:
    """Seconds that a `Retry-After` header asks for, whether it names seconds or a date."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
