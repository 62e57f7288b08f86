"""kubectl as its user types it, always with the context and the namespace named."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

Object = dict[str, Any]
Done = subprocess.CompletedProcess[str]

_FORWARDED = re.compile(rb"Forwarding from 127\.0\.0\.1:(\d+) ")
_FORWARD_SECONDS = 20.0


def run_tool(
    words: Sequence[str], *, stdin: str | None = None, seconds: float = 60, check: bool = True
) -> Done:
    """Run a program; what it said is in the error when it fails and `check` is set."""
    done = subprocess.run(
        words, input=stdin, capture_output=True, text=True, timeout=seconds, check=False
    )
    if check:
        assert done.returncode == 0, f"{' '.join(words)}:\n{done.stdout}{done.stderr}"
    return done


@dataclass(frozen=True, slots=True)
class Kubectl:
    """In one namespace; `within` gives another's."""

    context: str
    namespace: str

    def within(self, namespace: str) -> Kubectl:
        return replace(self, namespace=namespace)

    def _words(self, *arguments: str) -> list[str]:
        return ["kubectl", "--context", self.context, "--namespace", self.namespace, *arguments]

    def run(
        self, *arguments: str, stdin: str | None = None, seconds: float = 60, check: bool = True
    ) -> Done:
        return run_tool(self._words(*arguments), stdin=stdin, seconds=seconds, check=check)

    def apply(self, text: str, *, check: bool = True) -> Done:
        return self.run("apply", "-f", "-", stdin=text, check=check)

    def get(self, kind: str, name: str) -> Object | None:
        """The object, or None when there is none."""
        text = self.run("get", kind, name, "--ignore-not-found", "-o", "json").stdout
        found: Object | None = json.loads(text) if text else None
        return found

    def list(self, kinds: str, *arguments: str) -> list[Object]:
        found: list[Object] = json.loads(self.run("get", kinds, *arguments, "-o", "json").stdout)[
            "items"
        ]
        return found

    def secret(self, name: str) -> dict[str, str]:
        found = self.get("secret", name)
        assert found is not None, f"there is no Secret {name} in {self.namespace}"
        return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}

    def exec(
        self, target: str, *command: str, stdin: str | None = None, check: bool = True
    ) -> Done:
        """Run a command in a pod (`deploy/NAME` names its first)."""
        interactive = () if stdin is None else ("-i",)
        return self.run("exec", *interactive, target, "--", *command, stdin=stdin, check=check)

    def pods(self, selector: str) -> list[Object]:
        """Those that aren't going away."""
        found = self.list("pods", "-l", selector)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    @contextlib.contextmanager
    def forwarded(self, target: str, port: int) -> Iterator[int]:
        """A port of this machine that leads to a port of `target`'s pod, as long as that lives."""
        words = self._words("port-forward", target, f":{port}", "--address", "127.0.0.1")
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            try:
                yield _local_port(process, " ".join(words))
            finally:
                process.terminate()


def _local_port(process: subprocess.Popen[bytes], words: str) -> int:
    assert process.stdout is not None
    said = b""
    deadline = time.monotonic() + _FORWARD_SECONDS
    while not (found := _FORWARDED.search(said)):
        left = deadline - time.monotonic()
        readable, _, _ = select.select([process.stdout], [], [], max(left, 0))
        # `read1` gives what is there; nothing means that kubectl has ended.
        chunk = process.stdout.read1(4096) if readable else b""  # type: ignore[attr-defined]
        assert chunk, f"{words}: {said.decode()}"
        said += chunk
    return int(found[1])


def condition(found: Object | None, kind: str) -> Object:
    """A condition of the object's status; empty when it isn't there."""
    conditions = ((found or {}).get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each["type"] == kind), {})


def is_true(found: Object | None, kind: str = "Ready") -> bool:
    """Whether the condition holds, of the resource as it is now."""
    if found is None:
        return False
    said = condition(found, kind)
    generation = found["metadata"].get("generation")
    seen = said.get("observedGeneration", generation)
    return said.get("status") == "True" and seen == generation
