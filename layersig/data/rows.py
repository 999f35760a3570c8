"""Raw rows to conversations.

A file is JSON Lines, a JSON list, or Parquet. Every row is read by the fields that it has itself; a row that does not
fit is an error, never skipped in silence. Text is data: it is never interpreted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layersig.data.conversation import Conversation, Message, content_id
from layersig.data.layout import Layout
from layersig.data.leftovers import UNUSED
from layersig.data.preferences import no_pairs, pair_fields, read_pair
from layersig.data.raw_rows import Row, raw_rows
from layersig.data.shapes import ACCEPTED, Reading, fits, read_row
from layersig.data.values import UNKNOWN, RowError, check_depth, is_blank, kind
from layersig.data.vocabulary import Meaning
from layersig.errors import UserError, first_few
from layersig.jsonform import dumps
from layersig.plugin.table import suggestion

_SHOWN = 5
_NAMED = 10


@dataclass(frozen=True, slots=True)
class FieldUse:
    """What became of a field in some rows.

    Attributes:
        field: Its name; that of a field of turns is `messages[].name`.
        use: What it was used for, or why it was not; see `layersig.data.vocabulary.Meaning`.
        rows: Rows in which it is filled and of which this holds.
    """

    field: str
    use: str
    rows: int


@dataclass(frozen=True, slots=True)
class Rows:
    """What a file holds.

    Attributes:
        conversations: One per row that is learnt, in file order.
        numbers: 1-based number of the row of each conversation (the line in JSON Lines).
        shape: The shape that was found, such as `messages`; several, the most frequent first, where rows differ.
        unanswered: Conversations whose last turn, a question without an answer, was cut off. LIMA's lists do not name
            the speaker and one of them is of odd length; in every other shape such a row is an error.
        fields: What became of every field, in order of their first row.
        unwanted: Rows left out because a field marks them as not to be learnt, by field.
        elsewhere: Rows left out by `where`; no other count includes them.
    """

    conversations: tuple[Conversation, ...]
    numbers: tuple[int, ...]
    shape: str
    unanswered: int
    fields: tuple[FieldUse, ...]
    unwanted: Mapping[str, int]
    elsewhere: int = 0

    @property
    def total(self) -> int:
        """Rows that were read."""
        return len(self.conversations) + sum(self.unwanted.values())

    def notes(self) -> list[str]:
        """Warnings about unused fields and about rows that are left out."""
        return [*self._unused(), *self._left_out()]

    def _unused(self) -> Iterator[str]:
        told = {
            UNKNOWN: "have no known meaning and are not used: name them in `fields`, or list them in `fields.ignore`",
            UNUSED: "have no place in these rows and are not used: put them into the turns, or list them in "
            "`fields.ignore`",
            Meaning.GRADE: "grade responses; rows are trained on whatever they say",
            Meaning.REJECTED: "hold rejected responses, which are not trained on",
        }
        for use, what in told.items():
            found = sorted((field for field in self.fields if field.use == use), key=lambda field: -field.rows)
            if found:
                shares = [f"`{field.field}` ({_share(field.rows, self.total)} of rows)" for field in found]
                yield f"Fields {first_few(shares, _NAMED)} {what}."

    def _left_out(self) -> Iterator[str]:
        for field, count in self.unwanted.items():
            yield f"{count} of {self.total} rows are left out: `{field}` marks them as not to be learnt."


def _share(count: int, total: int) -> str:
    share = 100 * count / total
    return f"{share:.0f} %" if share >= 1 else f"{share:.1g} %"


def read_rows(
    path: Path,
    *,
    group_by: str | None = None,
    fields: Mapping[str, Any] | None = None,
    prompts: bool = False,
    pairs: bool = False,
    where: Mapping[str, Sequence[str]] | None = None,
) -> Rows:
    """Read a `.jsonl`, `.json` (a list, or lines) or `.parquet` file.

    Args:
        path: The file.
        group_by: Field whose equal values must not straddle a split; it labels a conversation's group. Without it the
            label is a hash of the first prompt.
        fields: Names of fields, as in `data.fields` of a recipe; what it leaves open is found by the names of fields.
        prompts: Rows are only asked, and need no answer; what they end with is kept.
        pairs: Rows have a chosen and a rejected response.
        where: Values by field: other rows are left out.

    Raises:
        UserError: The file is empty, is of no known shape, has no row with one of the values of `where`, or has rows
            that cannot be used; those are all counted and the first few named by row, field and what is allowed.
        MachineError: The file cannot be read, or Parquet support is not installed.
    """
    rows = raw_rows(path)
    if not rows:
        raise UserError(f"{path}: it holds no rows; one conversation a row is needed.")
    layout = Layout.of(fields, prompts=prompts)
    in_file = len(rows)
    rows = _kept(path, rows, where or {})
    objects = [row.value for row in rows if isinstance(row.value, dict)]
    if pairs and objects and not any(pair_fields(layout, row) for row in objects):
        raise UserError(f"{path}: {no_pairs(objects)}")
    unread = {"ignore", "response"} if prompts else {"ignore"}
    _check_names(path, objects, {key: value for key, value in (fields or {}).items() if key not in unread}, group_by)
    like = next((row for row in objects if pairs or fits(layout, row)), None)
    if like is None and objects:
        raise UserError(_no_shape(path, objects))
    found = _Found()
    faults: list[tuple[int, RowError]] = []
    for number, value in rows:
        try:
            if isinstance(value, RowError):
                raise value
            if like is None or not isinstance(value, dict):
                raise RowError(f"it is {kind(value)}; an object with named fields is needed")
            check_depth(value, "the row")
            reading, rejected = read_pair(layout, value) if pairs else (read_row(layout, value, like), ())
            found.add(number, value, reading, rejected, {group_by, *(where or {})}, group_by, prompts=prompts)
        except RowError as fault:
            faults.append((number, fault))
    if faults:
        raise UserError(complaint(path, faults, len(rows)))
    return found.rows(path, in_file - len(rows))


class _Found:
    """What has been read of a file so far."""

    def __init__(self) -> None:
        self.conversations: list[Conversation] = []
        self.numbers: list[int] = []
        self.unanswered = 0
        self.shapes: Counter[str] = Counter()
        self.uses: Counter[tuple[str, str]] = Counter()
        self.unwanted: Counter[str] = Counter()

    def add(
        self,
        number: int,
        row: Mapping[str, Any],
        reading: Reading,
        rejected: tuple[Message, ...],
        sorted_by: Set[str | None],
        group_by: str | None,
        *,
        prompts: bool,
    ) -> None:
        """Count a row; raises `RowError` if its group cannot be determined."""
        messages = reading.messages
        unanswered = messages[-1].role == "user" and not prompts
        if unanswered:
            messages = messages[:-1]
        conversation = _conversation(messages, reading.tools, rejected, row, group_by)
        self.shapes[reading.shape] += 1
        self.uses.update((field, use) for field, use in reading.uses.items() if field not in sorted_by)
        if reading.unwanted is not None:
            self.unwanted[reading.unwanted] += 1
            return
        self.unanswered += unanswered
        self.conversations.append(conversation)
        self.numbers.append(number)

    def rows(self, path: Path, elsewhere: int) -> Rows:
        """All of it; raises `UserError` where no row is to be learnt."""
        if not self.conversations:
            names = ", ".join(f"`{name}`" for name in self.unwanted)
            raise UserError(
                f"{path}: {names} marks every row as not to be learnt; correct the field, or write "
                f'`fields.ignore = ["{next(iter(self.unwanted))}"]`.'
            )
        return Rows(
            tuple(self.conversations),
            tuple(self.numbers),
            ", ".join(shape for shape, _ in self.shapes.most_common()),
            self.unanswered,
            tuple(FieldUse(field, use, count) for (field, use), count in self.uses.items()),
            dict(self.unwanted),
            elsewhere,
        )


def _check_names(
    path: Path, rows: Sequence[Mapping[str, Any]], fields: Mapping[str, Any], group_by: str | None
) -> None:
    """Refuse names of fields that no row has."""
    there = dict.fromkeys(name for row in rows for name in row)
    asked = [(f"fields.{key}", value) for key, value in fields.items()] + [("group_by", group_by)]
    for key, value in asked if rows else ():
        for name in (value,) if isinstance(value, str) else value or ():
            if name not in there:
                raise UserError(f"{path}: `{key}`: no row has the field `{name}`{suggestion(name, there)}")


def _no_shape(path: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    """Fields of every row count: the first may lack what later ones have."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    there = first_few([f"`{name[:60]}`" for name in names], _NAMED) or "none"
    hints = {
        "text": "`text` looks like a conversation that is already rendered, in which answers cannot be distinguished "
        "from questions: write its turns as `messages`. ",
        "chosen": '`chosen` without `prompt` belongs to a pair: learn from pairs with `train.objective = "dpo"`, or '
        "write its turns as `messages`. ",
    }
    empty = [f"`{name}`" for name in names if all(is_blank(row.get(name)) for row in rows)]
    listed = [name for name in names if len(rows) == 1 and _is_table(rows[0].get(name))]
    hint = f"Empty in every row: {first_few(empty, _NAMED)}. " if empty else ""
    hint += f"`{listed[0]}` is a list of rows: write that list alone into the file. " if listed else ""
    hint += "".join(said for name, said in hints.items() if name in names)
    return (
        f"{path}: rows of no known shape; fields found: {there}. {hint}Accepted: {ACCEPTED}. Other names go "
        'into the recipe: `fields = { prompt = "...", response = "..." }`.'
    )


