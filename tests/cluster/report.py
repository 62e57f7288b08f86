"""What to read when a test has failed: what isn't as it should be, and where all of it stands.

Resources, pods and events go into a file, with the end of every log; of that the report shows what
fits on a page, so that the assertion isn't lost in it.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

from tests.cluster.kubectl import Kubectl

_RESOURCES = "brokers,strategies,activestrategies"
_LOG_LINES = 200
_EVENT_LINES = 15


def describe(kubectl: Kubectl, test: str) -> str:
    """Never raises: the failure that it belongs to has to be shown."""
    resources = _said(kubectl, "get", _RESOURCES, "-o", "wide")
    pods = _said(kubectl, "get", "pods", "-o", "wide")
    events = _said(kubectl, "get", "events", "--sort-by=.lastTimestamp")
    parts = [resources, pods, events]
    for pod in _said(kubectl, "get", "pods", "-o", "name").split():
        lines = f"--tail={_LOG_LINES}"
        parts.append(f"--- {pod}\n{_said(kubectl, 'logs', pod, '--all-containers', lines)}")
    folder = Path(tempfile.gettempdir(), "aristobot-test-reports")
    folder.mkdir(exist_ok=True)
    file = folder / f"{re.sub(r'[^A-Za-z0-9]+', '-', test)}-{kubectl.namespace}.txt"
    file.write_text("\n".join(parts), encoding="utf-8")
    not_ready = [line for line in pods.splitlines()[1:] if not re.search(r" (\d+)/\1 ", line)]
    shown = (resources, *not_ready, *events.splitlines()[-_EVENT_LINES:], f"all of it: {file}")
    return "\n".join(shown)


def _said(kubectl: Kubectl, *words: str) -> str:
    try:
        done = kubectl.run(*words, seconds=20, check=False)
    except subprocess.TimeoutExpired as error:
        return f"{error}"
    return done.stdout + done.stderr
