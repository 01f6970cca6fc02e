"""Every failure test there is, put to a stack whose cluster workers are 80 ms of round trip away from Redis.

The claims are those of the modules named here, with nothing changed but the fixtures (`conftest`); a test that is added
to one of them is run here too. All of them take minutes, so most wait to be asked for: APPSENTRY_WIDE_AREA=all.
"""

from __future__ import annotations

import pytest

from tests.integration import (
    test_cancel,
    test_lost_merge_workers,
    test_lost_workers,
    test_redis_outage,
)
from tests.integration.failures import test_centre, test_clusters
from tests.integration.test_cancel import one_thread

__all__ = ["one_thread"]

pytestmark = pytest.mark.heavy
MODULES = (
    test_centre,
    test_clusters,
    test_lost_workers,
    test_lost_merge_workers,
    test_cancel,
    test_redis_outage,
)
for _module in MODULES:
    globals().update({name: claim for name, claim in vars(_module).items() if name.startswith("test_")})
