"""Decoding as lm-eval's `hf` sets it up: greedy, except for what the checkpoint and the task also ask for.

`hf` leaves the writing to `model.generate`, which takes every setting of the checkpoint's `generation_config.json` that
is not given to it. Sampling is switched off there; a penalty on repetitions, suppressed tokens and the like stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedModel
from transformers.generation import GenerationMode

from layersig.errors import UserError, one_line

_HANDLED = ("until", "max_gen_toks", "do_sample", "temperature")
"""What lm-eval itself takes out of a task's `generation_kwargs`."""
_REFUSED = ("max_length", "eos_token_id", "guidance_scale")
"""What would change the answers and is not supported in a task: a length that counts the prompt, other ends than the
model's, a second run of the model."""


class Decoding:
    """The logits processors of one kind of request.

    Args:
        model: The model; its `generation_config` counts.
        kwargs: The task's `generation_kwargs`, as lm-eval normalises them.

    Attributes:
        plain: Whether logits stay as they are.
        stops: Texts that end an answer for this checkpoint; `hf` cannot run one that has some.

    Raises:
        UserError: As `settled`.
    """

    def __init__(self, model: PreTrainedModel, kwargs: Mapping[str, Any]) -> None:
        self._model = model
        self._most = int(kwargs["max_gen_toks"])
        self._config = settled(model.generation_config, kwargs)
        model._prepare_special_tokens(self._config, kwargs_has_attention_mask=True, device=model.device)
        stops = self._config.stop_strings or ()
        self.stops: tuple[str, ...] = (stops,) if isinstance(stops, str) else tuple(stops)
        self._built: dict[int, LogitsProcessorList] = {}
        self.plain = not self._processors(1)

    def adjusted(self, prompt: Sequence[int], written: Sequence[int], logits: torch.Tensor) -> torch.Tensor:
        """Logits of the next token, shape [vocabulary], float32, after `written` behind `prompt`."""
        tokens = torch.tensor([[*prompt, *written]], device=logits.device)
        found: torch.Tensor = self._processors(len(prompt))(tokens, logits[None].to(torch.float32))[0]
        return found

    def _processors(self, length: int) -> LogitsProcessorList:
        """Those behind a prompt of so many tokens."""
        if length not in self._built:
            self._config.max_length = length + self._most
            self._built[length] = self._model._get_logits_processor(
                self._config, input_ids_seq_length=length, device=self._model.device, model_kwargs={}
            )
        return self._built[length]


def settled(config: GenerationConfig, kwargs: Mapping[str, Any]) -> GenerationConfig:
    """The settings of a checkpoint with those of a task.

    One setting of a checkpoint is not taken: a largest number of tokens, which in `hf` overrides the task's own.

    Args:
        config: The checkpoint's.
        kwargs: The task's `generation_kwargs`, as lm-eval normalises them; lengths may be missing.

    Raises:
        UserError: They ask for anything but one greedy answer, or for what transformers does not know.
    """
    given = {name: value for name, value in kwargs.items() if name not in _HANDLED}
    asked = f"generation_kwargs {dict(kwargs)}"
    found = deepcopy(config)
    try:
        unknown = found.update(**{**given, "do_sample": False, "max_length": None, "max_new_tokens": None})
        mode = found.get_generation_mode()
    except (ValueError, TypeError) as error:
        raise UserError(f"{asked}: transformers refuses them ({one_line(error)})") from error
    if unknown:
        raise UserError(f"{asked}: transformers knows no {', '.join(sorted(unknown))}")
    odd = [name for name in _REFUSED if name in given]
    odd += ["guidance_scale"] if found.guidance_scale not in (None, 1.0) else []
    if mode is not GenerationMode.GREEDY_SEARCH or odd:
        what = odd[0] if odd else str(mode.value).replace("_", " ")
        raise UserError(
            f"{what} is not supported: one answer is written greedily. The task's {asked} or the model's "
            "generation_config.json asks for it; leave it out there"
        )
    return found
