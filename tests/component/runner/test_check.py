"""`aristobot strategy check`: what it says of sound and of faulty strategies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aristobot.cli.app import app
from aristobot.runner.check import CheckResult, check
from aristobot.runner.zygote_host import Zygote
from tests.component.runner.strategies import EXAMPLE, strategy

in_module = pytest.mark.asyncio(loop_scope="module")


def _found(result: CheckResult) -> list[tuple[str, int | None]]:
    return [(problem.code, problem.line) for problem in result.problems]


@in_module
async def test_the_example_is_sound_and_trades_in_its_trial(zygote: Zygote) -> None:
    result = await check(EXAMPLE, zygote=zygote)
    assert result.ok
    assert result.class_name == "MaNouvelleStrategie"
    assert result.notes == ("on 100 sample candles it bought twice and sold once",)


@in_module
@pytest.mark.parametrize(
    ("code", "found"),
    [
        (EXAMPLE.replace("length=20)", "length=20"), ("SyntaxError", 9)),
        ("import os\n" + EXAMPLE, ("ForbiddenImport", 1)),
        (EXAMPLE.replace("should_short", "short"), ("MissingMethod", 3)),
        ("1 / 0\n" + EXAMPLE, ("Exception", 1)),
        ("open('/etc/passwd')\n" + EXAMPLE, ("ForbiddenCall", 1)),
        (EXAMPLE.replace('["close"]', '["Close"]'), ("Exception", 8)),
        (strategy(should_long="return None"), ("BadReturnValue", None)),
        (strategy(should_short="return self.balanse > 1"), ("Exception", 9)),
        (strategy(stop="return '2%'"), ("BadReturnValue", None)),
        (strategy(top="bytearray(10**10)"), ("OutOfMemory", 1)),
        (strategy(top="__import__('os')._exit(0)"), ("Exited", None)),
        (strategy(init="__import__('ctypes').string_at(0)"), ("Crashed", None)),
    ],
)
async def test_a_fault_is_found_with_its_line(
    zygote: Zygote, code: str, found: tuple[str, int | None]
) -> None:
    result = await check(code, zygote=zygote)
    assert _found(result) == [found]
    assert not result.ok


@in_module
async def test_what_depends_on_the_price_is_noted_and_no_problem(zygote: Zygote) -> None:
    result = await check(strategy(stop="return 58000", size="return 2000"), zygote=zygote)
    assert result.ok
    told = "calculate_position_size() returned 2000.0, and 1000 is free"
    assert any(told in note for note in result.notes)
    result = await check(strategy(stop="return 58000"), zygote=zygote)
    assert result.ok
    assert any("the stop loss is 58000" in note for note in result.notes)


@in_module
async def test_methods_that_no_signal_led_to_are_tried_all_the_same(zygote: Zygote) -> None:
    code = strategy(should_long="return False", target="return self.entri * 1.04")
    result = await check(code, zygote=zygote)
    assert result.ok
    never, without, failed = result.notes
    assert never == "on 100 sample candles it bought 0 times and sold 0 times"
    assert "tried without a signal" in without
    assert "line 15: AttributeError" in failed


@in_module
async def test_what_it_prints_is_shown_once(zygote: Zygote) -> None:
    result = await check(strategy(init="print('hello')"), zygote=zygote)
    assert [note for note in result.notes if "hello" in note] == ["it printed: hello"]


def test_the_command_speaks_to_people_and_to_programs(tmp_path: Path) -> None:
    sound, faulty = tmp_path / "sound.py", tmp_path / "faulty.py"
    sound.write_text("\ufeff" + EXAMPLE)
    faulty.write_text("import os\n" + EXAMPLE)
    run = CliRunner().invoke
    done = run(app, ["strategy", "check", str(sound)])
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == f"{sound}: MaNouvelleStrategie can be applied"
    done = run(app, ["strategy", "check", str(faulty)])
    assert done.exit_code == 1
    assert done.stdout.startswith(f"{faulty}:1:1: ForbiddenImport: os can't be imported; ")
    done = run(app, ["strategy", "check", "--json", str(faulty)])
    assert done.exit_code == 1
    (problem,) = json.loads(done.stdout)["problems"]
    assert (problem["code"], problem["line"], problem["column"]) == ("ForbiddenImport", 1, 1)
