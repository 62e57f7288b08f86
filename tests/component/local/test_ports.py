"""Taken ports are named before anything starts."""

from __future__ import annotations

import os
import socket

import pytest

from aristobot.core.errors import Misconfigured
from aristobot.local.ports import check_free
from tests.component.local.conftest import free_ports


def test_free_ports_pass() -> None:
    first, second = free_ports(2)
    check_free({"ingress": first, "nats": second})
    check_free({"ingress": first}, host="0.0.0.0")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_taken_port_is_named_with_its_holder(host: str) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(Misconfigured) as caught:
            check_free({"api": free_ports(1)[0], "nats": port}, host=host)
    message = str(caught.value)
    assert f"port {port} (for nats) is taken by " in message
    assert f"(pid {os.getpid()})" in message
    assert "--port-base" in message
    assert "api" not in message


def test_a_port_that_lingers_after_use_is_free() -> None:
    [port] = free_ports(1)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        with socket.create_connection(("127.0.0.1", port), timeout=2):
            served, _ = listener.accept()
            served.close()  # the side that closes first keeps the port in TIME_WAIT
    check_free({"nats": port})


@pytest.mark.parametrize("port", [0, -1, 65_536])
def test_a_port_that_does_not_exist_is_named(port: int) -> None:
    with pytest.raises(Misconfigured, match=rf"port {port} \(for nats\) does not exist"):
        check_free({"nats": port})
