"""Responses from a server with OpenAI's chat completions API, in place of those that are generated here.

Plain twin: `chats.responses`. Greedy responses are equal but for rounding; drawn ones come from the same distribution,
each with its seed, by the server's own generator. Both hold only as far as the server adds no settings of its own: many
take those of the model's `generation_config.json` for whatever a request does not say.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from layersig.endpoint.client import Endpoint, Names, Refused, read_key, unencrypted
from layersig.errors import UserError
from layersig.generating.chats import Chat, Finish, Key, Response
from layersig.jsonform import read_json
from layersig.models.saving import GENERATION
from layersig.stages.job import Job
from layersig.stages.kinds import Generate
from layersig.streams import Streams

_NAMES = Names("the server", "responses", address="data.generate.endpoint.url", table="data.generate.endpoint")
_ALWAYS = {"repetition_penalty": 1, "no_repeat_ngram_size": 0, "num_beams": 1}
_SAMPLED = {"top_k": 0, "min_p": 0, "typical_p": 1, "epsilon_cutoff": 0, "eta_cutoff": 0}
"""Settings of a model that change what is written, at any temperature and where responses are drawn, each with the
value that changes nothing."""
_SEEDS = 2**31
"""Servers take seeds of 31 bits."""


def server_of(job: Job[Generate]) -> Endpoint:
    """The server of a job.

    Raises:
        UserError: The variable of its key is not set.
    """
    server, asking = job.spec.server, job.spec.asking
    assert server is not None
    assert asking is not None
    settings = job.spec.generate
    key = read_key(asking["key_env"], _NAMES)
    if warning := unencrypted(server["url"], key, asking["key_env"]):
        job.reporter.warn(warning)
    sent: dict[str, Any] = {
        "model": server["model"],
        "temperature": settings.temperature,
        server["length_key"]: settings.max_new_tokens,
    }
    if settings.temperature > 0:
        sent["top_p"] = settings.top_p
        if settings.top_k is not None:
            sent["top_k"] = settings.top_k
    if added := _added(job.inputs["model"], sampled=settings.temperature > 0, sent=sent):
        job.reporter.warn(
            f"{GENERATION} of the model says {added}, which {server['url']} may add to the settings of the recipe; "
            "have it ignore that file (vLLM: `--generation-config vllm`)"
        )
    return Endpoint(_NAMES, server["url"], sent, key, asking["key_env"], asking["timeout"], threading.Event())


def _added(model: Path, *, sampled: bool, sent: Collection[str]) -> str:
    """The settings of a model that change how responses are written, as `key = value`; empty where there are none."""
    path = model / GENERATION
    own = read_json(path, dict[str, Any]) if path.is_file() else {}
    neutral = _ALWAYS | (_SAMPLED if sampled else {})
    changed = [key for key, value in neutral.items() if key not in sent and own.get(key) not in (None, value)]
    return ", ".join(f"{key} = {own[key]}" for key in changed)


def served(
    endpoint: Endpoint,
    chats: Sequence[Chat],
    streams: Streams,
    *,
    samples: int,
    concurrency: int,
    known: Collection[Key] = (),
    wrote: Callable[[str], None] = lambda model: None,
    done: Callable[[int, int], None] = lambda responses, tokens: None,
) -> Iterator[list[Response]]:
    """The responses of `chats.responses`, one by one as they come.

    Args:
        endpoint: The server.
        chats: What to answer.
        streams: Where the seed of every answer comes from.
        samples: Answers to each chat.
        concurrency: Requests at a time.
        known: (id of the chat, sample) that need no answer any more.
        wrote: Called with the model that the server names, after each response.
        done: Called with responses finished and tokens written.

    Yields:
        A response. One whose prompt the server refuses has no room; those come last, once another prompt was taken.

    Raises:
        UserError: The server refuses key, model or every prompt.
        MachineError: It cannot be reached any more.
    """
    missing = [(chat, sample) for chat in chats for sample in range(samples) if (chat.id, sample) not in known]
    reasons: list[str] = []
    refused: list[Response] = []

    def ask(chat: Chat, sample: int) -> Response:
        seed = streams.number("response", chat.id, sample)
        more: dict[str, Any] = {"seed": seed % _SEEDS, **({"tools": list(chat.tools)} if chat.tools else {})}
        prompt = [{"role": each.role, "content": each.content} for each in chat.messages]
        try:
            reply = endpoint.ask(prompt, **more)
        except Refused as refusal:
            reasons.append(str(refusal))
            return Response(chat.id, sample, seed, "", 0, "no-room")
        wrote(reply.model or endpoint.settings["model"])
        finish: Finish = "stop" if reply.finish == "stop" else "length"
        return Response(chat.id, sample, seed, reply.text.strip(), reply.written, finish)

    with ThreadPoolExecutor(concurrency, thread_name_prefix="server") as pool:
        futures = [pool.submit(ask, chat, sample) for chat, sample in missing]
        failure: BaseException | None = None
        try:
            for future in as_completed(futures):
                if (error := future.exception()) is not None:
                    failure = failure or error
                    endpoint.halt.set()  # those that wait end at once; what is under way is still kept
                    continue
                response = future.result()
                if response.finish == "no-room":
                    refused.append(response)
                    continue
                yield [response]
                done(1, response.tokens)
        finally:
            endpoint.halt.set()
            pool.shutdown(cancel_futures=True)
        if failure is not None:
            raise failure
    if refused and len(refused) == len(chats) * samples:
        raise UserError(f"the server at {endpoint.base} refuses every prompt ({reasons[0]})")
    for response in refused:
        yield [response]
        done(1, 0)
