"""An endpoint of the tests, and what it is asked."""

from __future__ import annotations

import threading
from typing import Any

from layersig.endpoint.client import Endpoint, Names
from tests.judging.server import Judge

KEY = "sk-secret-0123456789"
PROMPT = [{"role": "user", "content": "How good?"}]


def endpoint(judge: Judge | str, key: str | None = None, halt: Any = None, timeout: float = 5.0) -> Endpoint:
    base = judge if isinstance(judge, str) else judge.url
    settings = {"model": "judge-7b", "temperature": 0.0, "max_tokens": 9}
    names = Names("the judge", "verdicts", address="judge.endpoint", table="judge")
    return Endpoint(names, base, settings, key, "JUDGE_KEY" if key else None, timeout, halt or threading.Event())
