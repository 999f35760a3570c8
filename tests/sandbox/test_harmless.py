"""What a program may do: everything that reaches nobody else. What it may not do is refused with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sandbox.world import ROOMY, SHORT, confined, hostile

HARMLESS = {
    "threads": """
import threading
done = []
threads = [threading.Thread(target=done.append, args=(i,)) for i in range(9)]
for each in threads: each.start()
for each in threads: each.join()
assert sorted(done) == list(range(9))
""",
    "a pool of threads": """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(4) as pool: assert list(pool.map(abs, [-1, 2])) == [1, 2]
""",
    "multiprocessing's pool of threads": """
from multiprocessing.pool import ThreadPool
with ThreadPool(3) as pool: assert pool.map(abs, [-1, 2]) == [1, 2]
""",
    "a timer": """
import threading, time
done = []
threading.Timer(0.01, done.append, [1]).start()
time.sleep(0.2)
assert done
""",
    "multiprocessing's locks": """
import multiprocessing as m
with m.RLock(), m.Lock(): pass
lock = m.RLock()
with lock:
    with lock: pass
assert not m.Semaphore(0).acquire(timeout=0.01)
assert not m.Semaphore(0).acquire(block=False)
bounded = m.BoundedSemaphore(1)
try: bounded.release()
except ValueError: pass
else: assert False
queue = m.Queue()
queue.put(1)
assert queue.get() == 1
""",
    "asyncio": """
import asyncio
async def main():
    await asyncio.sleep(0.01)
    return await asyncio.gather(asyncio.to_thread(abs, -3), asyncio.sleep(0, 4))
assert asyncio.run(main()) == [3, 4]
""",
    "asyncio's tasks": """
import asyncio
async def main():
    queue = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        group.create_task(queue.put(1))
        got = group.create_task(queue.get())
    return got.result()
assert asyncio.run(main()) == 1
""",
    "copies": """
import os, shutil
open('a', 'w').write('x')
shutil.copy('a', 'b')
shutil.copy2('a', 'c')
os.mkdir('d')
shutil.move('a', 'd/a')
shutil.copytree('d', 'e')
assert os.listdir('e') == ['a']
shutil.rmtree('e')
""",
    "archives": """
import tarfile, zipfile
open('a', 'w').write('x')
with tarfile.open('t', 'w') as t: t.add('a')
with tarfile.open('t') as t: t.extractall('o')
with zipfile.ZipFile('z', 'w') as z: z.write('a')
with zipfile.ZipFile('z') as z: z.extractall('p')
assert open('o/a').read() == open('p/a').read() == 'x'
""",
    "modes": """
import os, pathlib, stat
open('a', 'w').write('x')
mode = lambda: stat.S_IMODE(os.stat('a').st_mode)
os.chmod('a', 0o640)
assert mode() == 0o640
pathlib.Path('a').chmod(0o600)
assert mode() == 0o600
with open('a') as file: os.fchmod(file.fileno(), 0o755)
assert mode() == 0o755
os.chmod('a', 0o4711)
assert mode() == 0o711
""",
    "time stamps": """
import os, pathlib
pathlib.Path('a').touch()
os.utime('a', (5, 6.5))
assert os.stat('a').st_mtime == 6.5
os.utime('a', ns=(7, 8))
assert os.stat('a').st_mtime_ns == 8
pathlib.Path('a').touch()
assert os.stat('a').st_mtime > 1e9
""",
    "links": """
import os
open('a', 'w').write('x')
os.symlink('a', 'b')
assert open('b').read() == 'x'
os.truncate('a', 0)
assert open('b').read() == ''
""",
    "folders": """
import contextlib, os
os.mkdir('d')
with contextlib.chdir('d'): open('a', 'w')
os.rename('d/a', 'b')
assert sorted(os.listdir()) == ['b', 'd']
""",
    "priority": """
import os
before = os.nice(0)
assert os.nice(2) == min(19, before + 2) == os.getpriority(os.PRIO_PROCESS, 0)
""",
    "limits, read": "import resource\nassert resource.getrlimit(resource.RLIMIT_AS)[0] > 0",
    "its own signals": """
