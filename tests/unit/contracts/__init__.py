"""What crosses process boundaries: bodies, keys, messages."""
