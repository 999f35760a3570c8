"""Names of the fast ways to compute that stand beside plain ones; a change of a way's arithmetic changes its name."""

from __future__ import annotations

LORA_LINEAR = "lora-linear"
PACKED_ATTENTION = "packed-attention"
KEPT_PREFIX = "kept-prefix"
HEAD_IN_PIECES = "head-in-pieces"
TOKEN_TREES = "token-trees"
LANES = "lanes"

FAST_PATHS = (LORA_LINEAR, PACKED_ATTENTION, KEPT_PREFIX, HEAD_IN_PIECES, TOKEN_TREES, LANES)
