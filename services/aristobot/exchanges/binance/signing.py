"""Signatures of Binance requests: HMAC-SHA256 and Ed25519.

Pure. The caller percent-encodes the parameters first (`encode`) and signs exactly those bytes;
since 2026-01-15 anything else is refused with -1022 (exchange reference 2.2). The WebSocket API
signs its parameters sorted and unencoded instead (3.2). RSA keys are not supported: Binance
recommends Ed25519, and HMAC is what most users have.

Which kind a secret is: a PEM block is an Ed25519 private key; `ed25519:` followed by 64 hex
digits or base64 is its 32-byte seed; anything else is an HMAC secret. The seed needs the prefix,
because 64 hex digits alone could as well be an HMAC secret.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import quote

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from aristobot.core.errors import Misconfigured

SEED_PREFIX = "ed25519:"
_SEED_BYTES = 32
_PEM_MARK = "-----BEGIN"


class Signer(Protocol):
    """Turns a payload into the signature's text (not yet percent-encoded)."""

    def sign(self, payload: bytes) -> str: ...


class HmacSigner:
    """HMAC-SHA256 in hex. The secret is in no repr."""

    __slots__ = ("_secret",)

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode("ascii")

    def sign(self, payload: bytes) -> str:
        return hmac.digest(self._secret, payload, "sha256").hex()


class Ed25519Signer:
    """Ed25519 in base64. The key is in no repr."""

    __slots__ = ("_key",)

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    def sign(self, payload: bytes) -> str:
        return base64.b64encode(self._key.sign(payload)).decode("ascii")


def checked_key(api_key: str) -> str:
    """The API key if it can be sent as it is, else `Misconfigured` (never showing it)."""
    _refuse_unclean(api_key, "API key")
    return api_key


def signer_for(secret: str) -> Signer:
    """Pick the signer by the secret's shape; `Misconfigured` (never showing it) when unusable."""
    if secret.lstrip().startswith(_PEM_MARK):
        return Ed25519Signer(_key_of_pem(secret))
    _refuse_unclean(secret, "API secret")
    if secret.startswith(SEED_PREFIX):
        seed = _seed_of(secret.removeprefix(SEED_PREFIX))
        return Ed25519Signer(Ed25519PrivateKey.from_private_bytes(seed))
    return HmacSigner(secret)


def encode(params: Mapping[str, str]) -> str:
    """Percent-encode parameters in the given order; UTF-8, nothing but unreserved left as is."""
    return "&".join([f"{name}={quote(value, safe='')}" for name, value in params.items()])


def signed_query(params: Mapping[str, str], signer: Signer) -> str:
    """The encoded parameters with their signature as the last one."""
    query = encode(params)
    return f"{query}&signature={quote(signer.sign(query.encode('ascii')), safe='')}"


def websocket_signature(params: Mapping[str, str | int], signer: Signer) -> str:
    """The signature of a WebSocket API request: sorted by name, not percent-encoded."""
    payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
    return signer.sign(payload.encode("utf-8"))


def _refuse_unclean(text: str, name: str) -> None:
    if not text:
        raise Misconfigured(f"The Binance {name} is empty.")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise Misconfigured(
            f"The Binance {name} contains whitespace or other characters that cannot belong to "
            "it (a copied line break, perhaps)."
        )


def _key_of_pem(text: str) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(text.strip().encode("utf-8"), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The cause may quote the key's text, so it is cut off.
        raise Misconfigured(
            "The Binance API secret looks like a PEM key but cannot be read as an unencrypted one."
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise Misconfigured("Only Ed25519 PEM keys are supported for Binance.")
    return key


def _seed_of(text: str) -> bytes:
    try:
        if len(text) == 2 * _SEED_BYTES:
            seed = bytes.fromhex(text)
        else:
            seed = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        seed = b""
    if len(seed) != _SEED_BYTES:
        raise Misconfigured("An Ed25519 seed must be 32 bytes, as hex or base64.")
    return seed