import os, signal
got = []
signal.signal(signal.SIGUSR1, lambda *_: got.append(1))
os.kill(os.getpid(), signal.SIGUSR1)
signal.raise_signal(signal.SIGUSR1)
assert len(got) == 2
""",
    "a pair of sockets": """
import socket
a, b = socket.socketpair()
a.sendall(b'x')
assert b.recv(1) == b'x'
""",
    "time zones": """
from datetime import datetime
from zoneinfo import ZoneInfo
assert datetime(2020, 7, 1, tzinfo=ZoneInfo('Europe/Berlin')).utcoffset().seconds == 7200
""",
    "kinds of files": "import mimetypes\nassert mimetypes.guess_type('a.txt')[0] == 'text/plain'",
    "space": "import shutil\nassert shutil.disk_usage('.').total",
    "a database": """
import sqlite3
with sqlite3.connect('x') as base: base.execute('create table t (a)')
assert base.execute('select count(*) from t').fetchone() == (0,)
""",
    "unittest": """
import unittest
class Case(unittest.TestCase):
    def test(self): self.assertEqual(1, 1)
unittest.main()
""",
    "doctest": """
import doctest
def f(): return 1
f.__doc__ = '>>> f()\\n1\\n'
assert doctest.testmod().attempted == 1
""",
}


@confined
@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_harmless_works(name: str) -> None:
    if name == "time zones" and not Path("/usr/share/zoneinfo/Europe/Berlin").exists():
        pytest.skip("this machine has no table of time zones")
    found, _ = hostile(HARMLESS[name], ROOMY)
    assert found.passed, found


@confined
@pytest.mark.parametrize(
    ("program", "what"),
    [
        ("import subprocess\nsubprocess.run(['true'])", "processes"),
        ("import os\nos.system('true')", "processes"),
        ("import os\nos.popen('true')", "processes"),
        ("from multiprocessing import Pool\nPool(2)", "processes"),
        ("from concurrent.futures import ProcessPoolExecutor as P\nP(2).submit(abs, 1).result()", "processes"),
        ("import asyncio\nasyncio.run(asyncio.create_subprocess_exec('true'))", "processes"),
        ("import urllib.request\nurllib.request.urlopen('http://localhost')", "network"),
        ("import http.client\nhttp.client.HTTPConnection('localhost').request('GET', '/')", "network"),
        ("import os\nos.kill(os.getppid(), 0)", "signals to other processes"),
        ("import os\nopen('a', 'w')\nos.chown('a', 1, 1)", ""),
        ("import os\ntry: os.system('true')\nexcept OSError as e: raise ValueError('no way') from e", "processes"),
    ],
)
def test_a_refusal_gives_its_reason(program: str, what: str) -> None:
    found, _ = hostile(program, ROOMY)
    assert found.ended == "raised", found
    assert ("not allowed here" + (f": {what}" if what else "")) in found.message


@confined
@pytest.mark.parametrize(
    ("program", "ended"),
    [
        ("import sys\nsys.exit(0)\nassert False", "exited"),
        ("import sys\nsys.exit(1)", "exited"),
        ("import sys\nsys.exit(0)", "exited"),
        ("exec(compile('raise SystemExit', 'x', 'exec'))", "exited"),
        ("import sys\ndef f(): sys.exit(0)\ndef check(f): f()\ncheck(f)", "exited"),
        ("import sys\nclass A:\n  def __eq__(self, other): sys.exit()\nassert A() == 1", "exited"),
        ("import unittest\nclass T(unittest.TestCase):\n  def test(self): self.fail()\nunittest.main()", "exited"),
        (
            "import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.2), print('late'))).start()",
            "completed",
        ),
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()", "timeout"),
    ],
)
def test_a_program_ends_with_its_last_statement_and_its_threads(program: str, ended: str) -> None:
    found, _ = hostile(program, SHORT)
    assert found.ended == ended, found
    assert ("late" in found.output) == ("late" in program)
