"""The runner: calls the user's strategies, each in a sealed process, on their candles."""
