"""When well-known benchmarks were published: text from before may be in what a model was pretrained on."""

from __future__ import annotations

from collections.abc import Mapping

PUBLISHED: Mapping[str, str] = {
    "aime24": "2024-02",
    "aime25": "2025-02",
    "arc": "2018-03",
    "bbh": "2022-10",
    "boolq": "2019-05",
    "ceval": "2023-05",
    "cmmlu": "2023-06",
    "commonsense_qa": "2018-11",
    "copa": "2011-03",
    "gpqa": "2023-11",
    "gsm8k": "2021-10",
    "hellaswag": "2019-05",
    "hendrycks_math": "2021-03",
    "humaneval": "2021-07",
    "ifeval": "2023-11",
    "lambada": "2016-06",
    "math500": "2021-03",
    "mbpp": "2021-08",
    "minerva_math": "2021-03",
    "mmlu": "2020-09",
    "mmlu_pro": "2024-06",
    "mt-bench": "2023-06",
    "openbookqa": "2018-09",
    "piqa": "2019-11",
    "race": "2017-04",
    "sciq": "2017-07",
    "social_iqa": "2019-04",
    "triviaqa": "2017-05",
    "truthfulqa": "2021-09",
    "vicuna": "2023-03",
    "wikitext": "2016-09",
    "winogrande": "2019-07",
    "wsc": "2012-06",
    "xsum": "2018-08",
}
"""Month of the first public version, by the start of the names that lm-eval gives its tasks."""


def published(task: str, said: Mapping[str, str]) -> str | None:
    """When a task was published: as the recipe says, else as is known; None where neither knows.

    Args:
        task: Its name in results, `asked>used` where an embedded benchmark stood in.
        said: `about.published`.
    """
    name = task.partition(">")[0]
    if name in said:
        return None if said[name] == "unknown" else said[name]
    fitting = [known for known in PUBLISHED if name == known or name.startswith((f"{known}_", f"{known}-"))]
    return PUBLISHED[max(fitting, key=len)] if fitting else None
