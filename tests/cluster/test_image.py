"""What the image that every pod runs has in it."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.release import Release

_IMPORTS_ALL = Path(__file__).with_name("imports_all.py").read_text()


def test_nothing_is_compiled_at_a_start(release: Release) -> None:
    """Byte code of every module that any part imports is there, and is of that module as it is.

    A pod can't write it, so each start of each part, and of each strategy, would compile anew.
    """
    target = f"deploy/{release.fullname}-api"
    done = release.kubectl.exec(target, "python", "-v", "-", stdin=_IMPORTS_ALL)
    # What `python -v` says of a module: its byte code "matches", or "code object from" its source.
    assert "/aristobot/engine/__pycache__/server." in done.stderr
    said = "# code object from "
    compiled = [line for line in done.stderr.splitlines() if line.startswith(said)]
    assert [line for line in compiled if not line.endswith(".pyc'")] == []
