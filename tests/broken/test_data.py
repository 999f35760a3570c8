from __future__ import annotations

import json
from tests.broken.bench import Bench, Case, each
from tests.study import write_lines


def rows(change):
    return lambda bench: bench.rows(change)


def text(content, name="chats.jsonl"):
    return lambda bench: (bench.folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def unanswered(rows):
    rows[16]["messages"].pop()


def empty_answer(rows):
    rows[16]["messages"][1]["content"] = "  "


def not_alternating(rows):
    rows[4]["messages"].insert(1, {"role": "user", "content": "again"})


def strange_role(rows):
    rows[4]["messages"][1]["role"] = "bot"


def invalid(bench: Bench) -> None:
    bench.edit("chats.jsonl", '"say 6"', '"say 6')


def parquet(cut):
    def harm(bench):
        import pyarrow, pyarrow.parquet
        path = bench.folder / "chats.parquet"
        rows = [json.loads(l) for l in (bench.folder/"chats.jsonl").read_text().splitlines()]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        if cut: path.write_bytes(path.read_bytes()[:-cut])
        bench.edit("recipe.toml", "chats.jsonl", "chats.parquet")
    return harm

def parquet_middle(bench):
    parquet(0)(bench)
    p = bench.folder/"chats.parquet"; b=bytearray(p.read_bytes()); b[20:120]=bytes(100); p.write_bytes(b)

SETTINGS = "max_tokens = 64"
CASES = [
    Case("empty file", text(""), 2, ()),
    Case("blank file", text("\n\n"), 2, ()),
    Case("row 17 unanswered", rows(unanswered), 2, ()),
    Case("row 17 empty answer", rows(empty_answer), 2, ()),
    Case("invalid json", invalid, 2, ()),
    Case("not alternating", rows(not_alternating), 2, ()),
    Case("strange role", rows(strange_role), 2, ()),
    Case("no file", lambda b: (b.folder/"chats.jsonl").unlink(), 2, ()),
    Case("file is folder", lambda b: ((b.folder/"chats.jsonl").unlink(), (b.folder/"chats.jsonl").mkdir()), 2, ()),
    Case("suffix", lambda b: ((b.folder/"chats.jsonl").rename(b.folder/"chats.csv"), b.edit("recipe.toml", "chats.jsonl", "chats.csv")), 2, ()),
    Case("one conversation", rows(lambda r: r[:1]), 2, ()),
    Case("heldout all", lambda b: b.edit("recipe.toml", "heldout = 6", "heldout = 30"), 2, ()),
    Case("too long", lambda b: b.edit("recipe.toml", "max_tokens = 64", "max_tokens = 8"), 2, ()),
    Case("group_by", lambda b: b.edit("recipe.toml", "max_tokens = 64", 'group_by = "tree_id"'), 2, ()),
    Case("parquet cut", parquet(50), 2, ()),
    Case("parquet damaged", parquet_middle, 2, ()),
    Case("json as parquet", lambda b: ((b.folder/"chats.jsonl").rename(b.folder/"chats.parquet"), b.edit("recipe.toml", "chats.jsonl", "chats.parquet")), 2, ()),
    Case("NaN", lambda b: b.edit("chats.jsonl", '"3 abcabcabcabc"', "NaN"), 2, ()),
    Case("NaN label", lambda b: (b.rows(lambda rows: [{**row, "id": float("nan")} for row in rows]), b.edit("recipe.toml", "max_tokens = 64", 'group_by = "id"')), 2, ()),
    Case("number answer", lambda b: b.edit("chats.jsonl", '"3 abcabcabcabc"', "3"), 2, ()),
    Case("unknown shape", rows(lambda rows: [{"text": "a"} for r in rows]), 2, ()),
    Case("list rows", rows(lambda rows: [[1] for r in rows]), 2, ()),
    Case("not utf8", text(b'{"prompt": "\xff", "response": "a"}\n'), 2, ()),
    Case("surrogate", text('{"prompt": "\\ud800", "response": "a"}\n'), 2, ()),
    Case("all same", rows(lambda rows: [rows[0]]*24), 2, ()),
    Case("heldout none fits", rows(lambda rows: None), 2, ()),
    # tasks
    Case("task yaml missing", lambda b: (b.folder/"choice.yaml").unlink(), 2, ()),
    Case("task yaml broken", lambda b: b.edit("choice.yaml", 'test_split: test', 'test_split: [test'), 2, ()),
    Case("task yaml list", text("- a\n- b\n", "choice.yaml"), 2, ()),
    Case("task yaml empty", text("", "choice.yaml"), 2, ()),
    Case("task yaml binary", text(b"\xff\xfe\x00", "choice.yaml"), 2, ()),
    Case("task no name", lambda b: b.edit("choice.yaml", "task: choice\n", ""), 2, ()),
    Case("task data missing", lambda b: (b.folder/"choice.jsonl").unlink(), 2, ()),
    Case("task data invalid", lambda b: b.edit("choice.jsonl", '"which of 3"', '"which'), 2, ()),
    Case("task data empty", text("", "choice.jsonl"), 2, ()),
    Case("task data lacks field", lambda b: b.edit("choice.yaml", "{{question}}", "{{qestion}}"), 2, ()),
    Case("task data lacks choices", lambda b: b.edit("choice.yaml", "doc_to_choice: choices", "doc_to_choice: chioces"), 2, ()),
    Case("task data lacks answer", lambda b: b.edit("choice.yaml", "doc_to_target: answer", "doc_to_target: anwser"), 2, ()),
    Case("task answer out of range", lambda b: b.edit("choice.jsonl", '"answer": 1', '"answer": 7'), 2, ()),
    Case("task jinja broken", lambda b: b.edit("choice.yaml", "{{question}}", "{{question"), 2, ()),
    Case("task split missing", lambda b: b.edit("choice.yaml", "test_split: test", "test_split: tset"), 2, ()),
    Case("task metric unknown", lambda b: b.edit("choice.yaml", "metric: acc", "metric: acccc"), 2, ()),
    Case("task output type unknown", lambda b: b.edit("choice.yaml", "multiple_choice", "multiple_chioce"), 2, ()),
    Case("task unknown key", lambda b: b.edit("choice.yaml", "test_split: test", "test_splitt: test"), 2, ()),
    Case("task include missing", lambda b: b.edit("choice.yaml", "task: choice", "task: choice\ninclude: other.yaml"), 2, ()),
    Case("task function missing", lambda b: b.edit("choice.yaml", "doc_to_target: answer", "doc_to_target: !function helper.answer"), 2, ()),
    Case("task unknown name", lambda b: b.edit("recipe.toml", '"file:choice.yaml"', '"helaswag"'), 2, ()),
    Case("task unknown embedded", lambda b: b.edit("recipe.toml", '"file:choice.yaml"', '"pypi:helaswag"'), 2, ()),
    Case("task unknown scheme", lambda b: b.edit("recipe.toml", '"file:choice.yaml"', '"fiel:choice.yaml"'), 2, ()),
    Case("task suffix", lambda b: b.edit("recipe.toml", '"file:choice.yaml"', '"file:choice.jsonl"'), 2, ()),
    Case("task too many shots", lambda b: b.edit("recipe.toml", '["file:choice.yaml"]', '[{source = "file:choice.yaml", shots = 50}]'), 2, ()),
    Case("task offline hub", lambda b: b.edit("recipe.toml", '"file:choice.yaml"', '"hellaswag"'), 3, (), ("run", "recipe.toml", "--offline")),
]


@each(CASES)
def test_broken_data(bench: Bench, case: Case) -> None:
    case.check(bench)
