"""Webhooks in, order commands out: decides, records, and hands over through the outbox."""
