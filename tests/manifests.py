"""Manifests of runs that nobody made, with every key that a manifest has."""

from __future__ import annotations

from typing import Any


def manifest(**own: Any) -> dict[str, Any]:
    """A manifest without sources and stages, but for the given keys."""
    return {
        "name": "study",
        "id": "0123456789ab",
        "status": "complete",
        "started": "2026-11-22T04:01:11+00:00",
        "argv": [],
        "smoke": False,
        "versions": {},
        "machine": {},
        "root_seed": 0,
        "seeds": [0],
        "sources": [],
        "warnings": [],
        "stages": [],
        **own,
    }


def source(role: str, name: str, **own: Any) -> dict[str, Any]:
    """The record of a source, but for the given keys."""
    return {
        "node": f"source/{role}/{name}",
        "role": role,
        "name": name,
        "spec": "file:x",
        "resolved": "file:x",
        "label": name,
        "fallback": False,
        "revision": None,
        "digest": None,
        "licence": None,
        "notes": [],
        **own,
    }
