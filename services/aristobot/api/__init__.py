"""The platform's HTTP face for looking: traces in (OTLP) and out (JSON)."""
