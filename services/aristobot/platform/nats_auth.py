"""The platform's own NATS trust: keys of operator and accounts, and user JWTs signed with them.

The server is told the operator's and the accounts' JWTs at start; a user's JWT is signed with the
account's key and carries its permissions, so a new gateway needs neither a restart of the server
nor a shared password. Used by whoever runs the platform (embedded, later the operator); services
only get the credentials file of their role. Deliberately not here: which subjects a role may use
(`contracts.nats_roles`).

Formats: NATS JWT version 2 as in github.com/nats-io/jwt (v2), key encodings by `nkeys`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nkeys

from aristobot.contracts.nats_roles import NatsRole
from aristobot.core.errors import Misconfigured

_HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}
_UNLIMITED = -1
#: File name and key kind of each seed.
_SEEDS = {
    "operator": nkeys.PREFIX_BYTE_OPERATOR,
    "system": nkeys.PREFIX_BYTE_ACCOUNT,
    "account": nkeys.PREFIX_BYTE_ACCOUNT,
}


@dataclass(frozen=True, slots=True)
class Trust:
    """The signing keys. The seeds never leave this object except into signatures."""

    operator: nkeys.KeyPair = field(repr=False)
    system: nkeys.KeyPair = field(repr=False)
    account: nkeys.KeyPair = field(repr=False)


def create_trust(directory: Path) -> Trust:
    """Load the trust's seeds from `directory`, making those that are missing (files of mode 0600).

    Raises `Misconfigured` when a seed can't be read: with another one every credential that is
    in use would be void, so a damaged file is never replaced.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Trust(**{name: _load(directory / f"{name}.nk", kind) for name, kind in _SEEDS.items()})


def new_seeds() -> dict[str, str]:
    """Fresh seeds of a trust, by name; they are secrets."""
    return {name: _new_key(kind).seed.decode() for name, kind in _SEEDS.items()}


def trust_of(seeds: Mapping[str, str]) -> Trust:
    """The trust of seeds that are kept elsewhere. Raises `Misconfigured` naming a bad one."""
    keys = {}
    for name, kind in _SEEDS.items():
        if name not in seeds:
            raise Misconfigured(f"the NATS seed {name} is missing: restore it from a backup")
        keys[name] = _key(seeds[name].strip().encode(), kind, f"the NATS seed {name}")
    return Trust(**keys)


def account_key(trust: Trust) -> str:
    """The public key of the account that signs users: with another one all credentials are void."""
    return _public(trust.account)


def server_config(trust: Trust) -> str:
    """The lines of nats-server's configuration that make it trust this operator and its accounts.

    They hold no secret. JetStream is open to the application account, without limits.
    """
    operator = _encode(
        trust.operator,
        subject=_public(trust.operator),
        name="aristobot",
        claims={"type": "operator", "system_account": _public(trust.system)},
    )
    accounts = {
        _public(trust.system): _account(trust, trust.system, "SYS", jetstream=False),
        _public(trust.account): _account(trust, trust.account, "ARISTOBOT", jetstream=True),
    }
    preload = "\n".join(f"  {key}: {token}" for key, token in accounts.items())
    return (
        f"operator: {operator}\n"
        f"system_account: {_public(trust.system)}\n"
        "resolver: MEMORY\n"
        f"resolver_preload: {{\n{preload}\n}}\n"
    )


def issue_user(
    trust: Trust,
    name: str,
    *,
    publish_allow: Sequence[str],
    subscribe_allow: Sequence[str],
    publish_deny: Sequence[str] = (),
    subscribe_deny: Sequence[str] = (),
    response_seconds: float | None = None,
) -> str:
    """The text of a credentials file for a new user of the application account; it is a secret.

    Every call makes a new key. The JWT doesn't expire: it is void once the account's key is
    replaced. An empty allow list would mean "everything" to the server, so it is refused with
    `ValueError`.
    """
    if not publish_allow or not subscribe_allow:
        raise ValueError(f"user {name}: an empty list of allowed subjects would allow them all")
    user = _new_key(nkeys.PREFIX_BYTE_USER)
    claims: dict[str, Any] = {
        "type": "user",
        "pub": _permission(publish_allow, publish_deny),
        "sub": _permission(subscribe_allow, subscribe_deny),
        "subs": _UNLIMITED,
        "data": _UNLIMITED,
        "payload": _UNLIMITED,
    }
    if response_seconds is not None:
        # The server counts the time in nanoseconds.
        claims["resp"] = {"max": 1, "ttl": int(response_seconds * 1_000_000_000)}
    token = _encode(trust.account, subject=_public(user), name=name, claims=claims)
    return (
        "-----BEGIN NATS USER JWT-----\n"
        f"{token}\n"
        "------END NATS USER JWT------\n\n"
        "-----BEGIN USER NKEY SEED-----\n"
        f"{user.seed.decode()}\n"
        "------END USER NKEY SEED------\n"
    )


