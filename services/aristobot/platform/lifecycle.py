"""How every service process starts and stops.

Start: settings, logs, telemetry, then the service. Stop: SIGTERM or SIGINT sets the service's
`stop` event, it ends its tasks in order (and is cancelled if it takes too long), telemetry gets a
last moment, and the process is gone, well inside the five seconds of `aristobot up`. Deliberately
not here: restarting, which is the executor's.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import Callable, Coroutine

import uvloop

from aristobot.core.errors import Fenced, Misconfigured
from aristobot.platform.logs import configure_logging
from aristobot.platform.settings import ServiceSettings
from aristobot.platform.telemetry import setup_telemetry

logger = logging.getLogger(__name__)

#: sysexits.h: a person has to change the configuration.
EXIT_MISCONFIGURED = 78
#: sysexits.h, temporary failure: another instance has this one's place.
EXIT_FENCED = 75

_STOP_SECONDS = 2.5
_CANCEL_SECONDS = 0.5

Main = Callable[[ServiceSettings, asyncio.Event], Coroutine[None, None, None]]


def run_service(
    name: str,
    main: Main,
    *,
    traced: bool = True,
    read: Callable[[], ServiceSettings] = ServiceSettings.read,
) -> None:
    """Run `main` until it ends or the process is told to stop; exits the process.

    `traced` False: its spans go nowhere (the part that stores spans must not feed itself). `read`:
    where the settings come from, if not from the environment alone.
    """
    try:
        settings = read()
        configure_logging(name, level=settings.log_level)
        telemetry = setup_telemetry(
            name,
            otlp_endpoint=settings.otlp_endpoint if traced else None,
            instance_id=settings.instance,
        )
    except Misconfigured as error:
        sys.exit(_complain(name, str(error)))
    try:
        code = uvloop.run(_run(name, main, settings))
    finally:
        telemetry.shutdown()
    sys.exit(code)


async def _run(name: str, main: Main, settings: ServiceSettings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # What start-up made stays for good: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    service = asyncio.create_task(main(settings, stop), name=name)
    stopping = asyncio.create_task(stop.wait(), name="stop signal")
    await asyncio.wait([service, stopping], return_when=asyncio.FIRST_COMPLETED)
    if not service.done():
        logger.info("stopping")
        await asyncio.wait([service], timeout=_STOP_SECONDS)
    if not service.done():
        logger.error("the service does not stop in time, cancelling it")
        service.cancel()
        await asyncio.wait([service], timeout=_CANCEL_SECONDS)
    stopping.cancel()
    return _exit_code(name, service) if service.done() else 1


def _exit_code(name: str, service: asyncio.Task[None]) -> int:
    with contextlib.suppress(asyncio.CancelledError):  # cancelled is how a stopped service ends
        error = service.exception()
        if error is None:
            return 0
        for cause in _leaves(error):
            if isinstance(cause, Misconfigured):
                return _complain(name, str(cause))
            if isinstance(cause, Fenced):
                logger.warning("fenced", extra={"reason": str(cause)})
                return EXIT_FENCED
        logger.error("the service failed", exc_info=error)
        return 1
    return 0


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


def _complain(name: str, sentence: str) -> int:
    sys.stderr.write(f"aristobot {name}: {sentence}\n")
    return EXIT_MISCONFIGURED
