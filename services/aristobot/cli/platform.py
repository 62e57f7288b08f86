"""`aristobot up`, `down`, `status` and `doctor`: the embedded platform as a whole."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from aristobot.cli.options import AsJson, Data
from aristobot.core.errors import AristobotError, Misconfigured
from aristobot.local.layout import DEFAULT_PORT_BASE, Layout

logger = logging.getLogger(__name__)

_PANEL = "The platform on this machine"
_DETACH_SECONDS = 90.0


def up(
    data: Data,
    port_base: Annotated[
        int, typer.Option("--port-base", help="First of the ports that are used.", min=1024)
    ] = DEFAULT_PORT_BASE,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once it runs, in the background.")
    ] = False,
    demo: Annotated[
        bool, typer.Option("--demo/--no-demo", help="With the demo user and broker.")
    ] = True,
    nats_url: Annotated[
        str | None, typer.Option(help="Use this NATS server instead of the embedded one.")
    ] = None,
    nats_credentials: Annotated[
        Path | None, typer.Option(help="Credentials file for --nats-url.")
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            help="Use this PostgreSQL instead of the embedded one.",
            envvar="ARISTOBOT_UP_DATABASE_URL",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address on which webhooks are received.")] = "0.0.0.0",
    allow: Annotated[
        str, typer.Option(help="Who may send webhooks; see `aristobot ingress --help`.")
    ] = "",
    trusted_proxies: Annotated[
        str, typer.Option(help="Proxies whose X-Forwarded-For is believed.")
    ] = "",
    speed: Annotated[
        float, typer.Option(help="How many times as fast the simulator's market moves.", min=0.01)
    ] = 1.0,
    heartbeats: Annotated[
        int,
        typer.Option(
            help="Replicas of each market's heartbeat. Without one no strategy trades; it saves "
            "80 MB each where only alerts do.",
            min=0,
            max=2,
        ),
    ] = 2,
) -> None:
    """Start the whole platform: message server, database, simulator, services."""
    if detach:
        _detach(data)
        return
    from aristobot.local.up import Line, Platform, UpOptions
    from aristobot.platform.logs import configure_logging

    extra: tuple[str, ...] = ()
    if allow:
        extra += ("--allow", allow)
    if trusted_proxies:
        extra += ("--trusted-proxies", trusted_proxies)
    options = UpOptions(
        data=data,
        port_base=port_base,
        nats_url=nats_url,
        nats_credentials=str(nats_credentials) if nats_credentials else None,
        database_url=database_url,
        with_demo=demo,
        ingress_host=host,
        ingress_arguments=extra,
        simulator_arguments=("--speed", f"{speed:g}") if speed != 1 else (),
        heartbeats=heartbeats,
    )

    def say(line: Line) -> None:
        typer.echo(f"{line.part:<22} {line.text}" if line.part else line.text)

    layout = Layout.at(data)
    with _open_log(layout, "platform") as stream:
        configure_logging("platform", stream=stream)
        try:
            asyncio.run(Platform(options, say).run())
        except Exception as error:
            if _is_on_purpose(error):
                raise
            # The boundary of the process: the log gets the traceback, the terminal a sentence.
            logger.exception("the platform ended unexpectedly")
            raise AristobotError(
                f"the platform failed ({type(error).__name__}): see {layout.log('platform')}"
            ) from error


def _is_on_purpose(error: Exception) -> bool:
    if isinstance(error, ExceptionGroup):
        return error.split(AristobotError)[1] is None
    return isinstance(error, AristobotError)


def _open_log(layout: Layout, part: str) -> TextIO:
    """The part's log, to append to, for the user's eyes only (mode 0600)."""
    log = layout.log(part)
    try:
        layout.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        log.parent.mkdir(exist_ok=True)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise Misconfigured(
            f"the data folder {layout.data} can't be written to ({error.strerror or error}): "
            "choose another one with --data"
        ) from error
    return os.fdopen(descriptor, "a", encoding="utf-8")


def _detach(data: Path) -> None:
    """Start the same command in the background and wait until it runs or has failed."""
    arguments = [a for a in sys.argv[1:] if a not in ("--detach", "-d")]
    layout = Layout.at(data)
    output = layout.log("up")
    with _open_log(layout, "up") as file:
        file.truncate(0)
        process = subprocess.Popen(
            [sys.executable, "-m", "aristobot", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + _DETACH_SECONDS
    while time.monotonic() < deadline:
        code = process.poll()
        text = output.read_text(encoding="utf-8", errors="replace")
        if code is not None:
            typer.echo(text, err=True, nl=False)
            raise typer.Exit(code or 1)
        if "ready after" in text:
            os.truncate(output, 0)  # it named the webhook URL, and no log may hold a token
            typer.echo(text, nl=False)
            typer.echo("in the background; stop it with `aristobot down`")
            return
        time.sleep(0.05)
    raise Misconfigured(f"the platform is not ready after {_DETACH_SECONDS:g} s; see {output}")


def down(data: Data) -> None:
    """Stop the platform."""
    from aristobot.local.rundir import RunDir

    run_dir = RunDir(data.expanduser().absolute())
    pid = run_dir.running_pid()
    if pid is None:
        typer.echo(f"no platform runs on {run_dir.data}")
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 10.0
    while run_dir.running_pid() == pid:
        if time.monotonic() > deadline:
            raise Misconfigured(
                f"process {pid} does not stop; see {Layout(run_dir.data).data}/logs"
            )
        time.sleep(0.05)
    typer.echo("stopped")


def status(data: Data, as_json: AsJson = False) -> None:
    """Show every part: its process, since when it runs, memory, restarts."""
    from aristobot.cli.output import print_json, print_table
    from aristobot.cli.session import is_pod
    from aristobot.local.rundir import RunDir

    run_dir = RunDir(data.expanduser().absolute())
    pid = run_dir.running_pid()
    rows = _parts(Layout(run_dir.data)) if pid is not None else []
    if as_json:
        print_json(rows)
        return
    if pid is None:
        instead = "see `kubectl get pods`" if is_pod() else "start it with `aristobot up`"
        typer.echo(f"no platform runs on {run_dir.data}: {instead}")
        raise typer.Exit(3)
    print_table(
        [{**row, "since": datetime.fromisoformat(row["since"])} for row in rows],
        ("part", "state", "pid", "restarts", "memory_mb", "since", "last_exit"),
        "the platform is starting",
    )


def _parts(layout: Layout) -> list[dict[str, Any]]:
    import psutil

    try:
        rows: list[dict[str, Any]] = json.loads(layout.parts_file.read_text())
    except (FileNotFoundError, ValueError):
        return []
    for row in rows:
        row["memory_mb"] = None
        if row["pid"] is not None:
            try:
                family = [psutil.Process(row["pid"])]
                family += family[0].children(recursive=True)
                row["memory_mb"] = round(sum(_memory(p) for p in family) / 2**20, 1)
            except psutil.Error:
                row["state"] = "ended"
    return rows


def _memory(process: Any) -> int:
    """Proportional set size: shared pages count once. Falls back to resident size."""
    import psutil

    try:
        full = process.memory_full_info()
        return int(getattr(full, "pss", 0) or full.rss)
    except psutil.Error:
        return int(process.memory_info().rss)


def doctor(data: Data, as_json: AsJson = False) -> None:
    """Check streams, consumers, database, clock and exchanges, and name what is wrong."""
    from aristobot.cli.doctor import examine
    from aristobot.cli.output import print_json, print_table

    checks = asyncio.run(examine(data))
    rows = [{"check": c.name, "ok": c.ok, "finding": c.finding} for c in checks]
    if as_json:
        print_json(rows)
    else:
        shown = [{**row, "result": "ok" if row["ok"] else "WRONG"} for row in rows]
        print_table(shown, ("result", "check", "finding"), "nothing to check")
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    for command in (up, down, status, doctor):
        app.command(rich_help_panel=_PANEL)(command)
