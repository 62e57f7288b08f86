"""NATS and PostgreSQL under a supervisor, in a process that the tests can kill.

Usage: tiny_platform.py DATA NATS_PORT POSTGRES_PORT. Prints one line of JSON (part -> pid) when
all is ready, and runs until SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

from aristobot.local.nats_server import nats_spec
from aristobot.local.postgres_server import postgres_spec
from aristobot.local.rundir import RunDir
from aristobot.local.supervisor import Supervisor
from aristobot.platform.nats_auth import create_trust


async def run(data: Path, nats_port: int, postgres_port: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    run_dir = RunDir.create(data)
    with run_dir.lock():
        run_dir.stop_leftovers()
        supervisor = Supervisor(run_dir)
        try:
            logs = data / "logs"
            nats = nats_spec(
                data=data / "nats",
                port=nats_port,
                trust=create_trust(data / "secrets" / "nats"),
                log_path=logs / "nats.log",
            )
            postgres = await postgres_spec(
                data=data / "postgres",
                secrets=data / "secrets",
                port=postgres_port,
                log_path=logs / "postgres.log",
            )
            await supervisor.start(nats, postgres)
            print(json.dumps({state.name: state.pid for state in supervisor.states()}), flush=True)
            await stop.wait()
        finally:
            await supervisor.stop()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
