"""Façades: paths under which the tools that know another system find its API, answered by the federation.

Rule: a façade is the same pipeline as every other route, in another dress: parameters, envelope and errors are those of
the original. Each also exists below `/strict`, where an answer that lacks a cluster is an error, for alert rules.
"""

from __future__ import annotations

from collections.abc import Mapping

from flask import Flask

from webapp.errors import Shape
from webapp.facades import prometheus, prometheus_discovery
from webapp.facades.prometheus_envelope import SHAPE

#: Where Prometheus' API lies, and what the names of its routes begin with.
_PROMETHEUS = {"/prometheus": "", "/strict/prometheus": "strict_"}
#: Path prefix → how its errors look, those included that no route of the façade has seen.
SHAPES: Mapping[str, Shape] = {f"{prefix}/": SHAPE for prefix in _PROMETHEUS}


def register(app: Flask) -> None:
    """Register every façade, and its strict twin."""
    for module in (prometheus, prometheus_discovery):
        for prefix, named in _PROMETHEUS.items():
            app.register_blueprint(module.blueprint, name=named + module.blueprint.name, url_prefix=prefix)
