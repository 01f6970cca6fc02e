"""Fields of a JSON object of Kubernetes' API, each of the type that the API gives it.

Rule: absent and null are the same, as they are for Kubernetes; anything of another type is refused (ValueError), so
that nothing is read out of what is no object of the API.
"""

from __future__ import annotations

from collections.abc import Mapping
from sys import intern
from typing import Any, Final

_NOTHING: Final[Mapping[str, Any]] = {}
#: Kubernetes' names and words are shorter; what is longer is none.
_LONGEST: Final = 1_024


def mapping(holder: Any, key: str) -> Mapping[str, Any]:
    """Return an object within an object; an empty one where it is absent."""
    value = _get(holder, key)
    if value is None:
        return _NOTHING
    if not isinstance(value, dict):
        raise ValueError(f"`{key}` is no object")
    return value


def items(holder: Any, key: str) -> list[dict[str, Any]]:
    """Return a list of objects."""
    value = _get(holder, key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError(f"`{key}` is no list of objects")
    return value


def text(holder: Any, key: str) -> str:
    """Return a text, "" where it is absent."""
    value = _get(holder, key)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise ValueError(f"`{key}` is no text, or one that is too long")
    return value


def texts(values: Mapping[str, Any]) -> Mapping[str, str]:
    """Return labels and the like, where all of them are texts."""
    if not all(isinstance(value, str) and len(value) <= _LONGEST for value in values.values()):
        raise ValueError("a label is no text, or one that is too long")
    return values


def integer(holder: Any, key: str) -> int | None:
    """Return a number, None where it is absent."""
    value = _get(holder, key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**31):
        raise ValueError(f"`{key}` is no whole number of 32 bits")
    return value


def count(holder: Any, key: str) -> int:
    """Return a number of things: what is not there are none."""
    return integer(holder, key) or 0


def flag(holder: Any, key: str) -> bool | None:
    """Return whether something is so, None where that is not said."""
    value = _get(holder, key)
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"`{key}` is neither true nor false")
    return value


def name_of(item: Any) -> tuple[str, str]:
    """Return namespace ("" where it has none) and name of an object.

    Raises ValueError: it has no name, so it is no object.
    """
    metadata = mapping(item, "metadata")
    if not (name := text(metadata, "name")):
        raise ValueError("an object without a name")
    return intern(text(metadata, "namespace")), name


def condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Return the condition of a kind, an empty one where it is not told."""
    return next((each for each in items(status, "conditions") if text(each, "type") == kind), _NOTHING)


def _get(holder: Any, key: str) -> Any:
    if not isinstance(holder, dict):
        raise ValueError("something is no object")
    return holder.get(key)
