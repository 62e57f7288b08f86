"""The fields of a kind as a table for people, from the same schema that the API server has.

`make crds` puts it into docs/resources.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from aristobot.contracts.crds.definitions import definition
from aristobot.contracts.fields import LABEL

Schema = dict[str, Any]


def reference(kind: str) -> str:
    """Markdown: the fields of the spec, then of the status."""
    crd = definition(kind)
    names, version = crd["spec"]["names"], crd["spec"]["versions"][0]
    parts = version["schema"]["openAPIV3Schema"]["properties"]
    lines = [
        f"## {kind}",
        "",
        f"{version['schema']['openAPIV3Schema']['description']} Short name: "
        f"`{names['shortNames'][0]}`.",
        "",
        *_table(parts["spec"], "spec", ("field", "what it takes", "default", "meaning")),
        "",
        *_table(parts["status"], "status", ("reported", "what it holds", "meaning")),
    ]
    return "\n".join(lines) + "\n"


def _table(schema: Schema, path: str, head: tuple[str, ...]) -> Iterator[str]:
    yield _row(head)
    yield _row(["---"] * len(head))
    for name, field, is_required in _fields(schema, path):
        meaning = f"{'**Required.** ' if is_required else ''}{field['description']}"
        row = [f"`{name}`", _takes(field), _default(field), meaning]
        if len(head) == 3:
            row.pop(2)
        yield _row([cell.replace("|", "\\|") for cell in row])


def _row(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _fields(
    schema: Schema, path: str, *, inside_required: bool = True
) -> Iterator[tuple[str, Schema, bool]]:
    """Every field with the way to it, and whether a resource has to have it."""
    for name, field in schema["properties"].items():
        where = f"{path}.{name}"
        is_required = inside_required and name in schema.get("required", ())
        yield where, field, is_required
        if "properties" in field:
            yield from _fields(field, where, inside_required=is_required)


def _takes(field: Schema) -> str:
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    match field["type"]:
        case "boolean":
            return "`true` or `false`"
        case "string":
            return _takes_text(field)
        case "array":
            parts = ", ".join(f"`{name}`" for name in field["items"]["properties"])
            return f"up to {field['maxItems']} entries of {parts}"
        case "object" if "properties" in field:
            return "fields, as below"
        case "object":
            values = _takes(field["additionalProperties"])
            return f"up to {field['maxProperties']} names, each with a {values}"
    word = "whole number" if field["type"] == "integer" else "number"
    least = f"{'above' if field.get('exclusiveMinimum') else 'from'} {_grouped(field['minimum'])}"
    return f"{word} {least}" + (f" to {_grouped(field['maximum'])}" if "maximum" in field else "")


def _takes_text(field: Schema) -> str:
    if field.get("format") == "date-time":
        return "a moment (RFC 3339)"
    most = _grouped(field["maxLength"])
    if field.get("pattern") == f"^{LABEL}$":
        return f"a name of at most {most} characters"
    pattern = f" that match `{field['pattern']}`" if "pattern" in field else ""
    return f"text, at most {most} characters{pattern}"


def _grouped(number: float) -> str:
    return f"{number:,}".replace(",", " ").removesuffix(".0")


def _default(field: Schema) -> str:
    if "default" not in field or "properties" in field:
        return ""
    default = field["default"]
    text = default if isinstance(default, str) else json.dumps(default)
    return f"`{text.removesuffix('.0')}`"
