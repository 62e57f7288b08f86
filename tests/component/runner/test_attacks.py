"""What a hostile strategy tries, by real code in a real sealed process.

Each attack ends its own process or is refused, its author is told why, and a neighbour decides on
all the while.
"""

from __future__ import annotations

import asyncio
import os
import socket
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from aristobot.runner.answers import StrategyAnswer, StrategyFailed
from aristobot.runner.sealed import SealedStrategy, StrategyLimits
from aristobot.runner.zygote_host import Zygote
from tests.component.runner.conftest import Spawn
from tests.component.runner.strategies import FLAT, candles, endless_candles, strategy

pytestmark = pytest.mark.asyncio(loop_scope="module")

_PATIENT = StrategyLimits(memory_mebibytes=128, decision_seconds=30, history_candles=50)
_QUICK = StrategyLimits(memory_mebibytes=128, decision_seconds=0.3, history_candles=50)


_MODULES = (
    *("ctypes", "gc", "json", "mmap", "os", "resource"),
    *("signal", "socket", "subprocess", "sys", "threading"),
)


def _doing(code: str) -> str:
    """A strategy that runs `code` when it is asked whether to buy, past the list of imports."""
    top = "\n".join(f"{name} = __import__('{name}')" for name in _MODULES)
    body = textwrap.indent(textwrap.dedent(code).strip(), " " * 8).strip()
    return strategy(top=top, should_long=f"{body}\n        return False")


async def _ask(sealed: SealedStrategy) -> StrategyAnswer:
    history = candles(11)
    await sealed.warm(history[:10])
    return await sealed.decide(history[10], FLAT)


@asynccontextmanager
async def _neighbour(spawn: Spawn) -> AsyncIterator[None]:
    """Another strategy that decides without a pause, and within its time."""
    sealed = await spawn(strategy(), _PATIENT)
    history = endless_candles()
    await sealed.warm([next(history)])
    decided, stop = 0, asyncio.Event()

    async def decide() -> None:
        nonlocal decided
        while not stop.is_set():
            assert (await sealed.decide(next(history), FLAT)).action == "buy"
            decided += 1
            await asyncio.sleep(0.005)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(decide())
        yield
        before = decided
        while decided < before + 2:
            await asyncio.sleep(0.005)
        stop.set()


_ENDS = {
    "a crash": ("ctypes.string_at(0)", "Crashed"),
    "recursion without end": (
        "class A:\n    __getattr__ = lambda self, name: getattr(self, name)\n"
        "sys.setrecursionlimit(10**9)\nA().x",
        "Crashed Exception",  # from Python 3.12 on it is stopped by Python
    ),
    "os._exit": ("os._exit(7)", "Exited"),
    "closing the channel": ("[os.close(fd) for fd in (0, 1, 2, 3)]", "Exited"),
    "garbage on the channel": ("os.write(3, b'x' * 4000)", "BadAnswer"),
    "a frame of 4 GiB": ("os.write(3, b'\\xff' * 8)", "BadAnswer"),
    "a frame that is no JSON": ("os.write(3, b'\\0\\0\\0\\4nope')", "BadAnswer"),
    "a forged answer": (
        'text = b\'{"id":2,"done":{"action":"sell","rm":"-rf"}}\'\n'
        "os.write(3, len(text).to_bytes(4, 'big') + text)",
        "BadAnswer",
    ),
    "an answer nested without end": (
        "text = b'[' * 100_000\nos.write(3, len(text).to_bytes(4, 'big') + text)",
        "BadAnswer",
    ),
    "json patched": ("json.dumps = lambda *a, **k: '[1, 2]'", "BadAnswer"),
    "our modules patched": (
        "f = sys.modules['aristobot.runner.sealed_child']\nf.write_blocking = f.os._exit",
        "Exited",
    ),
    "our answer replaced": (
        "child = sys.modules['aristobot.runner.sealed_child']._Child\n"
        "child._decide = lambda *a: {'action': 'buy'}\n"
        "raise SystemExit",
        "Exception",
    ),
}


