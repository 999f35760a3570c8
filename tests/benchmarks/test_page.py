"""The page of benchmarks against the cases that there are."""

from __future__ import annotations

from tests.benchmarks.__main__ import cases, kept_parts


def test_every_case_has_a_section_of_the_page():
    assert [*kept_parts()] == [*cases({"chats": ""}, 1, 1)], "measure what is missing: `make bench CASES=NAME`"
