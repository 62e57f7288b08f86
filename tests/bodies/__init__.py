"""Alert bodies as Pine scripts produce them, and the one change a test makes: a current bar time.

See the folder's README for the script. An old bar is refused by its age, so a test that sends a
body to a running platform passes it through `freshen` first; every other byte stays as it is.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

FOLDER = Path(__file__).parent

_BAR_TIME = re.compile(rb'("BarTime"\s*:\s*"?)([^",}\r\n]+?)(\s*["},\r\n])')
_ISO = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)"
    r"(?:(?P<separator>[T ])\d\d:\d\d(?P<seconds>:\d\d)?(?P<fraction>\.\d+)?"
    r"(?P<zone>Z|[+-]\d\d:?\d\d)?)?"
)


def body_paths() -> list[Path]:
    """Every body, in the order of their names: buys come before the sales of the same pair."""
    return sorted(path for path in FOLDER.iterdir() if path.suffix in {".json", ".txt"})


def content_type(path: Path) -> str:
    """What TradingView sends it as: JSON only when the body is JSON proper."""
    return "application/json" if path.suffix == ".json" else "text/plain; charset=utf-8"


def freshen(body: bytes, now: datetime) -> bytes:
    """Replace the bar time by `now` (aware) in the form it is written in: epoch, zone, precision.

    Raises `ValueError` for a body without exactly one bar time of a known form.
    """
    matches = list(_BAR_TIME.finditer(body))
    if len(matches) != 1:
        raise ValueError(f"the body has {len(matches)} bar times and not one")
    start, end = matches[0].span(2)
    return body[:start] + _in_form_of(body[start:end].decode(), now).encode() + body[end:]


def _in_form_of(old: str, now: datetime) -> str:
    if re.fullmatch(r"\d{10}", old):
        return str(int(now.timestamp()))
    if re.fullmatch(r"\d{13}", old):
        return str(int(now.timestamp()) * 1000)
    match = _ISO.fullmatch(old)
    if match is None:
        raise ValueError(f"the bar time {old!r} has no known form")
    zone = match["zone"] or ""
    moment = now.astimezone(_zone_of(zone))
    if match["separator"] is None:
        return f"{moment:%Y-%m-%d}"
    time = f"{moment:%H:%M}" + (f":{moment:%S}" if match["seconds"] else "")
    fraction = "." + "0" * (len(match["fraction"]) - 1) if match["fraction"] else ""
    return f"{moment:%Y-%m-%d}{match['separator']}{time}{fraction}{zone}"


def _zone_of(text: str) -> timezone:
    if text in ("", "Z"):
        return UTC
    sign = -1 if text[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(text[1:3]), minutes=int(text[-2:])))
