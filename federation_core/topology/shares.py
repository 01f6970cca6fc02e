"""How the cap of shards in flight is shared between clusters: by weight.

Rule: the shares together never exceed the cap, and every cluster has at least one place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from federation_core.errors import InvalidConfig


def shares(weights: Mapping[str, float], cap: int) -> dict[str, int]:
    """Return how many of `cap` places are each cluster's own, its weight's share rounded down.

    >>> shares({"dev": 1, "prod": 3}, 10)
    {'dev': 2, 'prod': 7}

    Raises InvalidConfig: the cap is too small for the lightest cluster to have a place; says which cap would do.
    """
    whole = math.fsum(weights.values())
    # Of three equal weights each has a third, also where the third of them is 0.99999 in floating point.
    own = {name: math.floor(cap * weight / whole + 1e-9) for name, weight in weights.items()}
    for name, places in own.items():
        if places < 1:
            needed = math.ceil(whole / weights[name])
            raise InvalidConfig(
                f"MAX_SHARDS_IN_FLIGHT: {cap} leaves cluster {name} (weight {weights[name]:g} of {whole:g}) no place;"
                f" at least {needed}"
            )
    return own
