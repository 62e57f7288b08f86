"""Reads what came on a subject that one sender alone may publish on; drops what isn't its own.

NATS holds each sender to its subjects, so the subject is the one to believe, and not what the
payload says about whose it is. A message that can't be read, or is of somebody else than whoever
may publish there, is dropped with a log and a count: it will never be better, and it would hold up
all that come after it. Deliberately not here: faults while a message is acted on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from pydantic import ValidationError

from aristobot.core.errors import Misconfigured
from aristobot.platform import metrics
from aristobot.platform.bus import Delivery

logger = logging.getLogger(__name__)

_Read = TypeVar("_Read")


def read_own(
    delivery: Delivery, read: Callable[[bytes], _Read], subject_of: Callable[[_Read], str]
) -> _Read | None:
    """What `read` makes of it; None when it is dropped. `subject_of`: where it has to come."""
    try:
        message = read(delivery.data)
        if subject_of(message) == delivery.subject:
            return message
        problem = "it belongs on another subject"
    except ValidationError as error:
        problem = f"it can't be read: {error.error_count()} errors"
    except Misconfigured as error:  # a name in it that no subject can hold
        problem = str(error)
    drop(delivery, problem)
    return None


def drop(delivery: Delivery, problem: str) -> None:
    """Say that a message is given up, and why."""
    logger.error(
        "message dropped",
        extra={"subject": delivery.subject, "sequence": delivery.sequence, "error": problem},
    )
    metrics.MESSAGES_DROPPED.labels(stream=delivery.stream).inc()
