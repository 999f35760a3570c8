"""What can be wrong with a source of questions; `tests/judging` has what goes wrong with a judge."""

from __future__ import annotations

from collections.abc import Callable

from tests.broken.bench import Bench, Case, each

JUDGE = '\n[judge]\nendpoint = "http://127.0.0.1:9/v1"\nmodel = "judge"\n'
QUESTION = '{"question_id": 1, "turns": ["say 7"]}\n'


def judged(questions: str | None = QUESTION, source: str = "file:talk.jsonl") -> Callable[[Bench], None]:
    """Give the study questions and a judge at a port where nothing listens."""

    def harm(bench: Bench) -> None:
        talk = f'conversations = ["{source}"]\nanswers = {{ max_new_tokens = 2 }}\ntasks = []'
        bench.edit("recipe.toml", 'tasks = ["file:choice.yaml"]', talk + JUDGE)
        if questions is not None:
            (bench.folder / "talk.jsonl").write_text(questions)

    return harm


CASES = [
    Case("no file of questions", judged(None), 2, ("talk.jsonl: there is no such file",)),
    Case("an empty file of questions", judged(""), 2, ("talk.jsonl: the file is empty; one question a row is needed",)),
    Case("questions of Vicuna by name", judged(source="pypi:vicuna"), 2, ("lm-sys/FastChat", "`file:question.jsonl`")),
]


@each(CASES)
def test_it_gets_one_clear_message(bench: Bench, case: Case) -> None:
    case.check(bench)
