"""An endpoint with OpenAI's chat completions API: one request over HTTP, repeated after failures that may pass."""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from layersig.endpoint.refusals import LENGTHS, message, refused_setting, remedy_of
from layersig.endpoint.replies import Reply, finish_of, moment_of, words_of
from layersig.errors import MachineError, UserError

BUSY_TRIES = 8
"""Requests before an endpoint that is busy (429, 5xx) is given up; with the waits between them, some two minutes."""
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
_SHOWN = 300
_SIZE_LIMIT = 2**24
_PART = 2**16


Messages = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Names:
    """What messages to the user call an endpoint.

    Attributes:
        who: The endpoint: `the judge`.
        what: What it has sent so far: `verdicts`.
        address: The key of the recipe with its address.
        table: The table with its other keys, `model`, `key_env`, `length_key`, `temperature`.
    """

    who: str
    what: str
    address: str
    table: str


class Refused(Exception):
    """The endpoint refuses this one prompt, for instance because it is too long; others may still pass."""


class Halted(Exception):
    """Another question has met a failure that stops all of them."""


class _Again(Exception):
    """A failure that may pass: what it was, how often to try, and how long the endpoint asks to wait."""

    def __init__(self, message: str, tries: int, wait: float | None = None) -> None:
        super().__init__(message)
        self.tries = tries
        self.wait = wait


@dataclass(frozen=True)
class Endpoint:
    """An endpoint with OpenAI's chat completions API.

    Attributes:
        names: What messages call it.
        base: Base URL.
        settings: What every request holds besides the prompt: `model`, `temperature`, the limit of tokens.
        key: The key, or None; it goes into one header of the requests and nowhere else.
        key_env: The variable that it was read from, for messages.
        timeout: Seconds to wait for an answer.
        halt: Once it is set, waiting ends and nothing more is asked.
    """

    names: Names
    base: str
    settings: Mapping[str, Any]
    key: str | None
    key_env: str | None
    timeout: float
    halt: threading.Event

    def ask(self, prompt: Messages, **settings: Any) -> Reply:
        """Send one prompt.

        Args:
            prompt: Its messages.
            settings: What this request alone holds besides.

        Raises:
            UserError: The endpoint refuses the key, or knows no such model or path.
            MachineError: It cannot be reached, or stays busy or broken.
            Refused: It refuses this prompt.
            Halted: `halt` was set.
        """
        failures: Counter[int] = Counter()  # by how often their kind is tried
        while not self.halt.is_set():
            try:
                return self._request(prompt, settings)
            except _Again as failure:
                failures[failure.tries] += 1
                usual = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (failures.total() - 1))
                wait = usual if failure.wait is None else failure.wait
                if (alike := failures[failure.tries]) >= failure.tries or wait > LONGEST_ASKED:
                    times = "once" if alike == 1 else f"{alike} times"
                    raise MachineError(
                        f"{self._name} {self._safe(str(failure))}, {times} for one prompt; run again later: "
                        f"{self.names.what} received so far are kept"
                    ) from None
                self.halt.wait(wait)
        raise Halted

    @property
    def _name(self) -> str:
        return f"{self.names.who} at {self.base}"

    def _request(self, prompt: Messages, more: Mapping[str, Any]) -> Reply:
        body = json.dumps({**self.settings, **more, "messages": prompt}).encode()
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
            text, refusal = words_of(choice["message"])
            usage = value.get("usage") or {}
            finish = "refusal" if refusal else finish_of(choice.get("finish_reason"), usage, self._limit)
            return Reply(
                self._safe(text or refusal),
                self._safe(finish),
                None if value.get("model") is None else self._safe(str(value["model"])),
                moment_of(value.get("created"), sent),
                int(usage.get("total_tokens") or 0),
                int(usage.get("completion_tokens") or 0),
            )
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError):
            said = raw.decode(errors="replace")
            raise _Again(f"answers what is no chat completion ({_short(said)})", BROKEN_TRIES) from None

    def _refusal(self, code: int, raw: bytes, retry_after: str | None) -> None:
        """Raises what an error of HTTP means."""
        said = self._safe(_short(message(raw)))
        if code in (401, 403):
            how = f"the key in {self.key_env}" if self.key else "requests without a key"
            remedy = (
                f"set {self.key_env} to a valid key"
                if self.key_env
                else f"name its variable in `{self.names.table}.key_env`"
            )
            raise UserError(f"{self._name} refuses {how} ({code}); {remedy}")
        if code in _BUSY or code in _OF_PROXIES:
            raise _Again(f"answers {code} ({said})", BUSY_TRIES, _retry_after(retry_after))
        if code in _REFUSED:
            setting = refused_setting(raw, self.settings)
            if setting is None:
                raise Refused(f"{code}: {said}")
            raise UserError(
                f"{self._name} refuses `{setting}` ({code}: {said}); {remedy_of(setting, self.names.table)}"
            )
        model = self.settings["model"]
        raise UserError(
            f"{self._name} answers {code} ({said}); correct `{self.names.address}`, or `{self.names.table}.model` "
            f"({model})"
        )

    def _unreached(self, error: Exception) -> None:
        """Raises what an error of the network means."""
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(cause, TimeoutError):
            raise _Again(f"does not answer within {self.timeout:g} seconds", BROKEN_TRIES) from None
        if isinstance(cause, ConnectionRefusedError):
            raise MachineError(
                f"nothing listens at {self.base}; start {self.names.who}'s server, or correct "
                f"`{self.names.address}`. {self.names.what.capitalize()} received so far are kept"
            ) from None
        if isinstance(cause, ConnectionError | http.client.HTTPException):
            raise _Again(f"breaks off ({cause or type(cause).__name__})", BROKEN_TRIES) from None
        raise MachineError(f"{self._name} cannot be reached ({self._safe(str(cause))})") from None

    @property
    def _limit(self) -> object:
        return next((self.settings[name] for name in LENGTHS if name in self.settings), None)

    def _safe(self, text: str) -> str:
        """A text from outside that can be written, without the key, should it have been sent back."""
        text = text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair cannot
        return text.replace(self.key, "***") if self.key else text


def read_key(variable: str | None, names: Names) -> str | None:
    """The key in an environment variable, read now and kept in this process only.

    Raises:
        UserError: The variable is not set, or holds no key.
    """
    if variable is None:
        return None
    key, setting = os.environ.get(variable, "").strip(), f"{names.table}.key_env"
    if not key:
        raise UserError(f"{setting}: the environment variable {variable} is not set; set it to {names.who}'s key")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise UserError(f"{setting}: {variable} holds white space or signs that no key has; set it to the key alone")
    return key


def unencrypted(base: str, key: str | None, variable: str | None) -> str | None:
    """A warning where a key leaves this machine in the open."""
    if not key or not base.startswith("http:") or is_local(base):
        return None
    return f"the key in {variable} goes to {base} unencrypted; use https if the endpoint has it"


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


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."


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
