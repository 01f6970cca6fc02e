"""Holding an answer against an OpenAPI 3.1 document: the part of JSON Schema that ours uses.

Rule: a keyword that is not known here is an error, so that nothing passes unchecked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_TYPES: Mapping[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
_CHECKED = {"$ref", "type", "enum", "properties", "required", "items", "additionalProperties"}
_WORDS = {"description", "example", "title", "default"}


def mismatches(document: Mapping[str, Any], method: str, path: str, response: Any) -> list[str]:
    """Return what is wrong with an answer: an undocumented status or media type, or a body of another shape."""
    operation = _operation(document, method, path.partition("?")[0])
    declared = operation["responses"].get(str(response.status_code))
    if declared is None:
        return [f"status {response.status_code} is not declared"]
    content = declared.get("content", {}).get(response.mimetype)
    if content is None:
        return [f"media type {response.mimetype} is not declared for {response.status_code}"]
    lacking = [f"header {name} is missing" for name in declared.get("headers", {}) if name not in response.headers]
    return lacking + list(_wrong(document, content["schema"], response.json, "body"))


def _operation(document: Mapping[str, Any], method: str, path: str) -> Any:
    for template, item in document["paths"].items():
        if re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template)), path) and method in item:
            return item[method]
    raise AssertionError(f"{method} {path} is not in the document")


def _wrong(document: Mapping[str, Any], schema: Mapping[str, Any], value: Any, at: str) -> Iterator[str]:
    unknown = schema.keys() - _CHECKED - _WORDS
    if unknown:
        raise AssertionError(f"{at}: the schema uses {', '.join(sorted(unknown))}, which is not checked here")
    if "$ref" in schema:
        target: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        yield from _wrong(document, target, value, at)
    kinds = [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", [])
    if kinds and not any(_is(kind, value) for kind in kinds):
        yield f"{at}: {type(value).__name__} is not {' or '.join(kinds)}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is not among {schema['enum']}"
    if isinstance(value, dict):
        yield from _wrong_members(document, schema, value, at)
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _wrong(document, schema.get("items", {}), item, f"{at}[{index}]")


def _wrong_members(document: Mapping[str, Any], schema: Mapping[str, Any], value: Any, at: str) -> Iterator[str]:
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{at}: lacks {name}"
    others = schema.get("additionalProperties", {})
    for name, item in value.items():
        inner = schema.get("properties", {}).get(name, others)
        if isinstance(inner, Mapping):
            yield from _wrong(document, inner, item, f"{at}.{name}")


def _is(kind: str, value: Any) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind])
