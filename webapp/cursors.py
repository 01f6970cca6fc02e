"""Pages of a stored result: opaque signed cursors, and the rows between two of them.

Rule: a cursor opens the next page of one tenant's one query and nothing else; altered, invented or somebody else's, it
is the caller's mistake and says so. A stored result never changes, so a place in it stays the same place.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from federation_core.errors import InvalidRequest

#: Version, a pad, rows per page, the first row. With the signature it is a multiple of three bytes, so that no bit of
#: the text is without meaning.
_PLACE = struct.Struct(">BxHI")
_VERSION = 1
_SIGNATURE_BYTES = 16
#: Where the rows are in an answer's JSON; an answer without any of these is one page.
_ROWS = ("result", "entries", "traces", "spans")

Key = Callable[..., bytes]


@dataclass(frozen=True, slots=True)
class Page:
    """The rows [first, first + size) of a result."""

    first: int
    size: int

    @property
    def next(self) -> Page:
        """The page after this one."""
        return Page(self.first + self.size, self.size)


def write_cursor(page: Page, tenant_id: str, query_id: str, key: Key) -> str:
    """Return the text that opens a page of a tenant's query."""
    place = _PLACE.pack(_VERSION, page.size, page.first)
    return base64.urlsafe_b64encode(place + _signature(place, tenant_id, query_id, key())).decode()


def read_cursor(text: str, tenant_id: str, query_id: str, key: Key) -> Page:
    """Return the page that a cursor opens.

    Raises InvalidRequest: it is not a cursor of this tenant's query.
    """
    try:
        signed = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise _refused(text) from None
    place, signature = signed[: _PLACE.size], signed[_PLACE.size :]
    if len(signed) != _PLACE.size + _SIGNATURE_BYTES:
        raise _refused(text)
    for afresh in (False, True):
        expected = _signature(place, tenant_id, query_id, key(afresh=afresh))
        if hmac.compare_digest(signature, expected):
            version, size, first = _PLACE.unpack(place)
            if version == _VERSION:
                return Page(first, size)
    raise _refused(text)


def cut(body: dict[str, Any], page: Page) -> Page | None:
    """Leave the rows of one page in an answer's JSON, in their own order; return the next page, None after the last."""
    name = next((name for name in _ROWS if isinstance(body.get(name), list)), "")
    if not name or body.get("resultType") in ("scalar", "string"):
        return None
    rows: Sequence[Any] = body[name]
    body[name] = rows[page.first : page.first + page.size]
    return page.next if page.next.first < len(rows) else None


def _signature(place: bytes, tenant_id: str, query_id: str, key: bytes) -> bytes:
    # The length before the name: no other tenant and query run together to the same bytes.
    tenant = tenant_id.encode()
    message = b"page cursor\0" + struct.pack(">I", len(tenant)) + tenant + query_id.encode() + b"\0" + place
    return hmac.digest(key, message, "sha256")[:_SIGNATURE_BYTES]


def _refused(text: str) -> InvalidRequest:
    return InvalidRequest(
        "the cursor is not one of this query's",
        field="cursor",
        got=text,
        expected="the `cursor` of the page before, unchanged, or none for the first page",
    )
