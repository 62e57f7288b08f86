"""One running platform for every e2e test that neither damages nor stops it.

It starts with the first test that asks for it and ends with the last one of this folder. Each test
module uses brokers of its own on it, so that no module depends on what another one traded.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.platform import Platform, running_platform


@pytest.fixture(scope="package")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running_platform(tmp_path_factory.mktemp("shared") / "data") as platform:
        yield platform
