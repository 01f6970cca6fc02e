"""What customers do in the simulated shop: one call tree per kind of request.

The shape is measured on a real recorded run (docs/demo.md): which service calls which, how often per call of
the caller, and in what depth; calls run one after another, as they did there. Names and operations are ours,
and so is the mix: light requests are more frequent here, so that a small load still gives a steady rate.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One edge of a call tree: `mean_calls` calls of `operation` per call of the caller.

    A mean of 1.3 is one call, and in 30 % of cases a second one.
    """

    service: str
    operation: str
    mean_calls: float
    calls: tuple["Call", ...] = ()

    def edges(self, calls_of_caller: float = 1.0) -> Iterator[tuple[str, str, float]]:
        """Yield (caller, callee, mean calls per request) for every edge below this call."""
        for call in self.calls:
            mean = calls_of_caller * call.mean_calls
            yield self.service, call.service, mean
            yield from call.edges(mean)


@dataclass(frozen=True, slots=True)
class Topic:
    """A message that a successful call of a service sends, and the services that take it up later."""

    name: str
    consumers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Journey:
    """One kind of request: its share of all requests, and its call tree from the gateway down."""

    name: str
    weight: float
    root: Call

    def edges(self) -> Mapping[tuple[str, str], float]:
        """Return the mean calls per request of every (caller, callee) pair."""
        means: dict[tuple[str, str], float] = {}
        for caller, callee, mean in self.root.edges():
            means[caller, callee] = means.get((caller, callee), 0.0) + mean
        return means

    def services(self) -> frozenset[str]:
        """Return the names of all services that this journey can touch."""
        return frozenset({self.root.service, *(callee for _, callee in self.edges())})


def _through_gateway(operation: str, service: str, *calls: Call) -> Call:
    return Call("gateway", operation, 1.0, (Call(service, operation, 1.0, calls),))


def _catalog(mean_calls: float, per_item: float, categories: float) -> Call:
    return Call(
        "catalog", "GET /items/{sku}", mean_calls,
        (
            Call("categories", "GET /categories/{id}", categories),
            Call("products", "GET /products/{sku}", per_item),
            Call("stock", "GET /stock/{sku}", per_item),
            Call("pricing", "GET /prices/{sku}", per_item),
        ),
    )  # fmt: skip


def _reservations(mean_calls: float, orders: str, *, with_settings: bool = True) -> Call:
    asked = (Call(orders, "GET /" + orders + "/open", 1.0),)
    settings = (Call("settings", "GET /settings/reservations", 1.0),) if with_settings else ()
    return Call("reservations", "GET /reservations/{sku}", mean_calls, asked + settings)


def _checkout_calls(
    orders: str, offer: str, *, addresses: float, fraud: float, offers: float, place: float,
    accounts: float, catalog: float, warranties: float, baskets: float,
) -> tuple[Call, ...]:  # fmt: skip
    """Return the calls of a checkout in their order; the means differ between the two kinds of checkout."""
    return (
        Call("fraud", "POST /assessments", fraud, (
            Call("orders", "GET /orders/by-customer/{id}", 1.0),
            Call("marketplace-orders", "GET /marketplace-orders/by-customer/{id}", 1.0),
        )),
        Call("addresses", "GET /addresses/{id}", addresses),
        Call(offer, "GET /" + offer + "/offers/{sku}", offers, (
            _catalog(1.0, 1.0, 2.0), _reservations(2.0, orders),
        )),
        _catalog(catalog, 1.0, 2.0),
        _reservations(place, orders, with_settings=False),
        Call(orders, "POST /" + orders, place),
        Call("warranties", "POST /warranties", warranties),
        Call("baskets", "POST /baskets/{id}/pack", baskets, (Call("parcels", "GET /parcels/sizes", 2.0),)),
        Call("accounts", "GET /accounts/{id}", accounts),
    )  # fmt: skip


JOURNEYS: Final[dict[str, Journey]] = {
    journey.name: journey
    for journey in (
        Journey("sign-in", 0.17, _through_gateway(
            "POST /sessions", "sessions", Call("challenges", "POST /challenges/verify", 1.0),
        )),
        Journey("track", 0.17, _through_gateway(
            "GET /tracking/{order}", "tracking",
            Call("orders", "GET /orders/{id}", 1.313),
            Call("marketplace-orders", "GET /marketplace-orders/{id}", 0.608),
        )),
        Journey("basket", 0.15, _through_gateway(
            "GET /baskets/{id}", "baskets",
            Call("vouchers", "GET /vouchers/by-basket/{id}", 0.93),
            Call("search", "GET /search/similar/{sku}", 0.924, (Call("stock", "GET /stock/{sku}", 1.0),)),
            Call("bundles", "GET /bundles/{sku}", 0.924),
        )),
        Journey("search", 0.12, _through_gateway(
            "GET /search", "search", _catalog(0.931, 0.946, 1.0), _reservations(3.247, "orders"),
        )),
        Journey("browse", 0.12, _through_gateway(
            "GET /browse/{category}", "browse",
            _catalog(0.924, 0.984, 1.0), _reservations(1.623, "marketplace-orders"),
        )),
        Journey("pay", 0.15, _through_gateway(
            "POST /payments", "payments",
            Call("orders", "GET /orders/{id}", 1.064),
            Call("marketplace-orders", "GET /marketplace-orders/{id}", 0.689),
            Call("cards", "POST /cards/charge", 0.758),
        )),
        Journey("checkout", 0.04, _through_gateway("POST /checkout", "checkout", *_checkout_calls(
            "orders", "search", addresses=0.985, fraud=0.99, offers=0.969, place=0.845,
            accounts=0.83, catalog=0.861, warranties=0.464, baskets=0.361,
        ))),
        Journey("express", 0.03, _through_gateway("POST /express-checkout", "express-checkout", *_checkout_calls(
            "marketplace-orders", "browse", addresses=1.0, fraud=1.0, offers=0.863, place=0.719,
            accounts=0.633, catalog=0.77, warranties=0.317, baskets=0.295,
        ))),
        Journey("return", 0.05, _through_gateway(
            "POST /returns", "returns",
            Call("orders", "PATCH /orders/{id}", 1.735),
            Call("marketplace-orders", "GET /marketplace-orders/{id}", 0.529),
            Call("payments", "POST /payments/{id}/refund", 1.0),
            Call("accounts", "GET /accounts/{id}", 0.735),
        )),
    )
}  # fmt: skip

# Asynchronous work is ours: the recording has none.
TOPICS: Final[dict[str, Topic]] = {
    "checkout": Topic("order.placed", ("invoices", "notifications")),
    "express-checkout": Topic("order.placed", ("invoices", "notifications")),
    "payments": Topic("payment.settled", ("ledger",)),
    "returns": Topic("order.returned", ("notifications",)),
}
CONSUMERS: Final = frozenset(consumer for topic in TOPICS.values() for consumer in topic.consumers)
