"""The services of the simulated shop and the figures each of them runs by.

Names, places and versions are ours. The numbers in a row were measured on a real recorded run of an
application of the same size (docs/demo.md says which and how): quantiles of the time a call spends in the
service itself, log lines per call by level, CPU and resident memory per pod. Nothing else of the recording
is here.
"""

from dataclasses import dataclass, field
from math import exp, log
from typing import Final

_PROBABILITIES: Final = (0.0, 0.1, 0.5, 0.9, 0.99, 1.0)
# The recorded services write twice as much as a two-hour history of a laptop's demo can afford.
LOG_LINES_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Latency:
    """Quantiles (10, 50, 90, 99 %) of a call's own time in ms, its calls to others not included."""

    p10_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    _log_ms: tuple[float, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        ends = (self.p10_ms * 0.7, self.p10_ms, self.p50_ms, self.p90_ms, self.p99_ms, self.p99_ms * 1.2)
        object.__setattr__(self, "_log_ms", tuple(log(value) for value in ends))

    def at(self, probability: float) -> float:
        """Return the own time in ms below which the share `probability` (0 … 1) of all calls lies.

        Between the measured quantiles the logarithm is interpolated, which keeps the long tail's shape.
        """
        upper = 1
        while probability > _PROBABILITIES[upper]:
            upper += 1
        low, high = _PROBABILITIES[upper - 1], _PROBABILITIES[upper]
        below, above = self._log_ms[upper - 1], self._log_ms[upper]
        return exp(below + (above - below) * (probability - low) / (high - low))


@dataclass(frozen=True, slots=True)
class Service:
    """One service: where production runs it, and its figures.

    `home` is the production cluster; `info_lines` and `warn_lines` are means per call; `store` names the
    database a call asks, if any; `refuses` is the share of calls answered 401, which is no fault; a caller
    of an `optional` service goes on without it when it fails.
    """

    name: str
    home: str
    namespace: str
    version: str
    latency: Latency
    info_lines: float
    warn_lines: float
    cpu_millicores: float
    memory_mib: int
    production_pods: int = 1
    store: str = ""
    refuses: float = 0.0
    optional: bool = False


def _service(
    name: str, home: str, namespace: str, version: str, own_ms: tuple[float, float, float, float],
    lines: tuple[float, float], cpu_millicores: float, memory_mib: int, *,
    production_pods: int = 1, store: str = "", refuses: float = 0.0, optional: bool = False,
) -> Service:  # fmt: skip
    info, warn = lines
    return Service(
        name, home, namespace, version, Latency(*own_ms), info * LOG_LINES_SHARE, warn * LOG_LINES_SHARE,
        cpu_millicores, memory_mib, production_pods, store, refuses, optional,
    )  # fmt: skip


# A row: name, cluster, namespace, version, own time (p10, p50, p90, p99 in ms), (info, warn) lines per call,
# CPU (millicores), memory (MiB). A service without calls in any journey only works on its own and has no
# latency worth measuring: its row says _QUIET.
_QUIET: Final = (2.0, 4.0, 15.0, 40.0)
_ROWS: Final = (
    # prod: what customers meet
    _service("gateway", "prod", "platform", "4.2.1", (4.94, 5.93, 8.57, 226.06), (1.0, 0), 44.5, 613,
             production_pods=2),
    _service("storefront", "prod", "shop", "7.0.3", _QUIET, (1.0, 0), 0.8, 24),
    _service("sessions", "prod", "platform", "2.8.0", (154.63, 174.75, 222.45, 443.99), (3.0, 0), 8.2, 451,
             refuses=0.04),
    _service("challenges", "prod", "platform", "1.3.4", (2.28, 3.1, 4.09, 11.68), (3.0, 1.0), 2.1, 391, store="redis"),
    _service("search", "prod", "shop", "5.11.0", (8.46, 18.11, 251.53, 491.27), (11.52, 0), 6.2, 489),
    _service("browse", "prod", "shop", "5.11.0", (14.15, 20.59, 236.17, 263.17), (6.94, 0), 6.2, 480),
    _service("tracking", "prod", "shop", "1.9.2", (6.96, 10.12, 15.66, 165.87), (2.92, 0), 2.3, 416),
    _service("avatars", "prod", "shop", "1.0.7", _QUIET, (1.0, 0), 0.5, 31),
    _service("banners", "prod", "shop", "2.2.0", _QUIET, (1.0, 0), 1.3, 363),
    _service("wishlists", "prod", "shop", "1.4.1", _QUIET, (1.0, 0), 1.7, 351),
    # app-prod: orders and money
    _service("checkout", "app-prod", "shop", "3.6.2", (23.81, 38.26, 185.15, 526.2), (15.47, 0.005), 4.3, 451),
    _service("express-checkout", "app-prod", "shop", "1.2.0", (18.73, 39.01, 66.18, 338.39), (15.09, 0.007), 4.5, 455),
    _service("orders", "app-prod", "shop", "6.1.5", (2.07, 4.58, 25.5, 386.8), (1.37, 0.592), 11.6, 454,
             production_pods=2, store="postgresql"),
    _service("marketplace-orders", "app-prod", "shop", "2.0.9", (2.04, 4.05, 14.24, 26.94), (1.41, 0.488), 7.3, 444,
             store="postgresql"),
    _service("reservations", "app-prod", "shop", "3.3.0", (8.68, 13.41, 52.54, 264.83), (4.94, 0), 14.4, 438,
             production_pods=2),
    _service("fraud", "app-prod", "payments", "0.9.8", (10.25, 13.71, 20.79, 201.06), (4.0, 0), 3.1, 402),
    _service("addresses", "app-prod", "shop", "1.5.3", (9.56, 11.53, 15.85, 371.53), (3.81, 0), 5.6, 456,
             store="mongodb"),
    _service("warranties", "app-prod", "shop", "1.1.0", (11.22, 15.46, 27.83, 78.41), (2.0, 0), 2.3, 422,
             optional=True),
    _service("payments", "app-prod", "payments", "4.0.2", (16.04, 51.97, 226.4, 520.79), (1.52, 0.153), 8.7, 502,
             store="postgresql"),
    _service("cards", "app-prod", "payments", "2.5.1", (18.57, 24.5, 39.05, 94.42), (1.0, 0), 4.1, 454),
    _service("returns", "app-prod", "shop", "1.8.4", (33.52, 43.43, 124.75, 520.8), (13.26, 0), 6.6, 432),
    _service("baskets", "app-prod", "shop", "3.1.7", (2.1, 14.28, 24.91, 309.08), (3.87, 0), 4.4, 510, store="redis"),
    _service("bundles", "app-prod", "shop", "1.0.2", (11.09, 15.89, 24.22, 190.33), (1.0, 0), 4.4, 431, optional=True),
    _service("vouchers", "app-prod", "shop", "2.3.0", (6.04, 8.94, 18.63, 29.89), (1.0, 0), 2.9, 412, optional=True),
    _service("parcels", "app-prod", "shop", "1.6.0", (0.9, 3.14, 17.49, 29.14), (1.5, 0), 2.4, 434),
    _service("invoices", "app-prod", "payments", "1.7.1", (4.0, 9.0, 21.0, 80.0), (1.0, 0), 3.5, 406,
             store="postgresql"),
    _service("ledger", "app-prod", "payments", "3.0.0", (3.0, 7.0, 18.0, 60.0), (1.0, 0), 1.5, 408, store="postgresql"),
    _service("refunds", "app-prod", "payments", "1.2.6", _QUIET, (1.0, 0), 1.5, 359),
    _service("payouts", "app-prod", "payments", "0.8.3", _QUIET, (1.0, 0), 3.2, 365),
    # shared-services: what every application asks
    _service("catalog", "shared-services", "shop", "8.4.0", (12.89, 19.45, 248.13, 481.94), (9.05, 0), 7.0, 431,
             production_pods=2),
    _service("stock", "shared-services", "shop", "5.0.6", (10.12, 14.88, 18.52, 62.38), (1.0, 0), 8.6, 446,
             production_pods=2, store="postgresql"),
    _service("pricing", "shared-services", "shop", "2.9.9", (4.34, 5.62, 7.26, 13.87), (1.32, 0), 6.2, 461),
    _service("categories", "shared-services", "shop", "1.1.8", (1.84, 3.0, 5.71, 13.46), (1.0, 0), 3.6, 436),
    _service("products", "shared-services", "shop", "4.7.2", (4.22, 5.54, 7.45, 13.31), (1.0, 0), 6.6, 453,
             store="mongodb"),
    _service("settings", "shared-services", "platform", "1.0.0", (1.45, 2.01, 2.91, 3.93), (2.0, 0), 3.6, 433),
    _service("accounts", "shared-services", "platform", "3.4.5", (4.62, 6.81, 12.79, 26.06), (1.0, 0), 3.0, 441,
             store="postgresql"),
    _service("notifications", "shared-services", "platform", "2.1.0", (5.0, 12.0, 40.0, 150.0), (1.0, 0), 1.8, 393),
    _service("media", "shared-services", "shop", "1.2.2", _QUIET, (1.0, 0), 0.6, 46),
    _service("warehouses", "shared-services", "shop", "0.5.0", _QUIET, (1.0, 0), 0.5, 47),
    _service("search-index", "shared-services", "shop", "2.6.1", _QUIET, (1.0, 0), 1.6, 362),
    _service("exchange-rates", "shared-services", "payments", "1.0.9", _QUIET, (1.0, 0), 3.6, 413),
)  # fmt: skip

SERVICES: Final[dict[str, Service]] = {service.name: service for service in _ROWS}
