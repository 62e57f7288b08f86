"""The documents say nothing that isn't there: links, commands, examples, codes and fields."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel
from typer.testing import CliRunner

from aristobot.cli.app import app
from aristobot.contracts.resources import (
    ActiveStrategySpec,
    Broker,
    BrokerSpec,
    StrategySpec,
    parse_document,
)
from aristobot.core.alert import Action
from aristobot.core.alert_text import WIRE_FIELDS
from aristobot.core.orders import OrderStatus
from aristobot.engine.decision import Outcome

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "services" / "aristobot"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.yaml"))
USER_GUIDE = (ROOT / "docs" / "user-guide.md").read_text(encoding="utf-8")
STRATEGIES = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`]+)`")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _anchor(heading: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    for target in _LINK.findall(document.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        found = (document.parent / path).resolve() if path else document
        assert found.exists(), f"{_name(document)} links to {target}, which is not there"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {_anchor(h) for h in headings}, f"{target}: no such heading"


def _commands(text: str) -> Iterator[str]:
    """Each `aristobot ...` that a reader could type, in a shell block or in the running text."""
    for language, block in _FENCE.findall(text):
        if language == "sh":
            yield from (line for line in block.splitlines() if line.startswith("aristobot "))
    prose = _FENCE.sub("", text)
    for code in _CODE.findall(prose):
        command = " ".join(code.split())
        if command.startswith("aristobot ") and "..." not in command:
            yield command


COMMANDS = sorted(
    {
        (command, _name(document))
        for document in DOCUMENTS
        for command in _commands(document.read_text(encoding="utf-8"))
    }
)


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) > 20


@pytest.mark.parametrize(("command", "document"), COMMANDS)
def test_every_command_shown_exists_with_its_options(command: str, document: str) -> None:
    words = shlex.split(command, comments=True)[1:]
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0, f"{document}: {command}\n{result.output}"


@pytest.mark.parametrize("words", [["webhok", "list"], ["webhook", "lst"], ["up", "--detached"]])
def test_a_command_that_is_not_there_would_be_noticed(words: list[str]) -> None:
    assert CliRunner().invoke(app, [*words, "--help"]).exit_code != 0


@pytest.mark.parametrize("example", EXAMPLES, ids=_name)
def test_every_example_is_a_resource(example: Path) -> None:
    documents = [parse_document(d) for d in yaml.safe_load_all(example.read_text(encoding="utf-8"))]
    assert any(isinstance(document, Broker) for document in documents)
    secrets = {d.metadata.name for d in documents if d.kind == "Secret"}
    for document in documents:
        if isinstance(document, Broker) and document.spec.credentials_secret_ref is not None:
            assert document.spec.credentials_secret_ref.name in secrets


def test_every_example_is_explained() -> None:
    assert EXAMPLES
    for example in EXAMPLES:
        assert f"(examples/{example.name})" in USER_GUIDE + STRATEGIES


def _paths(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        path = f"{prefix}.{field.alias or name}"
        candidates = (field.annotation, *getattr(field.annotation, "__args__", ()))
        inner = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if inner:
            yield from _paths(inner[0], path)
        else:
            yield path


def test_the_user_guide_explains_every_field_of_a_broker() -> None:
    for path in _paths(BrokerSpec, "spec"):
        assert f"`{path}`" in USER_GUIDE, path


@pytest.mark.parametrize("spec", [StrategySpec, ActiveStrategySpec])
def test_the_page_on_strategies_explains_every_field(spec: type[BaseModel]) -> None:
    for path in _paths(spec, "spec"):
        assert f"`{path}`" in STRATEGIES, path


def test_the_applied_example_holds_the_file_that_is_checked() -> None:
    folder = ROOT / "docs" / "examples"
    applied = yaml.safe_load_all((folder / "ema-crossover.yaml").read_text(encoding="utf-8"))
    codes = [d["spec"]["code"] for d in applied if d["kind"] == "Strategy"]
    assert codes == [(folder / "ema_10_20.py").read_text(encoding="utf-8")]


#: Which argument of a call is a code.
_PLACES = {"Refused": 0, "Verdict": 1, "Ruling": 1, "_rejected": 0, "_unproven": 0}


def _codes() -> set[str]:
    """Every code a webhook or a decision can end with."""
    found = set()
    files = [*(SOURCES / "core").glob("*.py"), *(SOURCES / "engine").glob("*.py")]
    files.append(SOURCES / "gateway" / "account_view.py")
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                position = _PLACES.get(node.func.id)
                if position is not None and len(node.args) > position:
                    value = node.args[position]
                    if isinstance(value, ast.Constant) and isinstance(value.value, str):
                        found.add(value.value)
    return found


def test_the_guides_explain_every_code_and_word() -> None:
    codes = _codes()
    assert {"stale", "repeated_signal", "unknown_symbol"} <= codes
    words = {*codes, *Outcome, *OrderStatus, *Action, *WIRE_FIELDS}
    missing = {str(word) for word in words if f"`{word}`" not in USER_GUIDE + STRATEGIES}
    assert not missing


def test_the_pine_script_is_the_one_that_the_bodies_come_from() -> None:
    def script(text: str) -> str:
        return next(block for language, block in _FENCE.findall(text) if language == "pine")

    bodies = (ROOT / "tests" / "bodies" / "README.md").read_text(encoding="utf-8")
    assert script(USER_GUIDE) == script(bodies)
