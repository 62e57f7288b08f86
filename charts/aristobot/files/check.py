"""`helm test`: asks ingress and api whether they are ready, and NATS for its greeting.

The arguments are URLs: http:// ones have to answer 200, nats:// ones with the INFO that a server
sends first. It goes on asking for a minute, since a part may be starting, and then says which is
down and why. Runs in the product's image, with Python's standard library alone.
"""

from __future__ import annotations

import socket
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

ANSWER_SECONDS = 5.0
PATIENCE_SECONDS = 60.0
BETWEEN_SECONDS = 2.0


def problem(url: str) -> str | None:
    """What is wrong with `url`, or None."""
    parts = urllib.parse.urlsplit(url)
    try:
        if parts.scheme in {"http", "https"}:
            with urllib.request.urlopen(url, timeout=ANSWER_SECONDS):  # raises unless 2xx
                return None
        address = (parts.hostname or "", parts.port or 4222)
        with socket.create_connection(address, timeout=ANSWER_SECONDS) as connection:
            greeting = connection.makefile("rb").readline(65536)
    except urllib.error.HTTPError as error:
        return f"{error.code}: {error.read(1000).decode(errors='replace')}"
    except OSError as error:
        return str(error)
    return None if greeting.startswith(b"INFO ") else f"no NATS server: it says {greeting[:50]!r}"


def main(urls: list[str], patience_seconds: float = PATIENCE_SECONDS) -> int:
    """0 when every URL was found well at the same time, else 1."""
    end = time.monotonic() + patience_seconds
    while True:
        problems = {url: found for url in urls if (found := problem(url)) is not None}
        for url in urls:
            print(f"{url}: {problems.get(url, 'ready')}", flush=True)
        if not problems:
            return 0
        if time.monotonic() >= end:
            return 1
        time.sleep(BETWEEN_SECONDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
