"""`helm test`: its script finds a part that is down, and nothing when all are well."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.chart.rendering import CHART, NAMESPACE, render
from tests.harness.servers import free_port, nats_server

SCRIPT = CHART / "files" / "check.py"


@contextmanager
def _http(status: int) -> Iterator[str]:
    """Answers every GET with `status`; yields a URL."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b'{"problems": ["NATS is away"]}')

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/readyz"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with nats_server(tmp_path_factory.mktemp("nats")) as url:
        yield url


def _check(*urls: str) -> tuple[int, str]:
    """As the pod does it, but without patience: what is down now is reported at once."""
    program = f"{SCRIPT.read_text(encoding='utf-8')}\n"
    program = program.replace("PATIENCE_SECONDS = 60.0", "PATIENCE_SECONDS = 0.0")
    done = subprocess.run(
        [sys.executable, "-c", program, *urls], capture_output=True, text=True, timeout=30
    )
    return done.returncode, done.stdout


def test_all_is_well(nats: str) -> None:
    with _http(200) as ready:
        assert _check(ready, nats) == (0, f"{ready}: ready\n{nats}: ready\n")


def test_a_part_that_isn_t_ready_fails_it_and_says_why(nats: str) -> None:
    with _http(503) as unready:
        code, said = _check(unready, nats)
    assert code == 1
    assert f"{unready}: 503: " in said
    assert "NATS is away" in said
    assert f"{nats}: ready" in said


def test_a_part_that_doesn_t_answer_fails_it() -> None:
    gone = f"nats://127.0.0.1:{free_port()}"
    code, said = _check(gone)
    assert code == 1
    assert "refused" in said


def test_a_port_where_something_else_listens_is_no_nats() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            connection.sendall(b"220 mail.example.com ESMTP\r\n")
            connection.close()

        thread = threading.Thread(target=greet)
        thread.start()
        code, said = _check(f"nats://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()
    assert code == 1
    assert "no NATS server" in said


def test_it_asks_the_services_that_there_are() -> None:
    (pod,) = (item for item in render("first-look") if item["kind"] == "Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    program, *urls = pod["spec"]["containers"][0]["args"]
    assert program.strip() == SCRIPT.read_text(encoding="utf-8").strip()
    assert urls == [
        f"http://aristobot-ingress.{NAMESPACE}.svc:8888/readyz",
        f"http://aristobot-api.{NAMESPACE}.svc:8889/readyz",
        f"nats://aristobot-nats.{NAMESPACE}.svc:4222",
    ]


def test_the_script_needs_nothing_but_python(tmp_path: Path) -> None:
    code = subprocess.run(
        [sys.executable, "-I", "-S", "-c", SCRIPT.read_text(encoding="utf-8")],
        cwd=tmp_path,
        timeout=30,
        check=False,
    ).returncode
    assert code == 0
