"""Makes the embedded PostgreSQL's data folder, once, and keeps its two passwords.

The folder is made beside its place and moved there when it is complete and on disk, so an
interrupted start leaves nothing half-made behind. Role and database are made by PostgreSQL's
single-user mode, which needs no port and no server, and takes about a second in all. A folder
that is there is checked and never replaced: it is the user's data.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aristobot.core.errors import Misconfigured
from aristobot.local import launch
from aristobot.local.postgres_user import RunAs, give_to
from aristobot.platform.nats_auth import write_private

MAJOR_VERSION = "18"
SUPERUSER = "postgres"
ROLE = "aristobot"
DATABASE = "aristobot"
#: For every PostgreSQL program: no locale or configuration of the user's gets in.
ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}

_UNFINISHED = ".postgres-new-"
_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_COMMAND_SECONDS = 60.0
#: TCP on this machine alone, with a password, for everybody.
HBA_LOCAL = "host all all 127.0.0.1/32 scram-sha-256\n"
#: And from anywhere for the one role of our services; the superuser stays on this machine.
HBA_ANYWHERE = f"{HBA_LOCAL}host {DATABASE} {ROLE} all scram-sha-256\n"
#: What every data folder holds; without one of them PostgreSQL could not start.
_NEEDED = ("PG_VERSION", "global/pg_control", "base", "pg_wal", "pg_hba.conf", "postgresql.conf")


class Passwords(Protocol):
    """Where the passwords of role and superuser come from."""

    def role(self) -> str: ...

    def superuser(self) -> str: ...


@dataclass(frozen=True, slots=True)
class KeptPasswords:
    """In `DATA/secrets`, files of mode 0600, made where they are missing."""

    folder: Path

    @property
    def role_file(self) -> Path:
        return self.folder / "postgres-password"

    @property
    def superuser_file(self) -> Path:
        return self.folder / "postgres-superuser-password"

    def are_present(self) -> bool:
        return all(_read(file) for file in (self.role_file, self.superuser_file))

    def role(self) -> str:
        return self._get(self.role_file)

    def superuser(self) -> str:
        return self._get(self.superuser_file)

    def _get(self, file: Path) -> str:
        present = _read(file)
        if present:
            return present
        # Letters, digits, '-' and '_': needs quoting neither in SQL nor in a URL.
        new = secrets.token_urlsafe(24)
        write_private(file, new + "\n")
        return new


@dataclass(frozen=True, slots=True)
class GivenPasswords:
    """In files that somebody else writes, such as a mounted Secret; never made here."""

    folder: Path

    def role(self) -> str:
        return self._get("password")

    def superuser(self) -> str:
        return self._get("superuser-password")

    def _get(self, name: str) -> str:
        """Raises `Misconfigured` when it is missing or can't stand in SQL as it is."""
        password = _read(self.folder / name)
        if not password:
            raise Misconfigured(
                f"{self.folder / name} is missing or empty: mount the Secret with the entries "
                "password and superuser-password, or name its folder with --passwords"
            )
        if not _PLAIN.fullmatch(password):
            raise Misconfigured(
                f"{self.folder / name} holds a character that a password of PostgreSQL may not "
                "have here: use letters, digits, '-', '_' and '.'"
            )
        return password


def check_folder(folder: Path) -> bool:
    """Whether there is a cluster in `folder`; False when it has to be made.

    Raises `Misconfigured` when there is something else, or a cluster that is damaged or of
    another version. Changes nothing.
    """
    move_away = "move it away (it may be your data), restore a backup, or choose another --data"
    try:
        if not folder.exists() and not folder.is_symlink():
            return False
        entries = list(folder.iterdir())
        if not entries:
            return False
        version = _read(folder / "PG_VERSION")
    except NotADirectoryError as error:
        raise Misconfigured(
            f"{folder} is not a folder, but PostgreSQL's data belongs there: {move_away}"
        ) from error
    except OSError as error:
        raise Misconfigured(
            f"PostgreSQL's data folder {folder} can't be read ({error.strerror}): "
            "make it readable for this user, or choose another --data"
        ) from error
    missing = [name for name in _NEEDED if not (folder / name).exists()]
    if version is None or missing:
        raise Misconfigured(
            f"PostgreSQL's data folder {folder} is damaged "
            f"({', '.join(missing) or 'PG_VERSION'} is missing): {move_away}"
        )
    if version != MAJOR_VERSION:
        raise Misconfigured(
            f"PostgreSQL's data folder {folder} is of version {version[:20]!r}, and this aristobot "
            f"runs version {MAJOR_VERSION}: use the aristobot that made it, or {move_away}"
        )
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise Misconfigured(
            f"PostgreSQL's data folder {folder} can't be written to: make it writable for this "
            "user, or choose another --data"
        )
    return True


