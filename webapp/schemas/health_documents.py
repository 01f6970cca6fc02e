"""How a cluster is, for the OpenAPI document; the answers themselves are built in `schemas.health`."""

from __future__ import annotations

from marshmallow import Schema

from federation_core.health import Breaker
from webapp.schemas.documents import Int, List, Nested, Str, WorkerDocument, described, meanings, nullable
from webapp.schemas.health import BACKEND_STATUSES, CLUSTER_STATUSES


class BreakerDocument(Schema):
    """Whether a backend is asked."""

    state = Str(
        required=True,
        metadata=described(
            "closed: it is asked; open: it is not; half_open: one probe decides",
            enum=[state.value for state in Breaker],
        ),
    )
    sinceMs = nullable("integer", "since when it is not asked; null while it is")
    retryInMs = nullable("integer", "how long until one probe asks it; null while it is asked")
    failures = Int(required=True, metadata=described("how often in a row it has failed"))


class BackendHealthDocument(Schema):
    """How one backend of a cluster was when a worker last looked."""

    signal = Str(required=True, metadata=described("its entry in the configuration"))
    kind = Str(required=True)
    status = Str(
        required=True,
        metadata=described(meanings(BACKEND_STATUSES), enum=list(BACKEND_STATUSES)),
    )
    checkedAgeMs = nullable("integer", "how long ago a worker probed it; null if none ever did")
    latencyMs = nullable("integer", "how long that probe took")
    version = Str(required=True, metadata=described("name and release as it tells them; empty where it does not"))
    newestMs = nullable("integer", "the time of its newest data, as it told at most a minute before the last probe")
    newestAgeMs = nullable("integer", "how old those data are now")
    breaker = Nested(BreakerDocument, required=True)
    error = Str(required=True, metadata=described("why it is not up, in words; empty while it is and is asked"))


class ClusterHealthDocument(Schema):
    """How one member of the federation is."""

    name = Str(required=True)
    environment = Str(required=True)
    status = Str(required=True, metadata=described(meanings(CLUSTER_STATUSES), enum=list(CLUSTER_STATUSES)))
    worker = Nested(WorkerDocument, required=True)
    backends = List(Nested(BackendHealthDocument), required=True)
