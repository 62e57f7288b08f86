"""What the operator decides: pure functions of what was seen and the time."""