@pytest.mark.parametrize(("code", "reasons"), _ENDS.values(), ids=_ENDS)
async def test_it_ends_its_own_process_alone(spawn: Spawn, code: str, reasons: str) -> None:
    sealed = await spawn(_doing(code), _PATIENT)
    async with _neighbour(spawn):
        with pytest.raises(StrategyFailed) as caught:
            await _ask(sealed)
    assert caught.value.reason in reasons.split()
    if caught.value.reason != "Exception":
        assert not sealed.is_alive
        with pytest.raises(StrategyFailed):
            await sealed.load(strategy())


_LOOPS = {
    "an endless loop": "while True: pass",
    "an endless loop that catches all": (
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
    ),
    "an endless loop in C": "sum(iter(int, 1))",
    "printing without end": "while True: print('x' * 1000)",
    "sleeping": "__import__('time').sleep(3600)",
    "deaf to signals": (
        "for n in range(1, 65):\n"
        "    try: signal.signal(n, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\n"
        "while True: pass"
    ),
    "an error whose text never ends": (
        "class E(Exception):\n    def __str__(self):\n        while True: pass\nraise E"
    ),
    "half an answer": "os.write(3, b'\\0\\0\\0\\xff{'); __import__('time').sleep(3600)",
}


@pytest.mark.parametrize("code", _LOOPS.values(), ids=_LOOPS)
async def test_it_is_ended_when_its_time_is_over(spawn: Spawn, code: str) -> None:
    sealed = await spawn(_doing(code), _QUICK)
    async with _neighbour(spawn):
        with pytest.raises(StrategyFailed) as caught:
            await _ask(sealed)
    assert caught.value.reason == "Timeout"
    assert not sealed.is_alive
    assert not Path(f"/proc/{sealed.pid}").exists()


@pytest.mark.parametrize(
    "code",
    [
        "bytearray(10 * 2**30)",
        "kept = []\nwhile True: kept.append(bytearray(2**20))",
        "__import__('numpy').ones(10 * 2**27)",
        "mmap.mmap(-1, 10 * 2**30)",
        "x = 'x'\nwhile True: x += x",
    ],
    ids=["at once", "bit by bit", "by numpy", "by mmap", "doubling"],
)
async def test_it_has_no_more_memory_than_it_is_given(spawn: Spawn, code: str) -> None:
    sealed = await spawn(_doing(code), _PATIENT)
    async with _neighbour(spawn):
        with pytest.raises(StrategyFailed) as caught:
            await _ask(sealed)
    assert caught.value.reason in {"OutOfMemory", "Exception"}
    assert "emory" in str(caught.value)


