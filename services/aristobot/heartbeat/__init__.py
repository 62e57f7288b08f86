"""The heartbeat: a market's trades become candles, and closed candles become signals."""
