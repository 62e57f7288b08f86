"""Receives webhooks: authenticate, store in the stream, answer. No business rule, no database."""
