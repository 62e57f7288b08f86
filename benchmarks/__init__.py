"""Measures the running product: `python -m benchmarks`, or `make bench`.

Each section starts platforms of its own in temporary folders, drives them from outside as a user
would, and returns rows for one table. Not here: assertions. A benchmark says how fast it was; what
must hold at any speed is in `tests/`.
"""
