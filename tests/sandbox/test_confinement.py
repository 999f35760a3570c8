"""What a confined program can reach: no files but its own, no network, no other process, no environment."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from layersig.sandbox import run
from layersig.sandbox.scratch import scratch_folder
from tests.sandbox.world import confined, hostile, kind


@confined
@pytest.mark.parametrize(
    "program",
    [
        "open('{secret}').read()",
        "open('/etc/passwd').read()",
        "open('/proc/{parent}/environ').read()",
        "open('/proc/self/mem', 'rb')",
        "import os\nos.listdir('/')",
        "import os\nos.listdir('{folder}')",
        "import os\nos.symlink('{secret}', 'link')\nopen('link').read()",
        "import os\nos.link('{secret}', 'link')\nopen('link').read()",
        "open('{secret}', 'w').write('harmed')",
        "open('{folder}/new', 'w')",
        "import os\nos.remove('{secret}')",
        "import os\nos.truncate('{secret}', 0)",
        "import os\nos.chmod('{secret}', 0o777)",
        "import os\nos.chmod('../' * 9 + '{secret}', 0o777)",
        "import os\nos.symlink('{secret}', 'link')\nos.chmod('link', 0o777)",
        "import os\nos.symlink('{folder}', 'link')\nos.chmod('link/secret', 0o777)",
        "import os\nos.symlink('{folder}', 'link')\nos.rename('link/secret', 'mine')",
        "import os\nos.chmod(os.open('{secret}', os.O_PATH), 0o777)",
        "import os\nos.fchmod(os.open(os.__file__, os.O_RDONLY), 0o777)",
        "import os\nos.mkdir('sub')\nos.chdir('sub')\nos.chdir('../..')",
        "import os\nos.utime('{secret}', (0, 0))",
        "import os\nos.rename('{secret}', 'mine')",
        "import os\nos.chdir('/')",
        "import os\nos.chroot('.')",
        "import os\nos.mkfifo('pipe')",
        "import os\nos.setuid(0)",
        "import os\nos.memfd_create('x')",
        "import ctypes\nc = ctypes.CDLL(None, use_errno=True)\n"
        "assert c.mount(b'none', b'.', b'tmpfs', 0, None) == -1 and ctypes.get_errno() == 1\nraise PermissionError",
    ],
)
def test_nothing_outside_its_folder_is_read_or_changed(program: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("mine")
    before = secret.stat()
    filled = program.format(secret=secret, folder=tmp_path, parent=os.getpid())
    found, _ = hostile(filled)
    assert kind(found) == "PermissionError", found
    assert secret.read_text() == "mine"
    assert secret.stat().st_mode == before.st_mode
    assert secret.stat().st_mtime == before.st_mtime
    assert list(tmp_path.iterdir()) == [secret]


@confined
def test_its_own_folder_is_its_own_and_gone_afterwards() -> None:
    found, _ = hostile(
        "import os, tempfile\nopen('a', 'w').write('x')\nos.mkdir('b')\nassert open('a').read() == 'x'\n"
        "with tempfile.TemporaryFile() as f: f.write(b'y')\nprint(os.getcwd())"
    )
    assert found.passed, found
    assert not Path(found.output.strip()).exists()


@confined
@pytest.mark.parametrize(
    "program",
    [
        "import socket\nsocket.socket()",
        "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
        "import socket\nsocket.socket(socket.AF_UNIX)",
        "import socket\nsocket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
        "import socket\nsocket.getaddrinfo('localhost', 80)",
        "import asyncio\nasyncio.run(asyncio.open_connection('127.0.0.1', 80))",
        "import ctypes\nc = ctypes.CDLL(None, use_errno=True)\nassert c.socket(1, 1, 0) == -1\n"
        "assert ctypes.get_errno() == 1\nraise PermissionError",
        "import socket\nsocket.create_connection(('127.0.0.1', 80), 1)",
        "import urllib.request\ntry: urllib.request.urlopen('http://127.0.0.1')\n"
        "except OSError as e: raise getattr(e, 'reason', e)",
    ],
)
def test_there_is_no_network(program: str) -> None:
    found, _ = hostile(program)
    assert kind(found) == "PermissionError", found


def test_whatever_a_program_leaves_goes_away(tmp_path: Path) -> None:
    outside = tmp_path / "mine"
    outside.mkdir()
    (outside / "file").write_text("mine")
    with scratch_folder() as folder:
        place = os.open(folder, os.O_RDONLY)
        for _ in range(1100):  # deeper than Python's stack
            os.mkdir("d", dir_fd=place)
            inner = os.open("d", os.O_RDONLY, dir_fd=place)
            os.close(place)
            place = inner
        os.mkdir("shut", mode=0, dir_fd=place)
        os.close(place)
        (folder / "link").symlink_to(outside)
        (folder / "a").mkdir()
        (folder / "a" / "link").symlink_to(outside / "file")
        folder.chmod(0)
    assert not folder.exists()
    assert (outside / "file").read_text() == "mine"


@confined
@pytest.mark.parametrize(
    "program",
    [
        "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)",
        "import os, signal\nos.kill({victim}, signal.SIGKILL)",
        "import os, signal\nos.kill(-1, signal.SIGKILL)",
        "import os, signal\nos.killpg(os.getpgid({victim}), signal.SIGKILL)",
        "import fcntl, os\nr, w = os.pipe()\nfcntl.fcntl(r, fcntl.F_SETOWN, {victim})",
        "import fcntl, os\nr, w = os.pipe()\nfcntl.fcntl(r, 10, 9)",
        "import resource\nresource.prlimit({victim}, resource.RLIMIT_AS, (1, 1))",
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
        "import os\nos.setpriority(os.PRIO_PROCESS, {victim}, 19)",
        "import os\nos.nice(-5)",
        "import os\nos.setpriority(os.PRIO_USER, 0, 19)",
        "import resource\nresource.prlimit({victim}, resource.RLIMIT_AS)",
        "import os\nos.sched_setaffinity({victim}, {{0}})",
        "import os, signal\nsignal.pidfd_send_signal(os.pidfd_open({victim}), 9)",
        "import ctypes\nc = ctypes.CDLL(None, use_errno=True)\nassert c.ptrace(16, {victim}, 0, 0) == -1\n"
        "assert ctypes.get_errno() == 1\nraise PermissionError",
    ],
)
def test_other_processes_are_out_of_reach(program: str) -> None:
    victim = subprocess.Popen(["sleep", "60"])
    try:
        found, _ = hostile(program.format(victim=victim.pid))
        assert kind(found) in {"PermissionError", "ValueError"}, found
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


@confined
def test_nothing_of_the_environment_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "mine")
    found = run("import os, sys\nprint(sorted(os.environ))\nprint(sys.stdin.read() == '')")
    assert "SECRET" not in found.output
    assert found.output.endswith("True\n")
