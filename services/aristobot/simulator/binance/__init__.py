"""Binance spot's dialect: REST under `/api/v3`, the WebSocket API under `/ws-api/v3`, market
streams under `/ws` and `/stream`. Facts: the exchange reference, sections 2 and 3.
"""
