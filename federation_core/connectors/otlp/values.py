"""Reading OTLP's JSON encoding: attribute values, ids, 64-bit integers, enums, field names.

Rule: what is malformed raises ValueError with words a person can act on; the record is then rejected by line.
Source: OpenTelemetry Protocol specification, "JSON Protobuf Encoding" (ids are hex, not base64; enums are
numbers), read as leniently as the protobuf JSON mapping demands: snake_case fields, enum names, int64 as text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import orjson

_TRACE_ID: Final = re.compile(r"[0-9a-f]{1,32}")
_SPAN_ID: Final = re.compile(r"[0-9a-f]{1,16}")
_SNAKE: Final = re.compile(r"_([a-z0-9])")
NO_TRACE: Final = "0" * 32
NO_SPAN: Final = "0" * 16
#: 2000-01-01, in nanoseconds: anything earlier is a clock that was never set.
EARLIEST_NS: Final = 946_684_800_000_000_000

#: A JSON object as decoded.
Json = dict[str, Any]


def camelise(value: Any) -> Any:
    """Return the value with every field name in lowerCamelCase.

    OTLP's JSON has no free keys (attributes are lists of key and value), so every key is a field name.
    """
    if isinstance(value, dict):
        return {_SNAKE.sub(lambda m: m[1].upper(), key): camelise(item) for key, item in value.items()}
    return [camelise(item) for item in value] if isinstance(value, list) else value


# A trace's spans and logs stand close together, so the last few thousand ids answer for most of a file.
@lru_cache(maxsize=4096)
def read_trace_id(text: Any) -> str:
    """Return a trace id as 32 lower-case hex digits, padded on the left; empty where it is absent or zero."""
    if not text:
        return ""
    if not isinstance(text, str) or not _TRACE_ID.fullmatch(lowered := text.lower()):
        raise ValueError(f"traceId {text!r} is not hexadecimal with up to 32 digits")
    padded = lowered.rjust(32, "0")
    return "" if padded == NO_TRACE else padded


def read_span_id(text: Any, field: str = "spanId") -> str:
    """Return a span id as 16 lower-case hex digits, padded on the left; empty where it is absent or zero."""
    if not text:
        return ""
    if not isinstance(text, str) or not _SPAN_ID.fullmatch(lowered := text.lower()):
        raise ValueError(f"{field} {text!r} is not hexadecimal with up to 16 digits")
    padded = lowered.rjust(16, "0")
    return "" if padded == NO_SPAN else padded


def read_time_ns(value: Any, field: str, latest_ns: int) -> int:
    """Return nanoseconds since the epoch, refusing clocks that were never set or are far ahead."""
    time_ns = read_int(value, field)
    if time_ns < EARLIEST_NS:
        raise ValueError(f"{field} {value!r} is before the year 2000")
    if time_ns > latest_ns:
        raise ValueError(f"{field} {value!r} is more than a day in the future")
    return time_ns


def read_int(value: Any, field: str) -> int:
    """Return an int64 written as a number or as text."""
    try:
        number = int(value) if not isinstance(value, float) or value.is_integer() else None
    except (TypeError, ValueError):
        number = None
    if number is None or not -(2**63) <= number < 2**64:
        raise ValueError(f"{field} {value!r} is not a 64-bit integer")
    return number


def read_float(value: Any, field: str) -> float:
    """Return a double; text covers NaN, Infinity and -Infinity, which JSON lacks."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{field} {value!r} is not a number") from None


def read_enum(value: Any, names: tuple[str, ...], prefix: str, field: str) -> str:
    """Return one of `names` (index = number) for a number, or for a name with or without OTLP's prefix."""
    if isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    if isinstance(value, str):
        name = value.removeprefix(prefix).lower()
        if name in names:
            return name
        if value.isdigit() and int(value) < len(names):
            return names[int(value)]
    raise ValueError(f"{field} {value!r} is none of {', '.join(names)}")


def read_value(value: Mapping[str, Any]) -> Any:
    """Return an AnyValue as a JSON value; bytes stay base64 text, as they came."""
    if not value:
        return None
    kind, content = next(iter(value.items()))
    match kind:
        case "stringValue" | "boolValue" | "bytesValue":
            return content
        case "intValue":
            return read_int(content, kind)
        case "doubleValue":
            number = read_float(content, kind)
            # JSON has no NaN or infinities; their text is what OTLP itself writes.
            return number if number - number == 0 else str(content)
        case "arrayValue":
            return [read_value(item) for item in content.get("values", ())]
        case "kvlistValue":
            return read_attributes(content.get("values", ()))
    raise ValueError(f"an attribute value of unknown kind {kind!r}")


def read_attributes(attributes: Any) -> Json:
    """Return a list of KeyValue as one object; a key given twice keeps its last value."""
    out: Json = {}
    for pair in attributes:
        value = pair.get("value") or {}
        text = value.get("stringValue")
        out[pair["key"]] = text if text is not None else read_value(value)
    return out


def as_text(value: Any) -> str:
    """Return an attribute's value as a label value or a log line: text as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else dump(value)


def dump(value: Any) -> str:
    """Return compact JSON text."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
