"""`Idempotency-Key`: a submission that is sent again is the same job.

Rule: a key belongs to the tenant, the route and the scope it was first sent with. Sent again with another body it is
refused (422), while the first request is still being accepted it is put off (409), and a refused request frees it.
Source: draft-ietf-httpapi-idempotency-key-header-07; RFC 8941 for the quoted form of the header.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from federation_core.errors import InvalidRequest, QueryExpired, QueryNotFound, StillAccepting, StoreUnavailable
from federation_core.query import Query
from federation_core.tenancy import Scope
from webapp.ask import Accepted, Pipeline

HEADER = "Idempotency-Key"
_ROUTE = "POST /api/v1/queries"
#: A string of RFC 8941, or the bare text that many clients send.
_KEY = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\]){1,255})"|([!#-~]{1,255})')


def read_key(header: str | None) -> str:
    """Return the key of a request, empty where it has none.

    Raises InvalidRequest: the header is there and is no key.

    >>> read_key('"8e03978e"'), read_key("8e03978e"), read_key(None)
    ('8e03978e', '8e03978e', '')
    """
    if header is None:
        return ""
    found = _KEY.fullmatch(header.strip())
    if found is None:
        raise InvalidRequest(
            f"{HEADER} is not a key",
            field=HEADER,
            got=header,
            expected='1 to 255 visible ASCII characters, in quotes: "8e03978e-40d5-43e8-bc93-6894a57f9324"',
        )
    return re.sub(r'\\(["\\])', r"\1", found[1]) if found[1] else found[2]


def submit_once(asking: Pipeline, query: Query, scope: Scope, key: str, body: Mapping[str, Any]) -> Accepted:
    """Submit a query under a key, or return the job that the key stands for.

    Raises what `Pipeline.submit` raises, IdempotencyConflict, StillAccepting; QueryExpired if the job is gone.
    """
    query_id = asking.new_id()
    who = (scope.tenant_id, _ROUTE, key)
    sent = json.dumps([body, scope.hash], sort_keys=True).encode()
    taken = asking.idempotency.take(*who, sent, query_id)
    if taken.query_id != query_id:
        try:
            job = asking.job(scope, taken.query_id)
        except (QueryNotFound, QueryExpired):
            # It may also be written between our two looks at it, which then takes it for one that was and is gone.
            if taken.accepted:
                raise
            raise StillAccepting("the first request with this key is still being accepted", key=key) from None
        return Accepted(job.query_id, job.plan, job.created_ms)
    try:
        accepted = asking.submit(query, scope, query_id)
    except BaseException:
        # The reason is worth more than a store that fails while the key is given back; it frees itself.
        with suppress(StoreUnavailable):
            asking.idempotency.free(*who, query_id)
        raise
    asking.idempotency.accept(*who, query_id, query.timeout_ms + asking.settings.result_ttl_ms)
    return accepted
