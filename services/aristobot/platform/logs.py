"""Logging: stdlib loggers, one formatter (JSON lines) and one filter that adds the trace.

The message is a constant, data travels in `extra={...}`, so that a line can be searched by
field. Third-party loggers (uvicorn, nats, sqlalchemy) go through the same handler, and uvicorn's
access log is off: a webhook's token stands in its path. As a second defence every finished line
is scrubbed of anything shaped like such a path. Not here: where the lines go (stdout, always).
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import time
from datetime import datetime
from types import TracebackType
from typing import Any, TextIO

from opentelemetry.trace import get_current_span

_logger = logging.getLogger(__name__)

# A path ends at white space, a quote or an angle bracket. In a JSON string it also ends at an
# escaped control character or quote (\n, \"), but not at \\ or \u00e9, which belong to it.
_WEBHOOK_PATH = re.compile(
    r"""((?:/|%2f)webhook)(?:/|%2f|\?)(?:[^\s"'<>\\]|\\u[0-9a-f]{4}|\\\\)+""", re.IGNORECASE
)

#: What every LogRecord has; all else came in through `extra`.
_RECORD_FIELDS = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
    "service",
    "trace_id",
    "span_id",
}


def scrub(text: str) -> str:
    """Replace what follows `/webhook/` in any path within `text` by `***`."""
    # The expression takes 4 us for a line without any such path, looking for the words 0.4 us.
    lower = text.lower()
    if "/webhook" not in lower and "%2fwebhook" not in lower:
        return text
    return _WEBHOOK_PATH.sub(r"\1/***", text)


class ContextFilter(logging.Filter):
    """Puts the service and the current span's ids on every record."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def filter(self, record: logging.LogRecord) -> bool:
        record.service = self._service
        context = get_current_span().get_span_context()
        if context.is_valid:
            record.trace_id = f"{context.trace_id:032x}"
            record.span_id = f"{context.span_id:016x}"
        return True


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


_encode = json.JSONEncoder(
    ensure_ascii=True, allow_nan=False, separators=(",", ":"), default=_plain
).encode


class _Formatter(logging.Formatter):
    """What both formats share. Formatting never raises: a lost line would hide a failure."""

    def __init__(self) -> None:
        super().__init__()
        self._second = -1
        self._prefix = ""

    def _timestamp(self, created: float) -> str:
        second = int(created)
        if second != self._second:
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._prefix}.{int((created - second) * 1000):03d}Z"

    @staticmethod
    def _message(record: logging.LogRecord) -> str:
        try:
            return record.getMessage()
        except (TypeError, ValueError, KeyError):
            # A caller's format string doesn't fit its arguments; both are worth keeping.
            return f"{record.msg} {record.args!r}"

    def _exception(self, record: logging.LogRecord) -> str | None:
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        parts = [record.exc_text] if record.exc_text else []
        if record.stack_info:
            parts.append(record.stack_info)
        return "\n".join(parts) or None

    @staticmethod
    def _extra(record: logging.LogRecord) -> dict[str, Any]:
        fields = record.__dict__
        return {name: fields[name] for name in fields if name not in _RECORD_FIELDS}


class JsonFormatter(_Formatter):
    """One JSON object per line: timestamp, level, logger, message, ids, extra fields, exception."""

    def format(self, record: logging.LogRecord) -> str:
        fields = record.__dict__
        line: dict[str, Any] = {
            "timestamp": self._timestamp(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": self._message(record),
        }
        for name in ("service", "trace_id", "span_id"):
            if name in fields:
                line[name] = fields[name]
        extra = self._extra(record)
        if extra:
            line |= {name if name not in line else f"extra_{name}": extra[name] for name in extra}
        exception = self._exception(record)
        if exception:
            line["exception"] = exception
        try:
            encoded = _encode(line)
        except (ValueError, TypeError, RecursionError):
            # NaN, an odd key or a cycle in a field: its text is better than no line.
            encoded = _encode({name: str(value) for name, value in line.items()})
        return scrub(encoded)


class TextFormatter(_Formatter):
    """The same for a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        extra = " ".join(f"{name}={_plain(v)}" for name, v in sorted(self._extra(record).items()))
        head = f"{self._timestamp(record.created)} {record.levelname:<7} {record.name}"
        line = f"{head} {self._message(record)} {extra}".rstrip()
        exception = self._exception(record)
        return scrub(f"{line}\n{exception}" if exception else line)


def _log_uncaught(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    _logger.critical("uncaught exception", exc_info=(kind, error, traceback))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)


# `json` names the choice for the caller; this module's use of the json library is above.
def configure_logging(
    service: str,
    *,
    level: str = "INFO",
    stream: TextIO | None = None,
    json: bool = True,
) -> None:
    """Send every logger of the process through one handler to `stream` (default: stdout).

    Also takes uncaught exceptions, which Python would print unscrubbed. Run uvicorn with
    `log_config=None`, or it installs handlers of its own.
    """
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonFormatter() if json else TextFormatter())
    handler.addFilter(ContextFilter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.getLogger("uvicorn.access").disabled = True
    for chatty in ("httpx", "httpx2", "httpcore", "httpcore2", "kopf", "uvicorn.error"):
        # httpx logs every request's URL at INFO, and a signed URL holds a signature.
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)
    # What no line shows need not be found out for each record (Python's manual, "Logging HOWTO",
    # optimization): the caller's place, thread and process. Together 4 us of 13 per line.
    logging._srcfile = None  # type: ignore[attr-defined]
    logging.logThreads = False
    logging.logProcesses = False
    logging.logMultiprocessing = False
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
