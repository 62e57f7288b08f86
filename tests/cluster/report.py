"""What to read when a test has failed: resources, pods, events, and the end of every log."""

from __future__ import annotations

import subprocess

from tests.cluster.kubectl import Kubectl

_RESOURCES = "brokers,strategies,activestrategies"
_LOG_LINES = 40
_EVENT_LINES = 60


def describe(kubectl: Kubectl) -> str:
    """Never raises: the failure that it belongs to has to be shown."""
    events = _said(kubectl, "get", "events", "--sort-by=.lastTimestamp").splitlines()
    parts = [
        _said(kubectl, "get", _RESOURCES, "-o", "wide"),
        _said(kubectl, "get", "pods", "-o", "wide"),
        "\n".join(events[-_EVENT_LINES:]),
    ]
    for pod in _said(kubectl, "get", "pods", "-o", "name").split():
        lines = f"--tail={_LOG_LINES}"
        parts.append(f"--- {pod}\n{_said(kubectl, 'logs', pod, '--all-containers', lines)}")
    return "\n".join(parts)


def _said(kubectl: Kubectl, *words: str) -> str:
    try:
        done = kubectl.run(*words, seconds=20, check=False)
    except subprocess.TimeoutExpired as error:
        return f"{error}"
    return done.stdout + done.stderr
