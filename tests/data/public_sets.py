"""Rows, made up, in the fields of public data sets, and what a recipe needs beside their name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layersig.data.conversation import Message
from layersig.data.leftovers import COPY, GENERATED, OTHER_NAMED, UNUSED
from layersig.data.rows import read_rows
from layersig.data.values import UNKNOWN
from layersig.data.vocabulary import Meaning
from layersig.errors import UserError

_USER = {"role": "user", "content": "Where?"}
_ASSISTANT = {"role": "assistant", "content": "There."}
_TURNS = [_USER, _ASSISTANT]
_SHAREGPT = [{"from": "human", "value": "Where?"}, {"from": "gpt", "value": "There."}]
_WRONG = [_USER, {"role": "assistant", "content": "Nowhere."}]
_BRIEF = {"from": "system", "value": "Be brief."}
_TOOL = {"name": "weather", "description": "Tells it.", "parameters": {"town": {"type": "str"}}}
ASKED = (Message("user", "Where?"), Message("assistant", "There."))
BRIEF = (Message("system", "Be brief."), *ASKED)


@dataclass(frozen=True)
class PublicSet:
    """A data set on the hub.

    Attributes:
        name: `owner/name`.
        known_from: How its fields are known: its `card`, a `copy` of it on the hub, public `code` that reads it, or
            `memory`.
        row: A row.
        messages: What becomes of the row.
        fields: What the recipe must name; None where nothing.
    """

    name: str
    known_from: str
    row: Mapping[str, Any]
    messages: tuple[Message, ...] = ASKED
    fields: Mapping[str, Any] | None = None

    def line(self, folder: Path) -> str:
        """What becomes of its fields, as a row of the table in docs/data.md."""
        recipe = "-"
        if self.fields is not None:
            written = ", ".join(f"{key} = {json.dumps(value)}" for key, value in self.fields.items())
            recipe = (
                f"{'refused' if self.is_refused(folder) else 'another response'} without `fields = {{ {written} }}`"
            )
        uses: dict[str, list[str]] = {}
        for each in self.read(folder, self.fields).fields:
            uses.setdefault(_COLUMNS.get(each.use, f"{each.use}: "), []).append(f"`{each.field}`")
        used = [f"{use}{', '.join(names)}" for use, names in uses.items() if use not in _COLUMNS.values()]
        cells = ["; ".join(used), *(", ".join(uses.get(column, ["-"])) for column in ("named", "silent"))]
        return f"| {self.name} | {self.known_from} | {' | '.join(cells)} | {recipe} |"

    def read(self, folder: Path, fields: Mapping[str, Any] | None) -> Any:
        """The row, read."""
        path = folder / "rows.jsonl"
        path.write_text(json.dumps(self.row) + "\n", encoding="utf-8")
        return read_rows(path, fields=fields)

    def is_refused(self, folder: Path) -> bool:
        """Whether the row is refused while the recipe names no fields."""
        try:
            self.read(folder, None)
        except UserError:
            return True
        return False


_COLUMNS = {
    **dict.fromkeys((UNKNOWN, UNUSED, Meaning.GRADE, Meaning.REJECTED), "named"),
    **dict.fromkeys((Meaning.RECORD, COPY, GENERATED, OTHER_NAMED, "ignored, as the recipe asks"), "silent"),
}

SETS = (
    PublicSet(
        "tatsu-lab/alpaca",
        "card",
        {"instruction": "Where?", "input": "", "output": "There.", "text": "Below: Where? There."},
    ),
    PublicSet(
        "yahma/alpaca-cleaned",
        "memory",
        {"instruction": "Where", "input": "is it?", "output": "There."},
        (Message("user", "Where\n\nis it?"), ASKED[1]),
    ),
    PublicSet(
        "databricks/databricks-dolly-15k",
        "memory",
        {"instruction": "Where?", "context": "Here.", "response": "There.", "category": "closed_qa"},
        (Message("user", "Where?\n\nHere."), ASKED[1]),
    ),
    PublicSet(
        "HuggingFaceH4/no_robots",
        "memory",
        {"prompt": "Where?", "prompt_id": "a1", "messages": _TURNS, "category": "Open QA"},
    ),
    PublicSet("GAIR/lima", "memory", {"conversations": ["Where?", "There."], "source": "stackexchange"}),
    PublicSet(
        "Open-Orca/OpenOrca",
        "card",
        {"id": "niv.1", "system_prompt": "Be brief.", "question": "Where?", "response": "There."},
        BRIEF,
    ),
    PublicSet(
        "Open-Orca/SlimOrca",
        "memory",
        {
            "conversations": [
                {**turn, "weight": weight} for turn, weight in zip((_BRIEF, *_SHAREGPT), (None, 0.0, 1.0), strict=True)
            ]
        },
        BRIEF,
    ),
    PublicSet("HuggingFaceH4/ultrachat_200k", "memory", {"prompt": "Where?", "prompt_id": "a1", "messages": _TURNS}),
    PublicSet(
        "HuggingFaceH4/ultrafeedback_binarized",
        "copy",
        {
            "prompt": "Where?",
            "prompt_id": "a1",
            "chosen": _TURNS,
            "rejected": _WRONG,
            "messages": _TURNS,
            "score_chosen": 8.0,
            "score_rejected": 2.0,
        },
    ),
    PublicSet(
        "HuggingFaceH4/orca_dpo_pairs",
        "card",
        {"chosen": [{"role": "system", "content": "Be brief."}, *_TURNS], "rejected": _WRONG, "prompt": "Where?"},
        BRIEF,
    ),
    PublicSet("trl-lib/kto-mix-14k", "card", {"prompt": [_USER], "completion": [_ASSISTANT], "label": True}),
    PublicSet(
        "Anthropic/hh-rlhf",
        "memory",
        {"chosen": "\n\nHuman: Where?\n\nAssistant: There.", "rejected": "\n\nHuman: Where?\n\nAssistant: No."},
        (),
    ),
    PublicSet("timdettmers/openassistant-guanaco", "memory", {"text": "### Human: Where?### Assistant: There."}, ()),
    PublicSet(
        "OpenAssistant/oasst1",
        "memory",
        {
            "message_id": "a",
            "parent_id": None,
            "text": "Where?",
            "role": "prompter",
            "lang": "en",
            "rank": None,
            "deleted": False,
        },
        (),
    ),
    PublicSet("WizardLMTeam/WizardLM_evol_instruct_V2_196k", "memory", {"idx": "a1", "conversations": _SHAREGPT}),
    PublicSet(
        "meta-math/MetaMathQA",
        "memory",
        {"type": "GSM_Rephrased", "query": "Where?", "original_question": "Where is it?", "response": "There."},
    ),
    PublicSet("openai/gsm8k", "memory", {"question": "Where?", "answer": "There."}),
    PublicSet(
        "AI-MO/NuminaMath-CoT",
        "memory",
        {"source": "olympiads", "problem": "Where?", "solution": "There.", "messages": _TURNS},
    ),
    PublicSet(
        "GAIR/LIMO",
        "memory",
        {"question": "Where?", "solution": "There.", "answer": "x"},
        fields={"prompt": "question", "response": "solution"},
    ),
    PublicSet(
        "simplescaling/s1K-1.1",
        "code",
        {
            "question": "Where?",
            "solution": "x",
            "cot_type": "math",
            "source_type": "olympiads",
            "metadata": "{}",
            "gemini_thinking_trajectory": "Hm.",
            "gemini_attempt": "Here.",
            "gemini_grade": "No",
            "deepseek_thinking_trajectory": "Hm hm.",
            "deepseek_attempt": "There.",
            "deepseek_grade": "Yes",
        },
        (ASKED[0], ASKED[1]._replace(reasoning="Hm hm.")),
        {"prompt": "question", "response": "deepseek_attempt", "reasoning": "deepseek_thinking_trajectory"},
    ),
    PublicSet(
        "open-thoughts/OpenThoughts-114k",
        "memory",
        {
            "system": "Be brief.",
            "conversations": [{"from": "user", "value": "Where?"}, {"from": "assistant", "value": "There."}],
        },
        BRIEF,
    ),
    PublicSet(
        "teknium/OpenHermes-2.5",
        "code",
        {
            "custom_instruction": None,
            "topic": None,
            "model_name": None,
            "model": None,
            "skip_prompt_formatting": False,
            "category": "orca",
            "conversations": _SHAREGPT,
            "views": None,
            "language": None,
            "id": None,
            "title": None,
            "idx": None,
            "hash": None,
            "avatarUrl": None,
            "system_prompt": None,
            "source": "x",
        },
    ),
    PublicSet(
        "allenai/tulu-3-sft-mixture", "card", {"id": "a1", "messages": _TURNS, "source": "ai2-adapt-dev/coconot"}
    ),
    PublicSet("HuggingFaceTB/smoltalk", "memory", {"messages": _TURNS, "source": "smol-magpie-ultra"}),
    PublicSet("Magpie-Align/Magpie-Pro-300K-Filtered", "copy", {"conversations": _SHAREGPT, "uuid": "a1"}),
    PublicSet(
        "LDJnr/Capybara", "memory", {"source": "Airoboros", "conversation": [{"input": "Where?", "output": "There."}]}
    ),
    PublicSet(
        "nvidia/HelpSteer",
        "memory",
        {
            "prompt": "Where?",
            "response": "There.",
            "helpfulness": 3,
            "correctness": 4,
            "coherence": 4,
            "complexity": 2,
            "verbosity": 1,
        },
    ),
    PublicSet(
        "Salesforce/xlam-function-calling-60k",
        "card",
        {
            "id": 0,
            "query": "Where?",
            "answers": '[{"name": "weather", "arguments": {"town": "Oslo"}}]',
            "tools": json.dumps([_TOOL]),
        },
        (ASKED[0], Message("assistant", "", calls=({"name": "weather", "arguments": {"town": "Oslo"}},))),
    ),
    PublicSet(
        "BAAI/Infinity-Instruct",
        "copy",
        {
            "id": 1,
            "conversations": _SHAREGPT,
            "label": {"ability_en": ["logic"]},
            "langdetect": "en",
            "source": "Subjective",
        },
    ),
    PublicSet(
        "FreedomIntelligence/medical-o1-reasoning-SFT",
        "memory",
        {"Question": "Where?", "Complex_CoT": "Hm.", "Response": "There."},
        (ASKED[0], ASKED[1]._replace(reasoning="Hm.")),
    ),
)
