from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from layersig.data.examples import Example
from layersig.data.limits import Limits, limits_of
from layersig.errors import UserError
from tests.tiny import save_tiny, tiny_tokenizer


def example(*tokens: int) -> Example:
    return Example("abc", "abc", np.array(tokens, np.int32), np.ones(len(tokens), np.bool_))


def test_limits_are_read_from_a_model(tmp_path: Path) -> None:
    assert limits_of(save_tiny(tmp_path / "gpt2", "gpt2")) == Limits(260, 256, fixed=True)
    assert limits_of(save_tiny(tmp_path / "llama", "llama")) == Limits(260, 2048, fixed=False)
    tiny_tokenizer().save_pretrained(tmp_path / "tokenizer")
    assert limits_of(tmp_path / "tokenizer") == Limits(None, None, fixed=False)


@pytest.mark.parametrize(("tokens", "fits"), [((5, 259), True), ((5, 260), False), ((1000,), False), ((), True)])
def test_a_token_without_an_embedding_is_named(tokens: tuple[int, ...], fits: bool) -> None:
    limits = Limits(260, None, fixed=False)
    if fits:
        assert limits.check([example(1), example(*tokens)], tiny_tokenizer()) == 0
    else:
        with pytest.raises(UserError, match=rf"conversation abc holds the token None \({max(tokens)}\)"):
            limits.check([example(1), example(*tokens)], tiny_tokenizer())


def test_a_long_conversation_is_refused_by_a_table_and_counted_elsewhere() -> None:
    long = [example(*[5] * 8), example(*[5] * 9), example(*[5] * 10)]
    assert Limits(260, 8, fixed=False).check(long, tiny_tokenizer()) == 2
    assert Limits(260, 10, fixed=True).check(long, tiny_tokenizer()) == 0
    with pytest.raises(UserError, match=r"has 9 tokens, .* a table of 8 positions; set max_tokens = 8 or less"):
        Limits(260, 8, fixed=True).check(long, tiny_tokenizer())
