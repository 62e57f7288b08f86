"""Faults on purpose: crashes at chosen points, a misbehaving exchange, and killing at random."""
