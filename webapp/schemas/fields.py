"""The kinds of value that requests are made of: texts, instants, durations, names, whole numbers.

Rule: a value of another kind is refused, never bent into shape: `"5"` is no number in a JSON body, `true` is no
number anywhere, 1.5 is no limit. Instants and durations stay texts here; `schemas.queries` reads them, because
`-1h` means something only beside a clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields

_INSTANT = "RFC 3339 with a zone (2026-11-24T05:00:00Z), unix seconds, or relative such as -1h"
_DURATION = "a duration such as 30s, 5m or 1h30m, or seconds"


def expected(what: str, how: str) -> ValidationError:
    """Build the error of a field: what is wrong, and what would be right."""
    return ValidationError({"detail": [what], "expected": [how]})


class Text(fields.Field[str]):
    """A text that can be written as UTF-8 (no lone surrogate) and is not empty, unless it may be."""

    def __init__(self, description: str, example: str | None = None, *, may_be_empty: bool = False, **kw: Any) -> None:
        metadata = {"type": "string", "description": description} | ({"example": example} if example else {})
        super().__init__(metadata=metadata | ({} if may_be_empty else {"minLength": 1}), **kw)
        self._may_be_empty = may_be_empty

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise expected(f"{_kind(value)} is not a text", "a text")
        if not value.strip() and not self._may_be_empty:
            raise expected("the text is empty", "a text")
        require_utf8(value)
        return value


class Instant(fields.Field[str]):
    """An instant as users write it; kept as its text."""

    def __init__(self, description: str) -> None:
        super().__init__(
            metadata={"type": ["string", "number"], "description": f"{description} ({_INSTANT})", "example": "-1h"}
        )

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        return _scalar_text(value, "an instant", _INSTANT)


class Duration(fields.Field[str]):
    """A duration as PromQL writes it, or seconds; kept as its text."""

    def __init__(self, description: str, example: str = "30s", **kwargs: Any) -> None:
        super().__init__(
            metadata={"type": ["string", "number"], "description": f"{description} ({_DURATION})", "example": example},
            **kwargs,
        )

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        return _scalar_text(value, "a duration", _DURATION)


class WholeNumber(fields.Field[int]):
    """A whole number in a range, both ends included; `as_text` for parameters of a URL, which are all texts."""

    def __init__(self, description: str, lowest: int, highest: int, *, as_text: bool = False, **kwargs: Any) -> None:
        super().__init__(
            metadata={"type": "integer", "minimum": lowest, "maximum": highest, "description": description}, **kwargs
        )
        self._lowest, self._highest, self._as_text = lowest, highest, as_text

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int:
        right = f"a whole number from {self._lowest} to {self._highest}"
        if self._as_text and isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise expected(f"{_kind(value)} is not a whole number", right)
        if not self._lowest <= value <= self._highest:
            raise expected(f"{value if abs(value) < 10**15 else 'the number'} is out of range", right)
        return value


class Names(fields.Field[tuple[str, ...]]):
    """Names, at most 100: a list; in a URL a text with commas, which may be given several times."""

    def __init__(self, description: str, *, as_text: bool = False) -> None:
        metadata: dict[str, Any] = {"type": "array", "items": {"type": "string"}, "maxItems": 100}
        if as_text:
            metadata = {"type": "string"}
        example = "prod,stage" if as_text else ["prod", "stage"]
        super().__init__(metadata=metadata | {"description": description, "example": example})
        self._as_text = self.joins_repeated = as_text

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> tuple[str, ...]:
        if self._as_text and isinstance(value, str):
            value = [name.strip() for name in value.split(",")]
        if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
            raise expected(f"{_kind(value)} is not a list of names", "names, none of them empty")
        if len(value) > 100:
            raise expected(f"{len(value)} names", "at most 100")
        for name in value:
            require_utf8(name)
        return tuple(dict.fromkeys(value))


class OneOf(fields.Field[str]):
    """One of a few words."""

    def __init__(self, description: str, words: tuple[str, ...], **kwargs: Any) -> None:
        super().__init__(metadata={"type": "string", "enum": list(words), "description": description}, **kwargs)
        self._words = words

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        if not isinstance(value, str) or value not in self._words:
            got = repr(value) if isinstance(value, str) else _kind(value)
            raise expected(f"{got} is none of the words that go here", " or ".join(self._words))
        return value


class Pairs(fields.Field[dict[str, str]]):
    """A mapping of text to text; in a URL `key=value`, which may be given several times with `,` between."""

    def __init__(self, description: str, *, as_text: bool = False) -> None:
        shape: dict[str, Any] = {"type": "object", "additionalProperties": {"type": "string"}}
        super().__init__(metadata=({"type": "string"} if as_text else shape) | {"description": description})
        self._as_text = self.joins_repeated = as_text

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> dict[str, str]:
        if self._as_text and isinstance(value, str):
            value = _split_pairs(value)
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            raise expected(f"{_kind(value)} is not a mapping of text to text", "a mapping of text to text")
        for text in (*value.keys(), *value.values()):
            require_utf8(text)
        return value


def _split_pairs(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in text.split(","):
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise expected(f"{pair!r} is not key=value", "key=value, several with commas between")
        if name.strip() in found:
            raise expected(f"{name.strip()!r} is given twice", "each key once")
        found[name.strip()] = value.strip()
    return found


def require_utf8(text: str) -> None:
    """Refuse half of a surrogate pair, which JSON can write and nothing can store."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise expected("the text holds half of a surrogate pair", "valid Unicode") from None


def _scalar_text(value: Any, what: str, right: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise expected(f"{_kind(value)} is not {what}", right)
    if isinstance(value, float) and not math.isfinite(value):
        raise expected(f"{value} is not {what}", right)
    if isinstance(value, int) and abs(value) >= 10**15:
        raise expected("the number is out of range", right)
    text = value if isinstance(value, str) else repr(value)
    if not text.strip() or len(text) > 64:
        raise expected(f"a text of {len(text)} characters is not {what}", right)
    return text


def _kind(value: Any) -> str:
    """Name a JSON value's kind, for a message."""
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "true or false"),
        ((int, float), "a number"),
        (str, "a text"),
        (list, "a list"),
        (dict, "an object"),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), "null")
