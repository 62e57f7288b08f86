"""The fault run in its short form: every part is killed under load, nothing is lost or doubled."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from rich.console import Console

from tests.fault.chaos import Chaos, Options


@pytest.mark.timeout(200)
def test_nothing_is_lost_or_doubled_while_parts_are_killed(tmp_path: Path) -> None:
    options = Options(
        alerts=150,
        brokers=3,
        kills=2,
        gateway_kills=1,
        rate=6.0,
        seed=random.randrange(1_000_000),
    )
    result = Chaos(options, tmp_path, lambda: None).run()
    Console().print(result.table())
    assert result.violations == [], f"seed {options.seed}"
    assert result.kills == 2 * 4 + 3
    # How many get through depends on the machine; that most do shows that there was a storm at all.
    assert result.counts["signals answered 200"] > result.counts["distinct signals"] / 2