async def make_cluster(
    folder: Path, *, binaries: Path, run_as: RunAs, passwords: Passwords, hba: str = HBA_LOCAL
) -> None:
    """Make the cluster with role and database; about a second. `folder` must not be in use.

    Raises `Misconfigured`, with PostgreSQL's own words, when it can't be made there.
    """
    for unfinished in folder.parent.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    new = folder.parent / f"{_UNFINISHED}{secrets.token_hex(4)}"
    try:
        new.mkdir(mode=0o700)
        if run_as.owner is not None:
            os.chown(new, run_as.owner, -1)
        await _command(
            run_as,
            binaries / "initdb",
            *("--pgdata", str(new), "--username", SUPERUSER, "--encoding", "UTF8"),
            *("--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
            *("--data-checksums", "--no-sync", "--no-instructions"),
            # Replaced below, before any server runs; here it spares a password file.
            *("--auth", "trust"),
        )
        (new / "pg_hba.conf").write_text(hba)
        await _set_up_database(new, binaries=binaries, run_as=run_as, passwords=passwords)
        await _command(run_as, binaries / "initdb", "--sync-only", "--pgdata", str(new))
        new.rename(folder)
        _sync_folder(folder.parent)
    except OSError as error:
        raise Misconfigured(
            f"PostgreSQL's data folder {folder} can't be made ({error.strerror or error}): "
            "choose another folder with --data"
        ) from error
    finally:
        with contextlib.suppress(FileNotFoundError):  # it has become `folder`
            shutil.rmtree(new)


async def reset_passwords(
    folder: Path, *, binaries: Path, run_as: RunAs, passwords: Passwords
) -> None:
    """Give role and superuser these passwords: those that they have were lost or replaced.

    The server must not be running. Raises `Misconfigured` when PostgreSQL refuses.
    """
    await _single_user(
        folder,
        binaries,
        run_as,
        f"ALTER ROLE {SUPERUSER} PASSWORD '{passwords.superuser()}'",
        f"ALTER ROLE {ROLE} PASSWORD '{passwords.role()}'",
    )


def take_over(folder: Path, run_as: RunAs) -> None:
    """Give the folder to the user that PostgreSQL will run as, if it is somebody else's."""
    if run_as.owner is not None and folder.stat().st_uid != run_as.owner:
        give_to(folder, run_as.owner)


async def _set_up_database(
    folder: Path, *, binaries: Path, run_as: RunAs, passwords: Passwords
) -> None:
    await _single_user(
        folder,
        binaries,
        run_as,
        f"ALTER ROLE {SUPERUSER} PASSWORD '{passwords.superuser()}'",
        f"CREATE ROLE {ROLE} LOGIN NOSUPERUSER PASSWORD '{passwords.role()}'",
        f"CREATE DATABASE {DATABASE} OWNER {ROLE}",
        # Everything is synced once, at the end.
        options=("-F",),
    )


async def _single_user(
    folder: Path, binaries: Path, run_as: RunAs, *statements: str, options: tuple[str, ...] = ()
) -> None:
    output = await _command(
        run_as,
        binaries / "postgres",
        *("--single", "-j", *options, "-D", str(folder), SUPERUSER),
        # With -j a statement ends at a semicolon and an empty line.
        stdin="".join(f"{statement};\n\n" for statement in statements).encode(),
    )
    # Single-user mode goes on after a failed statement and exits with 0.
    if failure := next((line for line in output.splitlines() if "ERROR:" in line), None):
        raise Misconfigured(f"PostgreSQL could not set up {folder}: {_without_secret(failure)}")


async def _command(run_as: RunAs, program: Path, *arguments: str, stdin: bytes = b"") -> str:
    """Run a PostgreSQL program to its end and return its output. Raises `Misconfigured`."""
    process = await asyncio.create_subprocess_exec(
        *launch.command((str(program), *arguments), user=run_as.user, death_signal=signal.SIGKILL),
        env=ENVIRONMENT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(_COMMAND_SECONDS):
            raw, _ = await process.communicate(stdin)
    except TimeoutError as error:
        raise Misconfigured(
            f"{program.name} did not end within {_COMMAND_SECONDS:g} s: is the disk very slow?"
        ) from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    output = raw.decode(errors="replace")
    if process.returncode != 0:
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        telling = [line for line in lines if "error:" in line or "FATAL:" in line] or lines[-1:]
        raise Misconfigured(
            f"{program.name} failed (run as {run_as.description}): "
            f"{_without_secret(telling[0]) if telling else f'exit code {process.returncode}'}"
        )
    return output


def _without_secret(line: str) -> str:
    """PostgreSQL may repeat the statement that failed."""
    return line.split("PASSWORD '")[0][:300]


def _read(file: Path) -> str | None:
    try:
        return file.read_text().strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
