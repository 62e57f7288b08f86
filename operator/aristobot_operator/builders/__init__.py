"""The objects that the operator makes: pure functions of a resource and the settings."""