def issue_role(trust: Trust, role: NatsRole) -> str:
    """The text of a credentials file for a new user of `role`; see `issue_user`."""
    return issue_user(
        trust,
        role.name,
        publish_allow=role.publish_allow,
        subscribe_allow=role.subscribe_allow,
        publish_deny=role.publish_deny,
        subscribe_deny=role.subscribe_deny,
        response_seconds=role.response_seconds,
    )


def write_private(path: Path, text: str) -> None:
    """Write a secret to `path` (mode 0600), whole or not at all, and durably."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _permission(allow: Sequence[str], deny: Sequence[str]) -> dict[str, list[str]]:
    permission = {"allow": list(allow)}
    if deny:
        permission["deny"] = list(deny)
    return permission


def _account(trust: Trust, key: nkeys.KeyPair, name: str, *, jetstream: bool) -> str:
    storage = _UNLIMITED if jetstream else 0
    return _encode(
        trust.operator,
        subject=_public(key),
        name=name,
        claims={
            "type": "account",
            "limits": {
                "subs": _UNLIMITED,
                "data": _UNLIMITED,
                "payload": _UNLIMITED,
                "imports": _UNLIMITED,
                "exports": _UNLIMITED,
                "wildcards": True,
                "conn": _UNLIMITED,
                "leaf": _UNLIMITED,
                "mem_storage": storage,
                "disk_storage": storage,
                "streams": storage,
                "consumer": storage,
            },
            "default_permissions": {"pub": {}, "sub": {}},
        },
    )


def _encode(signer: nkeys.KeyPair, *, subject: str, name: str, claims: Mapping[str, Any]) -> str:
    body: dict[str, Any] = {
        "iat": int(time.time()),
        "iss": _public(signer),
        "name": name,
        "sub": subject,
        "nats": {**claims, "version": 2},
    }
    # nats-io/jwt makes the id by SHA-512/256, which not every build of Python has. The server
    # only keeps the id, so any digest of the claims does.
    digest = hashlib.sha256(_json(body)).digest()
    body["jti"] = base64.b32encode(digest).decode().rstrip("=")
    signed = f"{_segment(_json(_HEADER))}.{_segment(_json(body))}"
    return f"{signed}.{_segment(signer.sign(signed.encode()))}"


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _public(key: nkeys.KeyPair) -> str:
    public: bytes = key.public_key
    return public.decode()


def _new_key(kind: int) -> nkeys.KeyPair:
    return nkeys.from_seed(nkeys.encode_seed(secrets.token_bytes(32), kind))


def _load(path: Path, kind: int) -> nkeys.KeyPair:
    try:
        if not path.exists():
            write_private(path, _new_key(kind).seed.decode() + "\n")
        seed = path.read_bytes().strip()
    except OSError as error:
        raise Misconfigured(_damaged(str(path))) from error
    return _key(seed, kind, str(path))


def _key(seed: bytes, kind: int, where: str) -> nkeys.KeyPair:
    try:
        _, raw = nkeys.decode_seed(seed)
        # decode_seed checks neither the checksum nor the kind; encoding it again checks both.
        is_whole = nkeys.encode_seed(raw, kind) == seed
    except (nkeys.NkeysError, ValueError, IndexError) as error:
        raise Misconfigured(_damaged(where)) from error
    if not is_whole:
        raise Misconfigured(_damaged(where))
    return nkeys.from_seed(seed)


def _damaged(where: str) -> str:
    return (
        f"{where} is not a readable NATS seed: restore it from a backup, or remove it and restart "
        "the platform so that all parts get new credentials"
    )
