"""Keys and JWTs as such; that the server obeys them is tests/component/local/test_nats_roles.py."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import nkeys
import pytest

from aristobot.contracts import nats_roles
from aristobot.core.errors import Misconfigured
from aristobot.platform.nats_auth import (
    create_trust,
    issue_role,
    issue_user,
    server_config,
    write_private,
)


def _decode(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def _claims(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = json.loads(_decode(token.split(".")[1]))
    return claims


def _token(credentials: str) -> str:
    return credentials.splitlines()[1]


def test_the_trust_is_made_once_and_then_loaded(tmp_path: Path) -> None:
    first = create_trust(tmp_path / "nats")
    again = create_trust(tmp_path / "nats")
    assert first.account.public_key == again.account.public_key
    assert first.operator.public_key == again.operator.public_key
    assert first.system.public_key != first.account.public_key
    for file in (tmp_path / "nats").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {file.name for file in (tmp_path / "nats").iterdir()} == {
        "operator.nk",
        "system.nk",
        "account.nk",
    }


def test_two_trusts_differ(tmp_path: Path) -> None:
    assert (
        create_trust(tmp_path / "a").account.public_key
        != create_trust(tmp_path / "b").account.public_key
    )


@pytest.mark.parametrize("content", [b"", b"x", b"\xff\xfe", b"S" * 58, "wrong kind", "one off"])
def test_a_damaged_seed_is_named_and_kept(tmp_path: Path, content: bytes | str) -> None:
    create_trust(tmp_path)
    file = tmp_path / "account.nk"
    if content == "wrong kind":
        content = (tmp_path / "operator.nk").read_bytes()
    elif content == "one off":
        seed = file.read_text()
        content = (seed[:20] + ("A" if seed[20] != "A" else "B") + seed[21:]).encode()
    assert isinstance(content, bytes)
    file.write_bytes(content)
    with pytest.raises(Misconfigured, match=r"account\.nk"):
        create_trust(tmp_path)
    assert file.read_bytes() == content


def test_a_user_is_signed_by_the_account(tmp_path: Path) -> None:
    trust = create_trust(tmp_path)
    token = _token(issue_role(trust, nats_roles.gateway("demo", "demo")))
    header, claims, signature = token.split(".")
    assert json.loads(_decode(header)) == {"typ": "JWT", "alg": "ed25519-nkey"}
    assert trust.account.verify(f"{header}.{claims}".encode(), _decode(signature))
    body = _claims(token)
    assert body["iss"] == trust.account.public_key.decode()
    assert body["sub"].startswith("U")
    assert body["name"] == "gateway_demo_demo"
    assert body["nats"]["type"] == "user"
    assert body["nats"]["resp"] == {"max": 1, "ttl": 30_000_000_000}
    assert body["nats"]["pub"]["allow"][0] == "orders.events.demo.demo"


def test_every_user_has_a_key_of_its_own(tmp_path: Path) -> None:
    trust = create_trust(tmp_path)
    first, second = (issue_role(trust, nats_roles.api()) for _ in range(2))
    assert _claims(_token(first))["sub"] != _claims(_token(second))["sub"]
    seed = first.splitlines()[5]
    assert nkeys.from_seed(seed.encode()).public_key.decode() == _claims(_token(first))["sub"]


def test_an_empty_allow_list_is_refused(tmp_path: Path) -> None:
    trust = create_trust(tmp_path)
    with pytest.raises(ValueError, match="would allow them all"):
        issue_user(trust, "x", publish_allow=(), subscribe_allow=("a",))
    with pytest.raises(ValueError, match="would allow them all"):
        issue_user(trust, "x", publish_allow=("a",), subscribe_allow=())


def test_no_seed_gets_into_configuration_or_representation(tmp_path: Path) -> None:
    trust = create_trust(tmp_path)
    shown = server_config(trust) + repr(trust)
    for key in (trust.operator, trust.system, trust.account):
        assert key.seed.decode() not in shown
    for key in (trust.system, trust.account):
        assert key.public_key.decode() in shown


def test_a_private_file_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "x.creds"
    write_private(file, "one")
    write_private(file, "two")
    assert file.read_text() == "two"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]
