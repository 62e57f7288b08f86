"""The `aristobot` command: services, the embedded platform, resources, and looking things up.

Commands import what they need when they run, so that a service process loads only its own part.
"""

from __future__ import annotations

import logging
import sys

from aristobot.core.errors import AristobotError


def main() -> None:
    """Run the command line; everything raised on purpose ends in one plain sentence."""
    from aristobot.cli.app import app

    # Commands speak by what they print; a service sets its own logging up.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        app()
    except AristobotError as error:
        sys.stderr.write(f"aristobot: {error}\n")
        sys.exit(1)
    except ExceptionGroup as group:
        expected, others = group.split(AristobotError)
        if others is not None or expected is None:
            raise
        sys.stderr.write(f"aristobot: {_first(expected)}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _first(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
