"""The fields of a value, for its `to_wire`.

Rule: `dataclasses.asdict` copies all that is below a value, which for the plan of a query costs more than storing it;
what is written at once need not be copied.
"""

from __future__ import annotations

from typing import Any


def fields_of(value: Any) -> dict[str, Any]:
    """Return name → field of a dataclass; the fields are the value's own, not copies."""
    return {name: getattr(value, name) for name in value.__dataclass_fields__}
