"""Signatures against the documented vectors, and the recognition of secrets."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from aristobot.core.errors import Misconfigured
from aristobot.exchanges.binance.signing import (
    Ed25519Signer,
    HmacSigner,
    checked_key,
    encode,
    signed_query,
    signer_for,
    websocket_signature,
)
from tests.unit.exchanges.binance.conftest import API_KEY, API_SECRET

SEED = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
ED_PAYLOAD = (
    "symbol=BTCUSDT&side=SELL&type=LIMIT&timeInForce=GTC&quantity=1&price=0.2"
    "&timestamp=1668481559918&recvWindow=5000"
)
ED_SIGNATURE = (
    "XtZirsmmi0noRzUfkqktvkVfxpkq/WtbLg2UOL3QGYdUBZVlqOBEMuEVw8zioY93N54NcKj9UuAXQEa9zgTDBg=="
)
ORDER = {
    "symbol": "LTCBTC",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "1",
    "price": "0.1",
    "recvWindow": "5000",
    "timestamp": "1499827319559",
}


def test_hmac_of_a_rest_order() -> None:
    query = signed_query(ORDER, signer_for(API_SECRET))
    signature = "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
    assert query.endswith(f"&signature={signature}")


def test_hmac_signs_the_percent_encoded_bytes() -> None:
    full_width = "".join(chr(0xFF10 + digit) for digit in range(1, 7))
    query = signed_query({**ORDER, "symbol": full_width}, signer_for(API_SECRET))
    assert query.startswith("symbol=%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96&")
    signature = "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3"
    assert query.endswith(f"&signature={signature}")


def test_hmac_of_websocket_requests() -> None:
    signer = signer_for(API_SECRET)
    order: dict[str, str | int] = {
        "symbol": "BTCUSDT",
        "side": "SELL",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "0.01000000",
        "price": "52000.00",
        "recvWindow": 100,
        "timestamp": 1645423376532,
        "apiKey": API_KEY,
    }
    assert (
        websocket_signature(order, signer)
        == "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24"
    )
    assert (
        websocket_signature({"timestamp": 1499827319559, "apiKey": API_KEY}, signer)
        == "a90524f2010ef58d33f2fb76f34c98bb19d22844f9fcead39559bd829640742e"
    )


def _pem() -> str:
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(SEED))
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    "secret",
    [
        f"ed25519:{SEED}",
        "ed25519:nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=",
        _pem(),
        _pem().strip(),
    ],
)
def test_ed25519_by_seed_and_by_pem(secret: str) -> None:
    signer = signer_for(secret)
    assert isinstance(signer, Ed25519Signer)
    assert signer.sign(ED_PAYLOAD.encode()) == ED_SIGNATURE


def test_ed25519_signature_is_percent_encoded_in_a_query() -> None:
    params = dict(pair.split("=") for pair in ED_PAYLOAD.split("&"))
    query = signed_query(params, signer_for(_pem()))
    assert query.endswith("9zgTDBg%3D%3D")
    assert "/" not in query


def test_64_hex_digits_without_prefix_are_an_hmac_secret() -> None:
    assert isinstance(signer_for(SEED), HmacSigner)


def _rsa_pem() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    "secret",
    [
        "",
        " ",
        API_SECRET + "\n",
        " " + API_SECRET,
        API_SECRET[:10] + "\t" + API_SECRET[10:],
        "sécret",
        "ed25519:",
        "ed25519:00ff",
        "ed25519:" + "zz" * 32,
        "-----BEGIN PRIVATE KEY-----\nbm9ua2V5\n-----END PRIVATE KEY-----",
        _rsa_pem(),
    ],
    ids=range(11),
)
def test_unusable_secrets_are_refused_without_showing_them(secret: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        signer_for(secret)
    shown = str(caught.value)
    assert all(part not in shown for part in secret.split() if len(part) > 12)


@pytest.mark.parametrize("key", ["", API_KEY + "\n", "a b"])
def test_unusable_keys_are_refused(key: str) -> None:
    with pytest.raises(Misconfigured, match="API key"):
        checked_key(key)


def test_signers_do_not_show_their_secret() -> None:
    for secret in (API_SECRET, f"ed25519:{SEED}"):
        signer = signer_for(secret)
        assert secret.removeprefix("ed25519:") not in f"{signer!r} {signer}"


@given(st.text())
def test_encoding_leaves_only_unreserved_characters(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:  # lone surrogates have no UTF-8 form
        return
    value = encode({"v": text}).removeprefix("v=")
    assert set(value) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%")
