"""Binance spot, natively: REST for orders and reads, the WebSocket API for the private stream.

The folder is the template of a venue. From the outside in: `client` (the port, thin), `http`
(one signed call), `stream` (the private stream), `limits` (what may be sent when), `clock` (the
exchange's time), then the pure parts: `urls`, `signing`, `parsing`, `errors`.
"""