_REFUSED = {
    "fork bomb": "while True: os.fork()",
    "a process": "subprocess.run(['true'])",
    "posix_spawn": "os.posix_spawn('/bin/true', ['true'], {{}})",
    "exec": "os.execv('/bin/true', ['true'])",
    "a thread": "threading.Thread(target=print).start()",
    "killing its parent": "os.kill(os.getppid(), 9)",
    "killing all": "os.kill(-1, 9)",
    "killing the host": "os.kill({host}, 9)",
    "stopping its group": "os.killpg(0, 19)",
    "a pidfd": "os.pidfd_open(os.getppid())",
    "TCP": "socket.create_connection(('127.0.0.1', {port}), 1)",
    "UDP": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "a Unix socket": "socket.socket(socket.AF_UNIX).connect('{folder}/socket')",
    "a raw socket": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "a socket of the channel": "socket.socket(fileno=3).sendto(b'x', 'x')",
    "a pair of sockets": "socket.socketpair()",
    "writing a file": "open('{folder}/new', 'w')",
    "changing a file": "open('{folder}/secret', 'r+')",
    "emptying a file": "os.truncate('{folder}/secret', 0)",
    "deleting a file": "os.unlink('{folder}/secret')",
    "renaming a file": "os.rename('{folder}/secret', '{folder}/new')",
    "linking a file": "os.link('{folder}/secret', '{folder}/new')",
    "a symbolic link": "os.symlink('{folder}/secret', '{folder}/new')",
    "a folder": "os.mkdir('{folder}/new')",
    "a file's mode": "os.chmod('{folder}/secret', 0o777)",
    "a file's owner": "os.chown('{folder}/secret', 1, 1)",
    "a file's times": "os.utime('{folder}/secret', (0, 0))",
    "a file's attributes": "os.setxattr('{folder}/secret', 'user.x', b'')",
    "a file in memory": "os.memfd_create('x')",
    "a pipe": "os.pipe()",
    "the data folder": "open('{folder}/secret').read()",
    "the data folder by a descriptor": "os.open('{folder}/secret', os.O_PATH)",
    "the data folder's list": "os.listdir('{folder}')",
    "passwords": "open('/etc/shadow').read()",
    "its owner's home": "os.listdir(os.path.expanduser('~{user}'))",
    "the first process's environment": "open('/proc/1/environ').read()",
    "its parent's environment": "open(f'/proc/{{os.getppid()}}/environ').read()",
    "its parent's memory": "open(f'/proc/{{os.getppid()}}/mem', 'rb')",
    "its own memory": "open('/proc/self/mem', 'r+b')",
    "the host's memory": "open('/proc/{host}/mem', 'rb')",
    "another strategy's channel": "open('/proc/{host}/fd/3')",
    "shared memory": "open('/dev/shm/x', 'w')",
    "another folder": "os.chroot('{folder}')",
    "another user": "os.setuid(12345)",
    "no limits": "resource.prlimit(0, resource.RLIMIT_AS, (-1, -1))",
    "the parent's limits": "resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (0, 0))",
    "a better place": "os.nice(-10)",
    "memory that runs": "mmap.mmap(-1, 4096, prot=7)",
    "a terminal": "os.openpty()",
    "the clock": "__import__('time').clock_settime(0, 0)",
    "the machine's name": "socket.sethostname('x')",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("the key")
    return tmp_path


@pytest.fixture
def listener() -> socket.socket:
    """A server that must never be reached, as NATS and PostgreSQL must not."""
    server = socket.create_server(("127.0.0.1", 0))
    server.setblocking(False)
    return server


async def test_all_that_leads_out_is_refused(
    spawn: Spawn, folder: Path, listener: socket.socket
) -> None:
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(f"{folder}/socket")
    unix.listen()
    unix.setblocking(False)
    known = {
        "folder": folder,
        "port": listener.getsockname()[1],
        "host": os.getpid(),
        "user": "root" if os.getuid() == 0 else "",
    }
    before = sorted(os.listdir(folder)), (folder / "secret").stat()
    open_ways = []
    async with _neighbour(spawn):
        for name, code in _REFUSED.items():
            sealed = await spawn(_doing(code.format(**known)), _PATIENT)
            try:
                answer: object = await _ask(sealed)
            except StrategyFailed as failed:
                # The author is told which of their lines it was.
                if failed.reason == "ForbiddenCall" and (failed.line or 0) > len(_MODULES):
                    continue
                answer = failed.reason, str(failed)
            open_ways.append((name, answer))
    assert not open_ways
    with listener, unix:
        for server in (listener, unix):
            with pytest.raises(BlockingIOError):
                server.accept()
    after = sorted(os.listdir(folder)), (folder / "secret").stat()
    assert before[0] == after[0]
    assert (before[1].st_size, before[1].st_mtime_ns, before[1].st_mode) == (
        after[1].st_size,
        after[1].st_mtime_ns,
        after[1].st_mode,
    )


async def test_a_shell_is_not_started(spawn: Spawn, folder: Path) -> None:
    """`os.system` raises nothing; it must still do nothing."""
    sealed = await spawn(_doing(f"print(os.system('touch {folder}/new'))"), _PATIENT)
    answer = await _ask(sealed)
    assert answer.printed
    assert answer.printed != ("0",)
    assert not (folder / "new").exists()


async def test_every_other_system_call_is_refused(spawn: Spawn) -> None:
    """All numbers there are, tried with no arguments, and x32's with its bit."""
    sealed = await spawn(
        _doing(
            """
            from aristobot.platform.sandbox import syscalls
            machine = 0 if os.uname().machine == 'x86_64' else 1
            known = [*syscalls.HARMLESS.values(), syscalls.OPEN, syscalls.OPENAT]
            known += [syscalls.MMAP, syscalls.MPROTECT, syscalls.FCNTL]
            # The kernel keeps uretprobe and uprobe from every filter and ends who calls them.
            allowed = {335, 336, *(numbers[machine] for numbers in known)}
            libc = ctypes.CDLL(None, use_errno=True)
            tried, passed = 0, []
            for number in [*range(0, 600), *range(1 << 30, (1 << 30) + 600)]:
                if number in allowed:
                    continue
                tried += 1
                ctypes.set_errno(0)
                if libc.syscall(ctypes.c_long(number), 0, 0, 0, 0, 0, 0) != -1:
                    passed.append(number)
                elif ctypes.get_errno() != 1:
                    passed.append((number, ctypes.get_errno()))
            print(tried, passed)
            """
        ).replace("from aristobot.platform.sandbox import syscalls", _SYSCALLS),
        _PATIENT,
    )
    (line,) = (await _ask(sealed)).printed
    tried, _, passed = line.partition(" ")
    assert int(tried) > 1000
    assert passed == "[]"


_SYSCALLS = "syscalls = sys.modules['aristobot.platform.sandbox.syscalls']"


async def test_memory_is_never_made_runnable(spawn: Spawn) -> None:
    sealed = await spawn(
        _doing(
            """
            libc = ctypes.CDLL(None, use_errno=True)
            memory = mmap.mmap(-1, 4096)
            address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
            print(libc.mprotect(ctypes.c_void_p(address), 4096, 5), ctypes.get_errno())
            """
        ),
        _PATIENT,
    )
    assert (await _ask(sealed)).printed == ("-1 1",)


async def test_it_has_its_channel_and_nothing_else_open(spawn: Spawn) -> None:
    await spawn(strategy())  # whose descriptors the zygote holds
    sealed = await spawn(
        _doing(
            """
            found = []
            for descriptor in range(5000):
                try:
                    os.fstat(descriptor)
                    found.append(descriptor)
                except OSError:
                    pass
            print(found)
            """
        ),
        _PATIENT,
    )
    assert (await _ask(sealed)).printed == ("[0, 1, 2, 3]",)


async def test_much_printing_is_cut(spawn: Spawn) -> None:
    sealed = await spawn(_doing("for n in range(10_000): print(n, 'x' * 1000)"), _PATIENT)
    printed = (await _ask(sealed)).printed
    assert len(printed) == 51
    assert printed[0].startswith("0 xxx")
    assert printed[-1] == "(9950 more lines were printed and left out)"
    assert max(map(len, printed)) < 600


async def test_it_runs_only_while_it_is_asked(spawn: Spawn) -> None:
    """A strategy that answers in its own name and then goes on computing computes nothing."""
    forged = "text = json.dumps({'id': 3, 'done': {'action': 'none'}, 'printed': []}).encode()\n"
    forged += "os.write(3, len(text).to_bytes(4, 'big') + text)\nwhile True: pass"
    sealed = await spawn(_doing(forged), _PATIENT)
    assert (await _ask(sealed)).action == "none"
    process = psutil.Process(sealed.pid)
    while process.status() != psutil.STATUS_STOPPED:  # the signal is on its way
        await asyncio.sleep(0.01)
    used = process.cpu_times()
    await asyncio.sleep(0.3)
    assert process.cpu_times() == used


async def test_there_is_no_secret_in_its_memory(
    monkeypatch: pytest.MonkeyPatch, spawn: Spawn
) -> None:
    """Neither in the environment, nor anywhere in the memory that it was forked with."""
    secret = "s3cr3t-" + "of-the-host"
    monkeypatch.setenv("ARISTOBOT_DATABASE_URL", f"postgresql://user:{secret}@localhost/db")
    zygote = Zygote()
    await zygote.start()
    try:
        sealed = await zygote.spawn(_PATIENT)
        await sealed.load(
            _doing("print(dict(os.environ), sys.argv[1:2] == [], len(gc.get_objects()) > 0)")
        )
        assert (await _ask(sealed)).printed[0].startswith("{}")
        for pid in (zygote.pid, sealed.pid):
            assert secret.encode() not in await asyncio.to_thread(_writable_memory, pid)
        # The measure measures: what is there is found.
        assert b"class Mine(Strategy)" in await asyncio.to_thread(_writable_memory, sealed.pid)
    finally:
        await zygote.close()


def _writable_memory(pid: int | None) -> bytes:
    found = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            span, rights, *_ = line.split()
            if not rights.startswith("rw"):
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            memory.seek(start)
            found.append(memory.read(end - start))
    return b"".join(found)
