"""The fingerprint of a stage: the key of the cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layersig.store.hashing import sha256_json
from layersig.streams import Streams


def fingerprint(
    *,
    kind: str,
    version: int,
    params: Mapping[str, Any],
    inputs: Mapping[str, str],
    streams: Streams,
    numerics: Mapping[str, Any] | None,
    components: Mapping[str, Any],
) -> str:
    """Hex sha256 that names a stage's output.

    Args:
        kind: The stage's kind.
        version: The kind's version, bumped by hand whenever its results may change.
        params: Resolved parameters that matter; no labels.
        inputs: Content digest of every input by role.
        streams: The random streams it may draw from.
        numerics: What rounding depends on (device kind, dtype, library versions, kernel path); None for stages that
            compute nothing in floating point.
        components: Identity of every plugin component it calls.
    """
    return sha256_json(
        {
            "kind": kind,
            "version": version,
            "params": params,
            "inputs": inputs,
            "streams": [streams.root, streams.seed],
            "numerics": numerics,
            "components": components,
        }
    )
