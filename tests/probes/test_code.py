from __future__ import annotations

import pytest

from layersig.probes.code import Ending, Extraction, error_of, extract, paper_error_of

FUNCTION = "def f(x):\n    return x\n"


@pytest.mark.parametrize(
    ("response", "code", "fenced", "closed"),
    [
        (f"Sure.\n```python\n{FUNCTION}```\nDone.", FUNCTION, True, True),
        (f"```\n{FUNCTION}```", FUNCTION, True, True),
        (f"```python\n{FUNCTION}", FUNCTION, True, False),
        (f"Sure:\n```py\n{FUNCTION}and so on", f"{FUNCTION}and so on", True, False),
        (FUNCTION, FUNCTION, False, True),
        (f"```bash\npip install x\n```\n```python\n{FUNCTION}```", FUNCTION, True, True),
        ("```python\nclass A:\n    pass\n```", "class A:\n    pass\n", True, True),
        ("", "", False, True),
        ("  \n", "", False, True),
        ("```python\n```", "", True, True),
        ('```python\ns = "```"\n```', 's = "```"\n', True, True),
        (f"```python\n{FUNCTION.rstrip()}``` Done.", FUNCTION.rstrip(), True, True),
        (f"```bash\nls\n```\n```\n{FUNCTION.rstrip()}```", FUNCTION.rstrip(), True, True),
    ],
)
def test_code_in_a_response(response: str, code: str, fenced: bool, closed: bool) -> None:
    assert extract(response) == Extraction(code, fenced, closed)


def test_a_prompt_may_have_opened_the_fence() -> None:
    assert extract(f"{FUNCTION}```\nThat is it.", opened=True) == Extraction(FUNCTION, True, True)
    assert extract(FUNCTION, opened=True) == Extraction(FUNCTION, True, False)
    assert extract(f"{FUNCTION.rstrip()}```\nIt is.", opened=True) == Extraction(FUNCTION.rstrip(), True, True)
    assert extract('s = "```"\n```\nIt is.', opened=True) == Extraction('s = "```"\n', True, True)


def compiled(source: str) -> Ending:
    """What Python itself says."""
    try:
        exec(compile(source, "<program>", "exec"), {})
    except SyntaxError as error:
        return Ending("not compiled", [each.__name__ for each in type(error).__mro__[:-1]], str(error))
    except Exception as error:
        return Ending("raised", [each.__name__ for each in type(error).__mro__[:-1]], str(error))
    return Ending("completed", (), "")


@pytest.mark.parametrize(
    ("source", "error", "paper"),
    [
        ("x = 1", "none", "passed"),
        ("x = (1", "bracket", "bracket/syntax"),
        ("x = 1)", "bracket", "bracket/syntax"),
        ("x = [1)", "bracket", "bracket/syntax"),
        ("x = {1: 2", "bracket", "bracket/syntax"),
        ("```python\nx = 1", "other syntax", "other syntax"),
        ("def f(:\n  pass", "other syntax", "other syntax"),
        ("if x\n  pass", "other syntax", "others"),  # "expected ':'" is nothing that the paper looks for
        ("def f():\nreturn 1", "other syntax", "others"),
        ("x = 'a", "other syntax", "others"),
        ("y", "undefined name", "not defined"),
        ("def f():\n  x += 1\nf()", "undefined name", "others"),
        ("assert 1 == 2", "assertion", "assertion"),
        ("assert 1 == 2, 'no'", "assertion", "others"),
        ("def f(): f()\nf()", "recursion", "timeout"),
        ("1 + 'a'", "type", "others"),
        ("int('a')", "value", "others"),
        ("{}['a']", "index or key", "others"),
        ("[][0]", "index or key", "others"),
        ("None.x", "attribute or import", "others"),
        ("import no_such_module", "attribute or import", "others"),
        ("raise NameError('undefined (was never closed')", "undefined name", "bracket/syntax"),
        ("1 / 0", "other", "others"),
    ],
)
def test_what_is_wrong_is_told_by_python(source: str, error: str, paper: str) -> None:
    ending = compiled(source)
    assert error_of(Extraction(source, False, True), ending) == error
    assert paper_error_of(ending) == paper


def test_limits_and_missing_code() -> None:
    some, none = Extraction("x", False, True), Extraction("", True, True)
    assert error_of(some, Ending("timeout", (), "")) == "timeout"
    assert paper_error_of(Ending("timeout", (), "")) == "timeout"
    assert error_of(some, Ending("exited", ("SystemExit",), "0")) == "exited"
    refused = Ending("raised", ("PermissionError", "OSError"), "[Errno 1] not allowed here: processes")
    assert error_of(some, refused) == "not allowed here"
    assert error_of(some, Ending("died", (), "")) == "other"
    assert error_of(some, Ending("raised", ("MemoryError",), "")) == "memory"
    assert error_of(none, Ending("completed", (), "")) == "no code"
