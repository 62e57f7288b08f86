"""Which token belongs to whom: the buckets' records, ready to be looked up without I/O.

Holds hashes, never tokens. A token belongs to a broker, or to an owner; an owner's webhook names
its broker in `UserExchangeID`, by resource name or by the number in its spec.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from pydantic import ValidationError

from aristobot.contracts.directory import BrokerRecord, TokenRecord
from aristobot.contracts.keys import token_hash
from aristobot.contracts.streams import UNROUTED, BrokerKey

logger = logging.getLogger(__name__)


class Directory:
    """Filled by the two bucket mirrors; see `platform.kv_mirror`."""

    def __init__(self) -> None:
        self._tokens: dict[str, TokenRecord] = {}
        self._by_name: dict[tuple[str, str], BrokerKey] = {}

    def load_tokens(self, entries: Mapping[str, bytes]) -> None:
        tokens = {}
        for key, value in entries.items():
            try:
                tokens[key] = TokenRecord.model_validate_json(value)
            except ValidationError:
                logger.exception("token record can't be read", extra={"bucket_key": key[:8]})
        self._tokens = tokens

    def load_brokers(self, entries: Mapping[str, bytes]) -> None:
        by_name = {}
        for key, value in entries.items():
            try:
                record = BrokerRecord.model_validate_json(value)
            except ValidationError:
                logger.exception("broker record can't be read", extra={"bucket_key": key})
                continue
            by_name[record.owner, record.broker] = record.key
            if record.number is not None:
                by_name[record.owner, str(record.number)] = record.key
        self._by_name = by_name

    def find(self, token: str) -> TokenRecord | None:
        """Whose token it is.

        The presented token is hashed first, and only hashes are compared. What a comparison of
        hashes takes says nothing of how much of a guessed token is right, because a sender can't
        choose the hash: this is what makes the check constant-time in what matters.
        """
        return self._tokens.get(token_hash(token))

    def route(self, owner: str, reference: str | None) -> BrokerKey:
        """The owner's broker of that name or number, else the owner's unrouted subject."""
        found = self._by_name.get((owner, reference.strip().lower())) if reference else None
        return found or BrokerKey(owner, UNROUTED)