def _is_table(value: Any) -> bool:
    """Whether a value is a list of objects."""
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)


def _conversation(
    messages: tuple[Message, ...],
    tools: tuple[Mapping[str, Any], ...],
    rejected: tuple[Message, ...],
    row: Mapping[str, Any],
    group_by: str | None,
) -> Conversation:
    conversation = Conversation(content_id(messages, tools, rejected), "", messages, tools, rejected)
    if group_by is None:
        return conversation._replace(group=content_id((Message("user", conversation.first_prompt),)))
    label = row.get(group_by)
    if not isinstance(label, str | int):
        found = "missing" if label is None else kind(label)
        raise RowError(f"`{group_by}` (group_by) is {found}; a text or an integer is needed")
    return conversation._replace(group=str(label))


def _kept(path: Path, rows: list[Row], where: Mapping[str, Sequence[str]]) -> list[Row]:
    """Rows that have one of the values of every field, and those that are no objects, which are faults."""
    for field, values in where.items():
        there = {_value_of(row, field) for row in rows} - {None}
        for value in values:
            if value not in there:
                known = sorted(filter(None, there))[:_NAMED]
                raise UserError(f'{path}: `where.{field}`: no row has "{value}"{suggestion(value, known)}')
    kept = [
        row
        for row in rows
        if not isinstance(row.value, dict) or all(_value_of(row, field) in values for field, values in where.items())
    ]
    if not kept:
        asked = ", ".join(f"{field} = {dumps(list(values))}" for field, values in where.items())
        raise UserError(f"{path}: `where`: no row has all of these values: {asked}; ask for fewer of them, or others")
    return kept


def _value_of(row: Row, field: str) -> str | None:
    value = row.value.get(field) if isinstance(row.value, dict) else None
    return str(value) if isinstance(value, str | int) else None


def complaint(path: Path, faults: Sequence[tuple[int, RowError]], count: int) -> str:
    """One message for all rows that cannot be used: how many, and the first few by number."""
    shown = "".join(f"\n  row {number}: {fault}" for number, fault in faults[:_SHOWN])
    more = f"\n  and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    return f"{path}: {len(faults)} of {count} rows cannot be used. Correct or delete them.{shown}{more}"
