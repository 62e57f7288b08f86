"""`apply`, `get` and `delete`: the desired state, with the words and files of kubectl."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from aristobot.cli.options import OWNER, Data, Owner
from aristobot.cli.session import open_store, run
from aristobot.cli.strategy_check import require_sound
from aristobot.contracts.resources import Document, Strategy, parse_document
from aristobot.core.errors import Misconfigured

_PANEL = "Resources"
_KINDS = {
    "broker": "Broker",
    "brokers": "Broker",
    "br": "Broker",
    "brk": "Broker",
    "secret": "Secret",
    "secrets": "Secret",
    "strategy": "Strategy",
    "strategies": "Strategy",
    "strat": "Strategy",
    "activestrategy": "ActiveStrategy",
    "activestrategies": "ActiveStrategy",
    "astrat": "ActiveStrategy",
}
_KNOWN = "brokers, strategies, activestrategies and secrets"
_COLUMNS = {
    "Broker": ("name", "exchange", "environment", "mode", "ready", "message"),
    "Strategy": ("name", "timeframe", "code", "age"),
    "ActiveStrategy": (
        "name",
        "ready",
        "strategy",
        "broker",
        "symbol",
        "tf",
        "position",
        "phase",
        "age",
        "message",
    ),
    "Secret": ("name", "entries"),
}


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def _kind(text: str) -> str:
    kind = _KINDS.get(text.lower())
    if kind is None:
        raise Misconfigured(f"there is no kind {text!r}; known are {_KNOWN}")
    return kind


def _documents(path: Path) -> Iterator[tuple[str, object]]:
    """Every YAML document of a file or folder, with where it stands."""
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix in (".yaml", ".yml", ".json"))
        if not files:
            raise Misconfigured(f"{path} holds no .yaml, .yml or .json file")
    else:
        files = [path]
    for file in files:
        try:
            documents = list(_flat(yaml.safe_load_all(file.read_text(encoding="utf-8"))))
        except OSError as error:
            raise Misconfigured(f"{file} can't be read: {error.strerror}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            problem = " ".join(str(error).split())
            raise Misconfigured(f"{file} is not YAML: {problem}") from error
        for number, document in enumerate(documents, start=1):
            if document is not None:
                yield f"{file}, document {number}" if len(documents) > 1 else str(file), document


def _flat(documents: Iterable[object]) -> Iterator[object]:
    """The members of a list for the list: `get -o json` prints one, and kubectl a `kind: List`."""
    for document in documents:
        if isinstance(document, dict) and document.get("kind") == "List":
            yield from document.get("items") or ()
        elif isinstance(document, list):
            yield from document
        else:
            yield document


def _read(path: Path) -> list[Document]:
    """Read everything before anything is applied, so that a mistake changes nothing."""
    parsed, problems = [], []
    for place, document in _documents(path):
        try:
            parsed.append(parse_document(document))
        except Misconfigured as error:
            problems.append(f"{place}: {error}")
    if problems:
        raise Misconfigured("\n".join(["nothing was applied", *problems]))
    if not parsed:
        raise Misconfigured(f"{path} holds no resource")
    return parsed


def apply(
    data: Data,
    file: Annotated[Path, typer.Option("--file", "-f", help="A YAML file or a folder of them.")],
    owner: Owner = OWNER,
) -> None:
    """Create or change resources; the files are those that `kubectl apply` takes.

    A Strategy's code is checked first, like `aristobot strategy check` does.
    """
    documents = _read(file)
    strategies = [document for document in documents if isinstance(document, Strategy)]

    async def work() -> None:
        async with open_store(data) as store:
            if strategies:
                await require_sound(strategies)
            for document in documents:
                whose = document.metadata.namespace or owner
                outcome = await store.apply(whose, document)
                typer.echo(f"{document.kind.lower()}/{document.metadata.name} {outcome.value}")

    run(work())


def get(
    data: Data,
    kind: Annotated[str, typer.Argument(help=_KNOWN)],
    name: Annotated[str | None, typer.Argument(help="Only this one.")] = None,
    output: Annotated[Format, typer.Option("-o", "--output")] = Format.TABLE,
    owner: Owner = OWNER,
) -> None:
    """Show resources. Secrets show the names of their entries, never the values."""
    wanted = _kind(kind)

    async def work() -> list[dict[str, Any]]:
        async with open_store(data) as store:
            if wanted == "Secret":
                return [
                    {"kind": "Secret", "metadata": {"name": n, "namespace": owner}, "keys": keys}
                    for n, keys in await store.secret_names(owner)
                ]
            return [stored.document() for stored in await store.list(owner, wanted)]

    documents = [d for d in run(work()) if name is None or d["metadata"]["name"] == name]
    if name is not None and not documents:
        raise Misconfigured(f"{owner} has no {wanted.lower()} {name}")
    _show(documents, wanted, output, is_single=name is not None)


def _show(
    documents: Sequence[dict[str, Any]], kind: str, output: Format, *, is_single: bool
) -> None:
    from aristobot.cli.output import print_json, print_table

    if output is Format.TABLE:
        rows = [_row(document) for document in documents]
        plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
        print_table(rows, _COLUMNS[kind], f"no {plural.lower()} yet: `aristobot apply -f FILE`")
        return
    shown: Any = documents[0] if is_single else list(documents)
    if output is Format.JSON:
        print_json(shown)
    else:
        text = yaml.safe_dump_all(
            [shown] if is_single else shown, sort_keys=False, allow_unicode=True
        )
        typer.echo(text, nl=False)


def _row(document: dict[str, Any]) -> dict[str, Any]:
    """What the tables show of a resource, whatever its kind."""
    metadata, spec = document["metadata"], document.get("spec", {})
    status: dict[str, Any] = document.get("status", {})
    ready: dict[str, Any] = next(
        (c for c in status.get("conditions", ()) if c["type"] == "Ready"), {}
    )
    timeframe = spec.get("timeframe")
    return {
        "name": metadata["name"],
        "exchange": spec.get("exchange"),
        "environment": spec.get("environment", "live"),
        "mode": spec.get("tradingMode", "off"),
        "ready": ready.get("status", "Unknown"),
        "message": ready.get("message", "not looked at yet"),
        "entries": ", ".join(document.get("keys", ())),
        "timeframe": timeframe,
        "code": f"{len(spec['code'].splitlines())} lines" if "code" in spec else "ConfigMap",
        "strategy": spec.get("strategyRef", {}).get("name"),
        "broker": spec.get("brokerRef", {}).get("name"),
        "symbol": spec.get("symbol"),
        # Named by the strategy when the active strategy names none; the executor finds out.
        "tf": timeframe or status.get("timeframe"),
        "position": status.get("position"),
        "phase": status.get("phase"),
        "age": _age(metadata.get("creationTimestamp")),
    }


def _age(created: str | None) -> str | None:
    """How long ago, as kubectl writes it: the two largest units at most."""
    from datetime import UTC, datetime

    if created is None:
        return None
    seconds = max(0, int((datetime.now(UTC) - datetime.fromisoformat(created)).total_seconds()))
    for unit, length, next_unit, next_length in (
        ("d", 86_400, "h", 3_600),
        ("h", 3_600, "m", 60),
        ("m", 60, "s", 1),
    ):
        if seconds >= length:
            rest = seconds % length // next_length
            return f"{seconds // length}{unit}" + (f"{rest}{next_unit}" if rest else "")
    return f"{seconds}s"


def delete(
    data: Data,
    kind: Annotated[str, typer.Argument(help=_KNOWN)],
    name: Annotated[str, typer.Argument()],
    owner: Owner = OWNER,
) -> None:
    """Delete a resource; what ran for it stops, its history stays."""
    wanted = _kind(kind)

    async def work() -> str:
        async with open_store(data) as store:
            if not await store.delete(owner, wanted, name):
                raise Misconfigured(f"{owner} has no {wanted.lower()} {name}")
            left = None if wanted == "Secret" else await store.get(owner, wanted, name)
        if left is not None and left.deletion_asked_at is not None:
            return "is being deleted: it goes once what it needs before that is done"
        return "deleted"

    typer.echo(f"{wanted.lower()}/{name} {run(work())}")


def register(app: typer.Typer) -> None:
    for command in (apply, get, delete):
        app.command(rich_help_panel=_PANEL)(command)
