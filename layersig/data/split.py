"""Training and held-out conversations.

What lands where depends on the root seed and on what the conversations say, never on the order of rows or on the axis
of seeds, so that arms and seeds share one split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil

from layersig.data.conversation import Conversation
from layersig.errors import UserError
from layersig.streams import Streams


@dataclass(frozen=True, slots=True)
class Split:
    """A split of the conversations, each side in order of the ids.

    Attributes:
        train: Conversations to train on.
        heldout: Conversations for the held-out loss; no group of theirs is in `train`.
        duplicates: Conversations left out because an equal one is kept.
        beyond_limit: Conversations left out by `limit`.
    """

    train: tuple[Conversation, ...]
    heldout: tuple[Conversation, ...]
    duplicates: int
    beyond_limit: int

    def with_text(self, change: Callable[[Conversation], Conversation]) -> Split:
        """The split with other text in the same conversations."""
        return replace(self, train=tuple(map(change, self.train)), heldout=tuple(map(change, self.heldout)))


def split_conversations(
    conversations: Sequence[Conversation],
    *,
    heldout: int | float,
    limit: int | None = None,
    half: int | None = None,
    train_limit: int | None = None,
    root: int,
) -> Split:
    """Drop duplicates, keep a sample, and hold out whole groups.

    Conversations with equal labels or equal first prompts are one group, and so on through chains of them; the group
    bears the first of their labels. Groups are held out in an order drawn from the root seed until `heldout` is
    reached, so the held-out part may be larger than asked by less than one group.

    Args:
        conversations: Labelled conversations.
        heldout: Conversations to hold out at least; a float is a share of those kept. 0 holds out none.
        limit: Conversations to keep after duplicates are dropped; all when None.
        half: Which half of the training side to keep, 0 or 1, the held-out side being that of both; all of it when
            None. No group is in both halves.
        train_limit: Conversations of the training side (or of its half) to keep, so that smaller ones are part of
            larger ones, the held-out side being the same; all when None.
        root: The recipe's root seed.

    Raises:
        UserError: Nothing would be left to train on, or less than `train_limit`.
    """
    unique = {conversation.id: conversation for conversation in _regrouped(conversations)}
    streams = Streams(root)
    kept = sorted(unique.values(), key=lambda conversation: streams.number("sample", conversation.id))[:limit]
    sizes: dict[str, int] = {}
    for conversation in kept:
        sizes[conversation.group] = sizes.get(conversation.group, 0) + 1
    wanted = heldout if isinstance(heldout, int) else ceil(heldout * len(kept) - 1e-9)
    out: set[str] = set()
    held = 0
    for group in sorted(sizes, key=lambda group: streams.number("split", group)):
        if held >= wanted:
            break
        out.add(group)
        held += sizes[group]
    if held == len(kept):
        copies = len(conversations) - len(unique)
        dropped = f" (copies dropped: {copies})" if copies else ""
        raise UserError(
            f"{len(kept)} conversations in {len(sizes)} groups of equal prompts or labels{dropped} leave none to train "
            f"on once at least {wanted} are held out by whole groups. Ask for a smaller `heldout`, a larger `limit`, "
            "or give more data."
        )
    kept.sort(key=lambda conversation: conversation.id)
    train = [conversation for conversation in kept if conversation.group not in out]
    train = train if half is None else _half(train, half, streams)
    return Split(
        tuple(train if train_limit is None else _first(train, train_limit, streams)),
        tuple(conversation for conversation in kept if conversation.group in out),
        len(conversations) - len(unique),
        len(unique) - len(kept),
    )


def _half(train: Sequence[Conversation], half: int, streams: Streams) -> list[Conversation]:
    """One of two disjoint halves by whole groups; the first is larger by less than a group."""
    sizes = Counter(conversation.group for conversation in train)
    first: set[str] = set()
    filled = 0
    for group in sorted(sizes, key=lambda group: streams.number("half", group)):
        if 2 * filled >= len(train):
            break
        first.add(group)
        filled += sizes[group]
    chosen = [conversation for conversation in train if (conversation.group in first) == (half == 0)]
    if not chosen:
        raise UserError(
            f"{len(train)} conversations to train on in {len(sizes)} groups leave none for `half = {half}`, since "
            "groups stay together. Give more data, or group by another field."
        )
    return chosen


def _first(train: Sequence[Conversation], most: int, streams: Streams) -> list[Conversation]:
    """So many of the conversations in their order of sampling, sorted by id."""
    if most > len(train):
        raise UserError(
            f"`train_limit = {most}` asks for more conversations than the {len(train)} that there are to train on; ask "
            "for fewer, or give more data"
        )
    order = sorted(train, key=lambda conversation: streams.number("sample", conversation.id))
    return sorted(order[:most], key=lambda conversation: conversation.id)


def validation_indices(groups: Sequence[str], share: float, root: int) -> frozenset[int]:
    """Which of the training examples, by whole groups, are kept for comparing trials.

    Args:
        groups: Group of every training example.
        share: Share of the examples to keep at least; more by less than one group.
        root: The recipe's root seed: arms and seeds share one split.

    Raises:
        UserError: Nothing would be left to train on.
    """
    streams = Streams(root)
    wanted = ceil(share * len(groups) - 1e-9)
    kept: set[int] = set()
    for group in sorted(set(groups), key=lambda group: streams.number("validation", group)):
        if len(kept) >= wanted:
            break
        kept |= {index for index, each in enumerate(groups) if each == group}
    if len(kept) == len(groups):
        raise UserError(
            f"train.search.validation = {share:g} leaves none of {len(groups)} conversations in {len(set(groups))} "
            "groups to train on; ask for less, or give more data"
        )
    return frozenset(kept)


def _regrouped(conversations: Sequence[Conversation]) -> list[Conversation]:
    """Conversations with the label of their component, where equal labels or first prompts connect (union-find)."""
    parent: dict[str, str] = {}

    def root_of(label: str) -> str:
        while (above := parent.setdefault(label, label)) != label:
            parent[label] = label = parent[above]
        return label

    first_with: dict[str, str] = {}
    for conversation in conversations:
        one = root_of(conversation.group)
        other = root_of(first_with.setdefault(conversation.first_prompt, conversation.group))
        parent[max(one, other)] = min(one, other)
    return [conversation._replace(group=root_of(conversation.group)) for conversation in conversations]
