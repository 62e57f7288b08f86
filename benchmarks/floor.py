"""The floor that ingress is measured against: the least a Python service could do for a webhook.

A bare ASGI app under uvicorn (uvloop, httptools, no access log), pydantic validation of the body,
a JetStream publish awaited by nats-py. No token, no message id, no trace, no log line. It gets the
settings of our own server (no Date header, frozen garbage) so that it is as fast as it can be.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import nats
import uvicorn
import uvloop
from pydantic import BaseModel

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Alert(BaseModel):
    """The specification's fields with the types that they have."""

    Symbol: str
    Exchange: str
    Currency: str
    BaseCurrency: str
    Interval: str
    Open: float
    High: float
    Low: float
    Close: float
    Volume: float
    BarTime: str
    Action: str
    Prix: float
    PrixSL: float
    PrixTP: float
    PourCent: float
    UserID: str
    IndicateurName: str
    UserExchangeID: str


async def _serve(arguments: argparse.Namespace) -> None:
    client = await nats.connect(
        arguments.nats_url,
        user_credentials=arguments.credentials,
        inbox_prefix=arguments.inbox_prefix,
    )
    stream = client.jetstream()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        more = True
        while more:
            event = await receive()
            body += event.get("body", b"")
            more = event.get("more_body", False)
        Alert.model_validate_json(body)
        await stream.publish(arguments.subject, body)
        answer = b'{"status":"ok"}'
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", b"application/json"),
                    (b"content-length", str(len(answer)).encode()),
                ],
            }
        )
        await send({"type": "http.response.body", "body": answer})

    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=arguments.port,
        log_config=None,
        access_log=False,
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        date_header=False,
        http="httptools",
        ws="none",
    )
    gc.collect()
    gc.freeze()
    await uvicorn.Server(config).serve()
    await client.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nats-url", required=True)
    parser.add_argument("--credentials", required=True)
    parser.add_argument("--inbox-prefix", required=True)
    parser.add_argument("--subject", required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    uvloop.run(_serve(arguments))


if __name__ == "__main__":
    main()
