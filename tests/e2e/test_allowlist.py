"""Who may send webhooks, and that no forged `X-Forwarded-For` changes it.

One platform is started with the options; the other combinations are further ingress processes on
its bus, started as a pod would start them, since all else is the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.harness.platform import Platform, eventually, running_platform
from tests.harness.servers import free_port

TRADINGVIEW = "52.89.214.238"
STRANGER = "198.51.100.9"
PING = b'{"Action": "PING"}'


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Behind a trusted proxy on this machine, open to TradingView and one network."""
    with running_platform(
        tmp_path_factory.mktemp("guarded") / "data",
        *("--allow", "tradingview,203.0.113.0/24"),
        *("--trusted-proxies", "127.0.0.1,10.0.0.0/8"),
    ) as platform:
        yield platform


@pytest.fixture(scope="module")
def url(guarded: Platform) -> str:
    return guarded.webhook_url()


def _status(url: str, *forwarded: str) -> int:
    answer = httpx.post(
        url,
        content=PING,
        headers=[("x-forwarded-for", value) for value in forwarded],
        timeout=10,
        trust_env=False,
    )
    assert "203.0.113" not in answer.text, "who is allowed is nobody's business"
    return answer.status_code


@pytest.mark.parametrize(
    ("forwarded", "status"),
    [
        ((TRADINGVIEW,), 200),
        (("203.0.113.200",), 200),
        ((STRANGER,), 403),
        # The proxy itself calls, for nobody: it is not on the list.
        ((), 403),
        # What the client claimed stands left of what the proxy saw.
        ((f"{TRADINGVIEW}, {STRANGER}",), 403),
        ((f"{STRANGER}, {TRADINGVIEW}",), 200),
        ((f"{TRADINGVIEW}, {STRANGER}, 10.1.2.3",), 403),
        ((f"{STRANGER}, {TRADINGVIEW}, 10.1.2.3, 127.0.0.1",), 200),
        # Several headers count as one list, in their order.
        ((TRADINGVIEW, STRANGER), 403),
        ((STRANGER, TRADINGVIEW), 200),
        ((TRADINGVIEW, f"{STRANGER}, 10.0.0.1"), 403),
        # What is no address is no allowed one, and hides nothing that stands left of it.
        ((f"{TRADINGVIEW}, unknown",), 403),
        ((f"{TRADINGVIEW},",), 403),
        ((f"{TRADINGVIEW}:443x",), 403),
        (("10.1.2.3",), 403),
        # The same address written as IPv6 is the same address.
        ((f"::ffff:{TRADINGVIEW}",), 200),
        ((f"::ffff:{STRANGER}",), 403),
    ],
)
def test_the_rightmost_address_that_is_no_proxy_counts(
    url: str, forwarded: tuple[str, ...], status: int
) -> None:
    assert _status(url, *forwarded) == status


def test_other_headers_are_not_believed(url: str) -> None:
    answer = httpx.post(
        url,
        content=PING,
        headers={"forwarded": f"for={TRADINGVIEW}", "x-real-ip": TRADINGVIEW},
        timeout=10,
        trust_env=False,
    )
    assert answer.status_code == 403


def test_the_source_is_recorded_and_a_refused_one_leaves_no_row(
    guarded: Platform, url: str
) -> None:
    allowed = httpx.post(
        url,
        content=b'{"Action": "PING", "UserID": "recorded"}',
        headers={"x-forwarded-for": f"{STRANGER}, 203.0.113.77"},
        trust_env=False,
    ).json()

    def recorded() -> list[str] | None:
        rows = [row for row in guarded.webhooks() if row["id"] == allowed["id"]]
        return [row["source"] for row in rows]

    assert eventually(recorded, what="the webhook being recorded") == ["203.0.113.77"]
    assert STRANGER not in {row["source"] for row in guarded.webhooks()}


def test_the_list_is_looked_at_before_the_token(guarded: Platform, url: str) -> None:
    """A stranger must not find out whether a token is right."""
    wrong = f"{guarded.base_url}/webhook/{'A' * 43}"
    assert _status(wrong, STRANGER) == _status(url, STRANGER) == 403
    assert _status(wrong, TRADINGVIEW) == 401


@contextlib.contextmanager
def _ingress(platform: Platform, url: str, log: Path, *options: str) -> Iterator[str]:
    """Another ingress on the platform's bus; yields what `url` is there."""
    address = json.loads((platform.data / "run" / "address").read_text())
    port = free_port()
    environment = {
        **os.environ,
        "ARISTOBOT_NATS_URL": address["nats_url"],
        "ARISTOBOT_NATS_CREDENTIALS": str(platform.data / "credentials" / "ingress.creds"),
    }
    with log.open("wb") as file:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "aristobot", "ingress", "--host", "127.0.0.1"),
                *("--port", str(port), *options),
            ],
            env=environment,
            stdout=file,
            stderr=file,
        )
    try:
        base = f"http://127.0.0.1:{port}"
        eventually(lambda: _is_ready(base), seconds=40, what="the ingress being ready")
        yield f"{base}/webhook/{url.rpartition('/')[2]}"
    finally:
        process.terminate()
        assert process.wait(10) == 0, log.read_text()


def _is_ready(base: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{base}/readyz", timeout=2, trust_env=False).status_code == 200
    return False


def test_without_a_trusted_proxy_no_header_is_believed(
    guarded: Platform, url: str, tmp_path: Path
) -> None:
    with _ingress(guarded, url, tmp_path / "log", "--allow", "tradingview") as other:
        assert _status(other) == 403
        assert _status(other, TRADINGVIEW) == 403
        assert _status(other, f"{STRANGER}, {TRADINGVIEW}") == 403


def test_a_direct_caller_on_the_list_stays_allowed_whatever_it_claims(
    guarded: Platform, url: str, tmp_path: Path
) -> None:
    options = ("--allow", "127.0.0.1", "--trusted-proxies", "10.0.0.0/8")
    with _ingress(guarded, url, tmp_path / "log", *options) as other:
        assert _status(other) == 200
        assert _status(other, STRANGER) == 200


@pytest.mark.parametrize("option", ["--allow", "--trusted-proxies"])
def test_a_mistyped_network_is_refused_in_one_line(guarded: Platform, option: str) -> None:
    done = guarded.run("ingress", "--port", str(free_port()), option, "52.89.214.999", check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "52.89.214.999" in line
