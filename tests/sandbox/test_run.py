from __future__ import annotations

import psutil
import pytest

from layersig.errors import MachineError
from layersig.sandbox import Execution, Limits, run
from tests.sandbox.world import SHORT, SMALL, confined, hostile, kind


@confined
def test_a_program_runs_to_its_end() -> None:
    found = run("import math, json, collections\nprint(math.sqrt(9))\nassert json.loads('[1]') == [1]")
    assert found == Execution("completed", (), "", "3.0\n")
    assert found.passed


@confined
@pytest.mark.parametrize(
    ("program", "ended", "kinds"),
    [
        ("assert 1 == 2, 'no'", "raised", ("AssertionError", "Exception", "BaseException")),
        ("undefined", "raised", ("NameError", "Exception", "BaseException")),
        ("class Own(KeyError): pass\nraise Own('x')", "raised", ("Own", "KeyError", "LookupError")),
        ("def f(:", "not compiled", ("SyntaxError", "Exception", "BaseException")),
        ("  x = 1", "not compiled", ("IndentationError", "SyntaxError", "Exception")),
        ("import sys\nsys.exit(0)", "exited", ("SystemExit", "BaseException")),
        ("import os\nos._exit(0)", "died", ()),
        ("def f(): f()\nf()", "raised", ("RecursionError", "RuntimeError", "Exception")),
        ("class E(Exception):\n  def __str__(self): raise ValueError\nraise E", "raised", ("E", "Exception")),
    ],
)
def test_how_it_ended_is_told_by_python_itself(program: str, ended: str, kinds: tuple[str, ...]) -> None:
    found = run(program, SMALL)
    assert (found.ended, found.kinds[: len(kinds)]) == (ended, kinds)
    assert not found.passed


@confined
def test_what_asks_for_the_module_of_a_program_finds_it() -> None:
    found = run(
        "import pickle\nfrom typing import NamedTuple, get_type_hints\nclass Point(NamedTuple):\n  x: 'Other'\n"
        "class Other: pass\nassert pickle.loads(pickle.dumps(Point(1))) == Point(1)\n"
        "assert get_type_hints(Point) == {'x': Other}\nimport __main__\nassert __main__.Point is Point",
        SMALL,
    )
    assert found.passed, found


@confined
@pytest.mark.parametrize("end", ["input()", "sys.exit()", "unittest.main()", "raise ValueError"])
def test_what_a_program_would_do_as_a_script_only_is_passed_over(end: str) -> None:
    """As lm-eval's `code_eval` has it: the tests behind it decide."""
    program = f"import sys, unittest\ndef f(): return 1\nif __name__ == '__main__':\n    {end}\n"
    assert run(f"{program}assert f() == 1", SMALL).passed
    found = run(f"{program}assert f() == 2", SMALL)
    assert (found.ended, kind(found)) == ("raised", "AssertionError")


@confined
def test_annotations_are_those_of_plain_python() -> None:
    found = run("def f(x: List[int]): return x", SMALL)
    assert (found.kinds[0], found.message) == ("NameError", "name 'List' is not defined")
    assert run("from __future__ import annotations\ndef f(x: List[int]): return x", SMALL).passed


@confined
def test_numpy_may_be_used() -> None:
    found = run("import numpy as np\nassert np.allclose(np.ones(3) @ np.ones((3, 3)), 3)\nnp.linalg.inv(np.eye(4))")
    assert found.passed, found


@confined
def test_an_endless_loop_ends() -> None:
    found, seconds = hostile("while True: pass", SHORT)
    assert found.ended == "timeout"
    assert seconds < 15


@confined
def test_sleep_does_not_outlive_the_clock() -> None:
    found, seconds = hostile("import time\nwhile True:\n  try: time.sleep(60)\n  except BaseException: pass", SHORT)
    assert found.ended == "timeout"
    assert seconds < 15


