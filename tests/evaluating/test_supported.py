"""Definitions that cannot be followed are refused by name, by `validate` too, without reading rows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from layersig.cli.main import cli
from layersig.errors import UserError
from layersig.evaluating.definitions import check
from layersig.evaluating.supported import refusal_of
from tests.study import write_lines
from tests.tiny import save_tiny

RECIPE = """
name = "r"
seeds = [0]
[model]
source = "path:model"
[[data]]
name = "d"
source = "file:d.jsonl"
[scorers.norms]
kind = "ila"
[evaluate]
tasks = ["arc_easy", TASK]
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("chartqa", "the task chartqa shows images or sound"),
        ("humaneval_64", "the task humaneval_64 runs what the model writes without confinement"),
        ("gsm8k_cot_self_consistency", "samples what the model writes"),
        ("code2text_go", "decodes with 10 beams"),
        ("babilong_qa1", "makes its rows by a function"),
        ("squadv2", "`squadv2` is written in Python"),
        ("lingoly", "group lingoly.*aggregates exact_match by .*lm-eval aggregates every group by a mean"),
        ("hellaswagg", r"lm-eval has no task `hellaswagg`; did you mean .*hellaswag"),
        ("hub:gsm8k", "is not a task; write lm-eval's name"),
        ("file:gone.yaml", r"gone\.yaml: no such task file"),
    ],
)
def test_a_task_is_refused_by_name(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(name, tmp_path)


@pytest.mark.parametrize(
    "name", ["arc_easy", "mmlu", "pypi:mmlu", "humaneval", "wikitext", "wmt16", "arithmetic_written"]
)
def test_a_task_is_taken(tmp_path: Path, name: str) -> None:
    check(name, tmp_path)


def test_rows_of_ones_own_take_the_place_of_a_function(tmp_path: Path) -> None:
    assert refusal_of({"task": "t", "custom_dataset": "x"}) is not None
    assert refusal_of({"task": "t", "custom_dataset": "x"}, fetched=False) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"do_sample": True}, "samples"),
        ({"temperature": 0.7}, "samples"),
        ({"num_beams": 4}, "4 beams"),
        ({"penalty_alpha": 0.6, "top_k": 4}, "contrastive search is not supported"),
        ({"guidance_scale": 1.5}, "guidance_scale is not supported"),
        ({"max_gen_toks": 5, "max_length": 60}, "max_length is not supported"),
        ({"eos_token_id": 5}, "eos_token_id is not supported"),
        ({"do_sample": False, "repetiton_penalty": 1.2}, "transformers knows no repetiton_penalty"),
    ],
)
def test_settings_of_generation_that_cannot_be_followed(settings: dict[str, object], message: str) -> None:
    assert message in str(refusal_of({"task": "t", "generation_kwargs": settings}))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"until": ["x"], "max_gen_toks": 5},
        {"do_sample": False, "temperature": 1, "top_p": 0.9},
        {"num_beams": 1},
        {"do_sample": False, "repetition_penalty": 1.2},
        {"no_repeat_ngram_size": 3, "max_new_tokens": 9},
        {"until": ["x"], "min_new_tokens": 5, "max_tokens": 9},
    ],
)
def test_settings_of_greedy_decoding(settings: dict[str, object]) -> None:
    assert refusal_of({"task": "t", "generation_kwargs": settings}) is None


@pytest.mark.parametrize(
    ("module", "lacks"),
    [
        ("import no_such_package\n", "`no_such_package`"),
        ("def shown(row):\n    from no_such_package.part import it\n", "`no_such_package`"),
        ("import json.no_such_part\n", "`json.no_such_part`"),
        (
            "try:\n    import no_such_package\nexcept ImportError as error:\n    raise ImportError('no') from error\n",
            "`no_such",
        ),
        ("import beside\n", "`no_such_package`"),
        ("try:\n    import no_such_package\nexcept ImportError:\n    no_such_package = None\n", None),
        ("import json\nimport numpy.linalg\nimport scipy.stats\n", None),
    ],
)
def test_what_a_definition_imports(tmp_path: Path, module: str, lacks: str | None) -> None:
    (tmp_path / "own.py").write_text(module + "def text(row):\n    return ''\n")
    (tmp_path / "beside.py").write_text("import no_such_package\n")
    found = refusal_of({"task": "t", "output_type": "multiple_choice", "doc_to_text": str(tmp_path / "own.text")})
    assert (found is None) is (lacks is None)
    if lacks is not None:
        assert lacks in str(found)


def test_validate_refuses_and_says_where(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    save_tiny(tmp_path / "model")
    write_lines(tmp_path / "d.jsonl", [{"prompt": f"a {number}", "response": "b"} for number in range(20)])
    path.write_text(RECIPE.replace("TASK", '"chartqa"'))
    found = CliRunner().invoke(cli, ["validate", str(path)], standalone_mode=False)
    assert found.return_value == 2
    assert "r.toml:" in found.output
    assert "the task chartqa shows images or sound" in found.output
    path.write_text(RECIPE.replace("TASK", '"mmlu"'))
    assert CliRunner().invoke(cli, ["validate", str(path)], standalone_mode=False).return_value == 0


def test_looking_a_task_up_imports_no_lm_eval() -> None:
    code = (
        "import sys; from pathlib import Path; from layersig.evaluating.definitions import check; "
        "check('mmlu', Path()); print({'lm_eval', 'datasets', 'torch'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
