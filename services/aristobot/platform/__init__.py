"""What every service stands on: bus, database, telemetry, settings, secrets, lifecycle."""
