"""As which user PostgreSQL runs: it refuses to run as root, and users do start us as root.

An ordinary user runs it as itself. Root has two ways. A *user namespace* that maps an ordinary
uid to root: PostgreSQL sees that it isn't root, and the files stay root's. Where namespaces are
refused (most containers), or the files belong to somebody else, it *drops* to the folder's owner
or to `nobody`, keeping (Linux) the one capability of passing closed folders such as /root. What
works is found out by trying it; the change itself is `local.launch`. Nothing here is needed for
the other parts.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aristobot.core.errors import Misconfigured
from aristobot.local import launch

_PROBE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RunAs:
    """How a PostgreSQL program is started: `user` is what `local.launch` does just before it.

    `owner`: uid that must own the data folder, as seen from here; None when it is our own.
    """

    description: str
    user: tuple[str, ...] = ()
    owner: int | None = None


def choose(folder: Path, binary: Path) -> RunAs:
    """The way that works here for the data folder `folder` (which need not exist yet).

    Raises `Misconfigured` when PostgreSQL can't be run as root here.
    """
    if os.geteuid() != 0:
        return RunAs("this user")
    owner = folder.stat().st_uid if folder.is_dir() else 0
    reachable = folder if folder.is_dir() else folder.parent
    for candidate in candidates(owner):
        if _works(candidate, binary, reachable):
            return candidate
    raise Misconfigured(
        f"PostgreSQL does not run as root, and no ordinary user can use both {reachable} and "
        f"{binary}: start aristobot as an ordinary user, or install it and keep its data (--data) "
        "where the user `nobody` may go"
    )


def candidates(owner: int) -> Iterator[RunAs]:
    """Root's ways to run PostgreSQL on a folder of the user `owner`, the best first."""
    if owner != 0:
        yield _dropped_to(owner)
        return
    if sys.platform == "linux":
        yield _in_user_namespace()
    yield _dropped_to(pwd.getpwnam("nobody").pw_uid)


def give_to(folder: Path, owner: int) -> None:
    """Make `owner` the owner of the folder and all that is in it."""
    os.chown(folder, owner, -1)
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(root, name), owner, -1, follow_symlinks=False)


def _works(candidate: RunAs, binary: Path, reachable: Path) -> bool:
    # A folder that will be given to the user needs only to be reached.
    needed = {"writable" if candidate.owner is None else "reach": str(reachable)}
    argv = launch.command((str(binary), "--version"), user=candidate.user, **needed)
    with contextlib.suppress(OSError, subprocess.SubprocessError):  # each means: not this way
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
        return done.returncode == 0
    return False


def _in_user_namespace() -> RunAs:
    # initdb looks its user up by name, so the uid must be one that this machine knows.
    uid = next((entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid not in (0, 65534)), 65534)
    return RunAs(f"root as uid {uid} of a user namespace", launch.in_namespace(uid))


def _dropped_to(uid: int) -> RunAs:
    return RunAs(f"uid {uid}", launch.dropped(uid), owner=uid)