@confined
@pytest.mark.parametrize(
    "program",
    [
        "import os\nwhile True: os.fork()",
        "import subprocess\nwhile True: subprocess.Popen(['/bin/sleep', '60'])",
        "import multiprocessing as m, time\nwhile True: m.Process(target=time.sleep, args=(60,)).start()",
        "import os\nos.execv('/bin/sh', ['sh', '-c', 'sleep 60'])",
        "import os\nos.posix_spawn('/bin/sleep', ['sleep', '60'], {})",
    ],
)
def test_a_fork_bomb_does_not_go_off(program: str) -> None:
    before = len(psutil.pids())
    found, seconds = hostile(program)
    assert found.ended == "raised", found
    assert found.kinds[0] in {"PermissionError", "RuntimeError"}
    assert seconds < 15
    assert len(psutil.pids()) < before + 50


@confined
@pytest.mark.parametrize("stack", [0, 1 << 16])
def test_threads_are_few(stack: int) -> None:
    found, seconds = hostile(
        f"import threading, time\nthreading.stack_size({stack})\n"
        "while True: threading.Thread(target=time.sleep, args=(60,)).start()"
    )
    assert found.ended == "threads" or kind(found) == "RuntimeError", found
    assert seconds < 15


@confined
@pytest.mark.parametrize(
    "program", ["x = bytearray(10 << 30)", "x = [0]\nwhile True: x += x", "import numpy as np\nnp.ones(10 << 30)"]
)
def test_memory_ends_before_the_machine_does(program: str) -> None:
    found, _ = hostile(program, Limits(seconds=5, memory=1 << 29))
    assert "MemoryError" in found.kinds, found


@confined
@pytest.mark.parametrize("where", ["sys.stdout", "sys.stderr"])
def test_a_flood_is_cut(where: str) -> None:
    found, seconds = hostile(f"import sys\nwhile True: {where}.write('flood' * 1000)")
    assert found.ended == "output"
    assert len(found.output) == SMALL.output
    assert seconds < 15


@confined
def test_files_stay_small_and_few() -> None:
    found, _ = hostile("f = open('big', 'wb')\nwhile True: f.write(b'0' * (1 << 20))")
    # SIGXFSZ is ignored by Python, so that the write fails.
    assert (found.ended, found.kinds[0]) == ("raised", "OSError"), found
    many, _ = hostile(
        "n = 0\nwhile True:\n  n += 1\n  with open(str(n), 'wb') as f: f.write(b'0' * (1 << 20))",
        Limits(seconds=20, disk=1 << 22),
    )
    assert many.ended == "disk"
    handles, _ = hostile("x = []\nwhile True: x.append(open('/dev/null'))")
    assert (handles.ended, handles.kinds[0]) == ("raised", "OSError")


IN_DEPTH = (
    "import os\nplace = os.open('.', os.O_RDONLY)\nfor _ in range(40):\n  os.mkdir('d' * 200, dir_fd=place)\n"
    "  place = os.open('d' * 200, os.O_RDONLY, dir_fd=place)\n"
    "file = os.open('x', os.O_CREAT | os.O_WRONLY, dir_fd=place)\nos.write(file, b'x')\n"
)


@confined
@pytest.mark.parametrize(
    "program",
    [
        pytest.param(IN_DEPTH, id="below the longest path"),
        pytest.param(
            "import os\nfiles = []\nfor _ in range(8):\n  files.append(open('x', 'wb'))\n  os.unlink('x')\n"
            "  files[-1].write(b'0' * (1 << 20))\n  files[-1].flush()\n",
            id="without a name",
        ),
        pytest.param("for number in range(2000): open(str(number), 'w').close()\n", id="empty, but many"),
    ],
)
def test_no_file_is_hidden_from_the_limit_of_the_disk(program: str) -> None:
    found, _ = hostile(f"{program}import time\ntime.sleep(60)", Limits(seconds=20, disk=1 << 22))
    assert found.ended == "disk", found


@confined
def test_a_program_that_closes_everything_still_ends() -> None:
    found, seconds = hostile("import os\nos.closerange(0, 64)\nwhile True: pass", SHORT)
    assert found.ended == "timeout"
    assert seconds < 15


def test_a_machine_that_cannot_confine_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    module = importlib.import_module("layersig.sandbox.run")
    monkeypatch.setattr(module.sys, "platform", "darwin")
    module.refusal.cache_clear()
    try:
        with pytest.raises(MachineError, match="cannot confine a program; model-written code is run only where Linux"):
            run("raise SystemExit")
    finally:
        monkeypatch.undo()
        module.refusal.cache_clear()
