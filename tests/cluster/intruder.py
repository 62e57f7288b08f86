"""What code that has taken over a strategy's pod would try. Runs inside pods, not in the tests.

The tests give it to the pod's own Python on standard input, so it stands on that alone and on
nats-py, which is in the image. Its one argument is JSON: what to try. It prints JSON: what came of
each attempt, in one word where it worked ("connected", "written", ...).
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from contextlib import suppress

_SECONDS = 3.0


def connect(host: str, port: int) -> str:
    try:
        with socket.create_connection((host, port), timeout=_SECONDS):
            return "connected"
    except OSError as error:
        return type(error).__name__


def write(folder: str) -> str:
    """Make a file there and remove it."""
    path = os.path.join(folder, ".intruder")
    try:
        with open(path, "w") as file:
            file.write("x")
        os.unlink(path)
    except OSError as error:
        return type(error).__name__
    return "written"


def writable_folders() -> list[str]:
    """Every folder of the file system that takes a new file, but those of the kernel."""
    found = []
    for folder, folders, _ in os.walk("/"):
        if folder == "/":
            folders[:] = [name for name in folders if name not in ("proc", "sys")]
        if write(folder) == "written":
            found.append(folder)
    return sorted(found)


async def nats(publish: list[str], subscribe: list[str], request: list[str]) -> dict[str, str]:
    """As the pod's own user. `request` waits for an answer; "answered" when one came."""
    import nats as client
    import nats.errors

    refused: list[str] = []

    async def on_error(error: Exception) -> None:
        refused.append(str(error).lower())

    credentials = os.environ["ARISTOBOT_NATS_CREDENTIALS"]
    url, inbox = os.environ["ARISTOBOT_NATS_URL"], os.environ["INTRUDER_INBOX"]
    found: dict[str, str] = {}
    connection = await client.connect(
        url, user_credentials=credentials, inbox_prefix=inbox, error_cb=on_error
    )
    try:
        for kind, subjects in (("publish", publish), ("subscription", subscribe)):
            for subject in subjects:
                before = len(refused)
                if kind == "publish":
                    await connection.publish(subject, b"{}")
                else:
                    await connection.subscribe(subject)
                await connection.flush(timeout=2)
                await asyncio.sleep(0.1)
                said = f'permissions violation for {kind} to "{subject.lower()}"'
                is_refused = any(said in text for text in refused[before:])
                found[f"{kind} {subject}"] = "refused" if is_refused else "allowed"
        for subject in request:
            with suppress(nats.errors.Error):
                found[f"request {subject}"] = "silent"
                await connection.request(subject, b"", timeout=2)
                found[f"request {subject}"] = "answered"
    finally:
        await connection.close()
    return found


def main(plan: dict) -> dict:
    found: dict = {
        "connections": {
            name: connect(host, port) for name, (host, port) in plan.get("connect", {}).items()
        },
        "token": os.path.exists("/var/run/secrets/kubernetes.io/serviceaccount/token"),
    }
    if plan.get("walk"):
        found["writable"] = writable_folders()
    if "nats" in plan:
        os.environ["INTRUDER_INBOX"] = plan["inbox"]
        found["nats"] = asyncio.run(nats(**plan["nats"]))
    return found


print(json.dumps(main(json.loads(sys.argv[1]))))
