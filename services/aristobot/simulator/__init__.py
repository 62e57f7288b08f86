"""An exchange on localhost: a matching engine and accounts behind each venue's own protocol.

`server.serve` runs it; `app.create_app` builds it for tests. The engine (market, accounts,
matching, journal, faults) knows no venue; a venue's dialect is a folder of its own (`binance/`).
"""
