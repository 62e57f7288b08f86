"""What stands in a test for something that is not ours and can't run in it."""

import pytest

# Modules of checks that several test modules share: their asserts tell as much as a test's own.
pytest.register_assert_rewrite(
    "tests.support.kube_api.conformance", "tests.support.resource_stores"
)
