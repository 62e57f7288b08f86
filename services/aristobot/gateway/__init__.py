"""Order commands in, exchange orders out: one gateway per broker account."""
