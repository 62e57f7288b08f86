"""The embedded servers each as a pod's only process: `embedded-nats` and `embedded-postgres`.

The same programs, folders and settings as under `aristobot up`, but here nobody supervises: this
process becomes the server (NATS), or the thin parent that turns Kubernetes' SIGTERM into
PostgreSQL's fast shutdown (`local.foreground`). They listen to all, so who may connect is for
passwords, NATS users and NetworkPolicies. Deliberately not here: making secrets (the operator
does) and the schema (`aristobot migrate`).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from aristobot.core.errors import Misconfigured
from aristobot.local import foreground, launch, nats_server, postgres_server, postgres_user
from aristobot.local.postgres_init import (
    ENVIRONMENT,
    HBA_ANYWHERE,
    GivenPasswords,
    Passwords,
    check_folder,
    make_cluster,
    reset_passwords,
    take_over,
)

#: Longer than a predecessor on the same volume needs for its shutdown.
_LOCK_SECONDS = 40.0
_LOCK_PAUSE_SECONDS = 0.2
#: Many brokers' gateways with a few connections each; a connection costs little until it's used.
_MAX_CONNECTIONS = 200


def run_nats(data: Path, auth: Path, *, host: str, port: int, monitor_port: int) -> NoReturn:
    """Become nats-server with JetStream in `data`; `auth` names operator and accounts.

    Raises `Misconfigured` when a file or folder can't be used.
    """
    try:
        lines = auth.read_text()
    except OSError as error:
        raise Misconfigured(
            f"{auth} can't be read ({error.strerror}): mount the Secret that the operator makes, "
            "or name the file with --auth"
        ) from error
    _own(data)
    binary = nats_server.find_binary()
    configuration = nats_server.write_configuration(
        data,
        nats_server.server_configuration(
            store=data, port=port, auth=lines, host=host, http_port=monitor_port
        ),
    )
    os.execve(binary, (str(binary), "--config", str(configuration)), ENVIRONMENT)


def run_postgres(data: Path, passwords: Path, *, host: str, port: int) -> NoReturn:
    """Become the parent of a PostgreSQL in `data`/postgres, made if it isn't there.

    `passwords`: a folder with `password` and `superuser-password`; what stands there counts from
    each start on. Raises `Misconfigured` when a file or folder can't be used.
    """
    signal.signal(signal.SIGTERM, _leave)
    _own(data)
    server = asyncio.run(
        _prepare_postgres(data / "postgres", GivenPasswords(passwords), host=host, port=port)
    )
    # What comes between here and the parent's own handlers waits for these.
    signal.pthread_sigmask(signal.SIG_BLOCK, foreground.STOP_SIGNALS)
    argv = foreground.command(server, stop_signal=signal.SIGINT)
    os.execve(argv[0], argv, ENVIRONMENT)


async def _prepare_postgres(
    folder: Path, passwords: Passwords, *, host: str, port: int
) -> tuple[str, ...]:
    """Bring the data folder into order; returns the server's command line."""
    binaries = postgres_server.find_binaries()
    exists = check_folder(folder)
    folder = postgres_server.without_links(folder)
    run_as = postgres_user.choose(folder, binaries / "postgres")
    if exists:
        take_over(folder, run_as)
        await postgres_server.clear_the_way(folder)
        # A volume's fsGroup may have opened the folder to its group, which PostgreSQL refuses.
        folder.chmod(0o700)
        await reset_passwords(folder, binaries=binaries, run_as=run_as, passwords=passwords)
        (folder / "pg_hba.conf").write_text(HBA_ANYWHERE)
    else:
        await make_cluster(
            folder, binaries=binaries, run_as=run_as, passwords=passwords, hba=HBA_ANYWHERE
        )
    more = {"listen_addresses": host, "max_connections": str(_MAX_CONNECTIONS)}
    return launch.command(
        postgres_server.server_command(binaries, folder, port=port, more=more),
        user=run_as.user,
        # Our own pid, which the parent keeps: should it be killed, the server goes with it.
        death_signal=signal.SIGQUIT,
    )


def _own(data: Path) -> None:
    """Take the folder for this process and what it becomes; two servers in it would ruin it.

    The lock is the kernel's, so it also holds between two pods with one volume on one node.
    """
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(data / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise Misconfigured(
            f"the data folder {data} can't be written to ({error.strerror}): mount a volume that "
            f"uid {os.geteuid()} may write to (fsGroup), or name another with --data"
        ) from error
    os.set_inheritable(descriptor, True)
    give_up_at = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                raise Misconfigured(
                    f"another server has used {data} for {_LOCK_SECONDS:g} s: end it first"
                ) from None
        time.sleep(_LOCK_PAUSE_SECONDS)


def _leave(_: int, __: FrameType | None) -> NoReturn:
    """Told to stop before the server runs: what was begun is cleaned up on the way out."""
    sys.exit(128 + signal.SIGTERM)
