"""The supervisor with small real processes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from aristobot.core.errors import Misconfigured, Retryable
from aristobot.local.process import ProcessSpec, last_log_line
from aristobot.local.rundir import RunDir, is_alive
from aristobot.local.supervisor import PartState, Phase, Supervisor
from tests.component.local.conftest import Place, eventually

SLEEP = "import time; time.sleep(60)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('deaf', flush=True); time.sleep(60)"
)


def parent(*, own_session: bool, lives_seconds: float = 60) -> str:
    """A program with a child that ignores SIGTERM, as PostgreSQL's children do, perhaps in a
    session of its own."""
    return (
        "import subprocess, sys, time;"
        f"child = subprocess.Popen([sys.executable, '-c', {STUBBORN!r}],"
        f" start_new_session={own_session});"
        f"print('child', child.pid, flush=True); time.sleep({lives_seconds})"
    )


def spec(place: Place, name: str, code: str, **options: object) -> ProcessSpec:
    return ProcessSpec(
        name=name,
        argv=(sys.executable, "-S", "-c", code),
        environment={"PATH": os.environ["PATH"]},
        log_path=place.data / "logs" / f"{name}.log",
        cwd=place.data,
        **options,  # type: ignore[arg-type]
    )


def _pid(supervisor: Supervisor, name: str) -> int:
    state = supervisor.state(name)
    assert state is not None
    assert state.pid is not None
    return state.pid


async def _says(place: Place, name: str, text: str) -> None:
    log = place.data / "logs" / f"{name}.log"
    await eventually(lambda: log.exists() and text in log.read_text(), within_seconds=5)


async def test_a_killed_part_comes_back(place: Place, supervisor: Supervisor) -> None:
    await supervisor.start(spec(place, "a", SLEEP))
    first = _pid(supervisor, "a")
    os.kill(first, signal.SIGKILL)

    def is_back() -> bool:
        state = supervisor.state("a")
        return state is not None and state.ready and state.pid != first

    assert await eventually(is_back) < 2
    state = supervisor.state("a")
    assert state is not None
    assert (state.restarts, state.last_exit) == (1, "killed by SIGKILL")


async def test_the_pause_grows_while_a_part_keeps_dying(
    place: Place, supervisor: Supervisor
) -> None:
    moments: list[float] = []

    async def note() -> None:
        moments.append(time.monotonic())

    await supervisor.put(spec(place, "a", "raise SystemExit(3)", prepare=note))
    await eventually(lambda: len(moments) >= 5)
    pauses = [after - before for before, after in itertools.pairwise(moments)]
    for pause, least in zip(pauses, (0.1, 0.2, 0.4, 0.8), strict=False):
        assert pause >= least
    state = supervisor.state("a")
    assert state is not None
    assert state.last_exit == "exit code 3"


async def test_a_part_that_was_sound_for_a_while_starts_anew_at_once(
    place: Place, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aristobot.local.supervisor.HEALTHY_SECONDS", 0.3)
    moments: list[float] = []

    async def note() -> None:
        moments.append(time.monotonic())

    await supervisor.put(spec(place, "a", "import time; time.sleep(0.5)", prepare=note))
    await eventually(lambda: len(moments) >= 6, within_seconds=20)
    # With growing pauses the last ones alone would be 0.8 s and 1.6 s.
    assert moments[5] - moments[3] < 2.4


async def test_a_part_that_never_gets_ready_is_named_with_its_last_words(
    place: Place, supervisor: Supervisor
) -> None:
    dying = spec(place, "a", "print('the disk is on fire'); raise SystemExit(1)", ready=_never)
    with pytest.raises(Misconfigured, match=r"a does not get ready \(exit code 1\).*on fire"):
        await supervisor.start(dying)
    hanging = spec(place, "b", SLEEP, ready=_never, ready_timeout_seconds=0.5)
    with pytest.raises(Misconfigured, match="b does not get ready"):
        await supervisor.start(hanging)


async def test_a_program_that_is_missing_is_a_clear_error(
    place: Place, supervisor: Supervisor
) -> None:
    missing = replace(spec(place, "a", ""), argv=("/nowhere/program",))
    with pytest.raises(Misconfigured, match=r"can't be started.*/nowhere/program"):
        await supervisor.start(missing)


async def test_a_failing_preparation_is_tried_again(place: Place, supervisor: Supervisor) -> None:
    attempts = 0

    async def prepare() -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise Retryable("not yet")
        if attempts == 2:
            raise RuntimeError("a bug")

    await supervisor.start(spec(place, "a", SLEEP, prepare=prepare))
    assert attempts == 3


async def test_parts_come_change_and_go(place: Place, supervisor: Supervisor) -> None:
    await supervisor.start(spec(place, "a", SLEEP), spec(place, "b", SLEEP))
    a, b = _pid(supervisor, "a"), _pid(supervisor, "b")

    await supervisor.put(spec(place, "a", SLEEP))
    assert _pid(supervisor, "a") == a

    changed = replace(spec(place, "a", SLEEP), environment={"X": "2"})
    await supervisor.start(changed)
    assert _pid(supervisor, "a") != a
    assert not psutil.pid_exists(a)

    await supervisor.remove("b")
    await supervisor.remove("b")
    assert not psutil.pid_exists(b)
    assert [state.name for state in supervisor.states()] == ["a"]
    assert [file.name for file in (place.data / "run").glob("*.json")] == ["a.json"]

    before = _pid(supervisor, "a")
    await supervisor.restart("a")
    await eventually(lambda: (state := supervisor.state("a")) is not None and state.ready)
    assert _pid(supervisor, "a") != before


async def test_changes_at_once_leave_one_process(place: Place, supervisor: Supervisor) -> None:
    await asyncio.gather(
        *(
            supervisor.put(replace(spec(place, "a", SLEEP), environment={"X": str(number)}))
            for number in range(5)
        )
    )
    await eventually(lambda: (state := supervisor.state("a")) is not None and state.ready)
    assert len(place.processes()) == 1


async def test_stopping_is_in_order_and_ends_the_deaf(place: Place) -> None:
    ended: list[str] = []

    def note(state: PartState) -> None:
        if state.phase is Phase.STOPPED:
            ended.append(state.name)

    supervisor = Supervisor(place.run_dir, on_change=note)
    deaf = [spec(place, f"deaf{stage}", STUBBORN, stage=stage) for stage in (0, 1, 2)]
    polite = [spec(place, f"polite{stage}", SLEEP, stage=stage) for stage in (0, 1, 2)]
    await supervisor.start(*deaf, *polite)
    for stage in (0, 1, 2):
        await _says(place, f"deaf{stage}", "deaf")
    began = time.monotonic()
    await supervisor.stop()
    assert time.monotonic() - began < 5
    assert place.processes() == []
    assert sorted(ended, key=lambda name: name[-1], reverse=True) == ended
    assert {state.last_exit for state in supervisor.states()} == {None}
    assert list((place.data / "run").glob("*.json")) == []
    # It is final.
    await supervisor.put(spec(place, "late", SLEEP))
    assert place.processes() == []


async def test_a_grandchild_in_its_own_session_is_ended_too(place: Place) -> None:
    supervisor = Supervisor(place.run_dir)
    await supervisor.start(spec(place, "a", parent(own_session=True)))
    await _says(place, "a", "child")
    await _says(place, "a", "deaf")
    await supervisor.stop()
    assert place.processes() == []


async def test_what_a_dead_part_left_in_its_session_is_ended(
    place: Place, supervisor: Supervisor
) -> None:
    code = parent(own_session=False, lives_seconds=0.5)
    await supervisor.put(spec(place, "a", code))
    log = place.data / "logs" / "a.log"
    await eventually(lambda: log.exists() and "child" in log.read_text())
    grandchild = int(log.read_text().split("child ")[1].split()[0])
    assert is_alive(psutil.Process(grandchild))
    assert await eventually(lambda: not psutil.pid_exists(grandchild)) < 3


async def test_stopping_during_a_pause_or_a_start_is_prompt(place: Place) -> None:
    supervisor = Supervisor(place.run_dir)
    await supervisor.put(spec(place, "dying", "raise SystemExit(1)"))
    await supervisor.put(spec(place, "starting", SLEEP, ready=_never))
    await asyncio.sleep(0.6)
    began = time.monotonic()
    await supervisor.stop()
    assert time.monotonic() - began < 0.6
    assert place.processes() == []


async def test_ctrl_c_does_not_reach_a_part(place: Place, supervisor: Supervisor) -> None:
    await supervisor.start(spec(place, "a", SLEEP))
    pid = _pid(supervisor, "a")
    assert os.getsid(pid) == pid != os.getsid(0)


if sys.platform == "linux":  # elsewhere there is no parent-death signal, but the next test

    async def test_a_killed_supervisor_leaves_nothing(place: Place) -> None:
        code = (
            "import asyncio, sys; from pathlib import Path;"
            "from aristobot.local.process import ProcessSpec, spawn;"
            "data = Path(sys.argv[1]);"
            f"spec = ProcessSpec('a', (sys.executable, '-S', '-c', {STUBBORN!r}), {{}}, "
            "data / 'a.log', cwd=data);\n"
            "async def run():\n"
            "    print((await spawn(spec)).pid, flush=True)\n"
            "    await asyncio.sleep(60)\n"
            "asyncio.run(run())"
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, str(place.data), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        child = psutil.Process(int(await asyncio.wait_for(process.stdout.readline(), 10)))
        assert is_alive(child)
        process.kill()
        await process.wait()
        assert await eventually(lambda: not is_alive(child), within_seconds=3) < 1


async def test_leftovers_are_stopped_by_the_next_run(place: Place) -> None:
    """As where no parent-death signal exists: processes with a record, and nobody above them."""
    run_dir = place.run_dir
    left = []
    for name, code in (("polite", SLEEP), ("deaf", STUBBORN), ("parent", parent(own_session=True))):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-S", "-c", code),
            cwd=place.data,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        if name != "polite":
            assert process.stdout is not None
            await asyncio.wait_for(process.stdout.readline(), 5)
        run_dir.write(name, process.pid, stop_signal=signal.SIGTERM)
        left.append(process)
    began = time.monotonic()
    assert await asyncio.to_thread(run_dir.stop_leftovers) == ["deaf", "parent", "polite"]
    assert time.monotonic() - began < 4
    await asyncio.gather(*(asyncio.wait_for(process.wait(), 2) for process in left))
    assert place.processes() == []
    assert run_dir.stop_leftovers() == []


async def test_a_pid_that_is_somebody_elses_by_now_is_left_alone(place: Place) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-S", "-c", SLEEP, start_new_session=True
    )
    file = place.data / "run" / "a.json"
    created = psutil.Process(process.pid).create_time()
    for record in (
        f'{{"pid": {process.pid}, "create_time": {created - 60}, "stop_signal": 15}}',
        f'{{"pid": {process.pid}, "create_time": 1.0, "stop_signal": 15}}',
        f'{{"pid": {process.pid}',
        "",
        "[]",
    ):
        file.write_text(record)
        assert place.run_dir.stop_leftovers() == []
        assert psutil.pid_exists(process.pid)
        assert not file.exists()
    process.kill()
    await process.wait()


def test_one_platform_per_folder(place: Place) -> None:
    run_dir = place.run_dir
    assert run_dir.running_pid() is None
    with run_dir.lock():
        assert run_dir.running_pid() == os.getpid()
        with (
            pytest.raises(
                Misconfigured, match=rf"running on .*data already \(process {os.getpid()}\)"
            ),
            RunDir.create(place.data).lock(),
        ):
            raise AssertionError("two hold it")
    assert run_dir.running_pid() is None
    with run_dir.lock():
        assert run_dir.running_pid() == os.getpid()


async def test_the_lock_dies_with_its_holder(place: Place) -> None:
    code = (
        "import sys, time; from pathlib import Path; from aristobot.local.rundir import RunDir\n"
        "with RunDir.create(Path(sys.argv[1])).lock():\n    print('held', flush=True)\n"
        "    time.sleep(60)"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(place.data), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await asyncio.wait_for(process.stdout.readline(), 10)
    assert place.run_dir.running_pid() == process.pid
    process.kill()
    await process.wait()
    with place.run_dir.lock():
        pass


@pytest.mark.parametrize("kind", ["a file", "below a file", "/proc"])
def test_an_unusable_data_folder_is_named(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    data = {"a file": file, "below a file": file / "x", "/proc": Path("/proc/aristobot")}[kind]
    with pytest.raises(Misconfigured, match=rf"{data}.*--data"):
        RunDir.create(data)
    assert file.read_text() == "mine"


async def test_a_large_log_is_put_aside_at_start(place: Place, supervisor: Supervisor) -> None:
    log = place.data / "logs" / "a.log"
    log.parent.mkdir()
    with log.open("wb") as file:
        file.truncate(21 * 1024 * 1024)
    await supervisor.start(spec(place, "a", f"print('hello', flush=True); {SLEEP}"))
    await eventually(lambda: last_log_line(log) == "hello")
    assert log.with_name("a.log.1").stat().st_size == 21 * 1024 * 1024
    assert log.stat().st_size < 100


def test_secrets_in_the_environment_are_not_shown(place: Place) -> None:
    assert "hunter2" not in repr(
        replace(spec(place, "a", SLEEP), environment={"ARISTOBOT_API_SECRET": "hunter2"})
    )


async def test_a_cancelled_supervisor_leaves_nothing(place: Place) -> None:
    supervisor = Supervisor(place.run_dir)
    await supervisor.start(spec(place, "a", STUBBORN))
    for task in asyncio.all_tasks():
        if task.get_name() == "supervise a":
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    await eventually(lambda: place.processes() == [], within_seconds=2)


async def _never() -> bool:
    return False
