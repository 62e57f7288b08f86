"""The options that name the platform count wherever they stand, and nothing else is moved."""

from __future__ import annotations

import pytest

from aristobot.cli.target import Target, options_first


@pytest.mark.parametrize(
    ("words", "options", "rest"),
    [
        ("get brokers", "", "get brokers"),
        ("--kube get brokers -n a", "--kube", "get brokers -n a"),
        ("get brokers --kube -n a", "--kube", "get brokers -n a"),
        ("get --context b brokers", "--context b", "get brokers"),
        ("get brokers --context=b -o yaml", "--context=b", "get brokers -o yaml"),
        ("get brokers --context", "--context", "get brokers"),
        ("get -- --kube", "", "get -- --kube"),
        ("get --kubernetes", "", "get --kubernetes"),
    ],
)
def test_the_target_s_options_come_first(words: str, options: str, rest: str) -> None:
    assert options_first(words.split()) == (options.split(), rest.split())


def test_a_command_for_the_pod_is_told_word_for_word() -> None:
    target = Target(True, "my cluster", ("order", "list", "-n", "team a"))
    assert (
        "`kubectl --context 'my cluster' -n NAMESPACE exec deploy/aristobot-api -- "
        "aristobot order list -n 'team a'`"
    ) in str(target.only_in_pod())
