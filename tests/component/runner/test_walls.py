"""One wall missing: what is left holds, and the user is told; none: nothing runs unasked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aristobot.core.errors import Misconfigured
from aristobot.platform.sandbox import availability, landlock, seccomp
from aristobot.platform.sandbox.availability import ALLOW_UNSEALED, verdict
from aristobot.runner import zygote_host
from aristobot.runner.zygote_host import Zygote

_ATTEMPTS = """
import os
import numpy as np, pandas as pd
from aristobot.runner import zygote
zygote._import_all()
import pandas_ta as ta
from aristobot.platform.sandbox import {missing} as wall
from aristobot.platform.sandbox.limits import Limits
from aristobot.platform.sandbox.seal import seal

wall.{asked} = lambda: 0
parent = os.getpid()
ours, theirs = os.pipe()
if os.fork() == 0:
    seal(Limits(64 << 20), keep={{theirs}}, readable=["/usr/lib"], parent_pid=parent)
    told = []
    for name, attempt in {{
        "compute": lambda: ta.ema(pd.Series(np.arange(50.0)), length=10).iloc[-1],
        "secret": lambda: open("/etc/passwd").read(),
        "write": lambda: open("{folder}/new", "w"),
        "own": lambda: os.listdir("/usr/lib"),
        "socket": lambda: __import__("socket").socket(),
        "fork": lambda: os.fork() or os._exit(0),
    }}.items():
        try:
            attempt()
        except OSError as error:
            told.append(name)
    os.write(theirs, " ".join(told).encode())
    os._exit(0)
os.close(theirs)
print(os.read(ours, 1000).decode())
"""


def _refused(missing: str, asked: str, folder: Path) -> set[str]:
    """What a process sealed without that wall is refused, of all that it attempts."""
    code = _ATTEMPTS.format(missing=missing, asked=asked, folder=folder)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.split())


def test_without_landlock_no_file_is_opened_at_all(tmp_path: Path) -> None:
    assert _refused("landlock", "version", tmp_path) == {
        *("secret", "write", "own", "socket", "fork")
    }


def test_without_seccomp_landlock_still_keeps_the_files(tmp_path: Path) -> None:
    refused = _refused("seccomp", "is_available", tmp_path)
    assert {"secret", "write"} <= refused
    assert "own" not in refused
    assert "compute" not in refused


def test_both_walls_are_there_on_this_machine() -> None:
    """Or none of the attacks above would have been tried against them."""
    assert seccomp.is_available()
    assert landlock.version() >= 1
    assert verdict() == availability.Verdict(
        True, "strategies are sealed by seccomp and Landlock and limits"
    )


def test_without_landlock_the_user_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "version", lambda: 0)
    found = verdict()
    assert found.sealed
    assert "no Landlock" in found.sentence
    assert "seccomp closes all files" in found.sentence


def test_without_seccomp_it_counts_as_not_sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "is_available", lambda: False)
    found = verdict()
    assert not found.sealed
    assert "can start processes and open sockets" in found.sentence


async def test_without_walls_nothing_runs_unless_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(landlock, "version", lambda: 0)
    monkeypatch.setattr(seccomp, "is_available", lambda: False)
    assert not zygote_host.has_wall()
    with pytest.raises(Misconfigured, match=f"{ALLOW_UNSEALED}=1"):
        await Zygote().start()
    assert f"unless you set {ALLOW_UNSEALED}=1" in verdict({}).sentence
    assert "run all the same" in verdict({ALLOW_UNSEALED: "1"}).sentence
    zygote = Zygote(allow_unsealed=True)
    await zygote.start()
    await zygote.close()
