"""The error hierarchy: each branch says what whoever catches it does next.

Everything raised on purpose in Aristobot derives from `AristobotError`; its text is a plain
sentence that can be shown to the user as it is. Not here: venue error codes (each venue's
`errors.py` maps them to these) and HTTP statuses.
"""

from __future__ import annotations


class AristobotError(Exception):
    """Root of everything raised on purpose."""


class Misconfigured(AristobotError):
    """The user has to change something; trying again won't help."""


class Retryable(AristobotError):
    """Nothing happened; try again after `after_seconds`."""

    def __init__(self, message: str, *, after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.after_seconds = after_seconds


class Refused(AristobotError):
    """A definite no, by a rule of ours or of the exchange; `code` is stable and for machines."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Fenced(AristobotError):
    """Another process has taken this one's place; stop acting at once."""
