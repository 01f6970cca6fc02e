"""What the services of the simulated shop write into their logs: all of it invented here.

A line is a format string over the request's facts (`order`, `sku`, `customer`, `count`, `amount`, `ms`).
Services in `PLAIN` write a plain line, all others one JSON object per line, as in any shop with a history.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PLAIN: Final = frozenset(
    {"gateway", "challenges", "orders", "marketplace-orders", "cards", "stock", "settings", "media", "ledger"}
)
INFO: Final[dict[str, tuple[str, ...]]] = {
    "gateway": ("{operation} from {customer} routed",),
    "storefront": ("page bundle served from disk, {count} files",),
    "sessions": ("password of {customer} checked", "session opened for {customer}", "old sessions swept: {count}"),
    "challenges": ("challenge issued for {customer}", "challenge of {customer} solved", "{count} challenges left"),
    "search": ("similar articles for {sku}: {count}", "ranking with {count} candidates", "facet cache hit for {sku}",
               "offer for {sku} at {amount}"),
    "browse": ("shelf of {sku} has {count} articles", "{count} articles sorted", "offer for {sku} at {amount}"),
    "tracking": ("order {order} is with the carrier", "{count} scans of order {order}"),
    "avatars": ("thumbnails built: {count}",),
    "banners": ("campaign plan reloaded, {count} banners active",),
    "wishlists": ("reminders prepared for {count} wish lists",),
    "checkout": ("checkout of {order} started", "basket of {customer} has {count} articles", "address set for {order}",
                 "offer for {sku} confirmed at {amount}", "order {order} placed for {customer}"),
    "express-checkout": ("express checkout of {order} started", "default address taken for {customer}",
                         "offer for {sku} confirmed at {amount}", "order {order} placed in one step"),
    "orders": ("order {order} read", "{count} open orders hold {sku}", "order {order} changed by {customer}"),
    "marketplace-orders": ("order {order} read from marketplace", "{count} marketplace orders hold {sku}"),
    "reservations": ("{count} pieces of {sku} reserved", "reservation window is {ms} ms", "free of {sku}: {count}",
                     "hold on {sku} extended for {customer}"),
    "fraud": ("{customer} scored {count} of 100", "last orders of {customer}: {count}", "assessment of {order} passed"),
    "addresses": ("{count} addresses of {customer}", "address of {customer} is deliverable"),
    "warranties": ("warranty offered for {sku} at {amount}", "warranty terms of {sku} read"),
    "payments": ("payment of {amount} for {order} settled", "{order} has {count} earlier payments"),
    "cards": ("card charged {amount} for {order}",),
    "returns": ("return of {order} requested", "{count} articles of {order} can go back", "label printed for {order}",
                "refund of {amount} asked for {order}"),
    "baskets": ("basket of {customer} loaded", "{count} articles in basket of {customer}", "basket total is {amount}"),
    "bundles": ("{count} bundles hold {sku}",),
    "vouchers": ("{count} vouchers fit the basket of {customer}",),
    "parcels": ("{sku} fits into size {count}", "parcel sizes sent"),
    "invoices": ("invoice written for {order}: {amount}",),
    "ledger": ("booked {amount} for {order}",),
    "refunds": ("{count} refunds matched with the bank's file",),
    "payouts": ("payout run finished, {count} sellers",),
    "catalog": ("item {sku} put together in {ms} ms", "{count} variants of {sku}", "asked stock and price of {sku}",
                "item {sku} kept for {ms} ms"),
    "stock": ("{sku}: {count} in stock",),
    "pricing": ("{sku} costs {amount}", "price list of {sku} has {count} steps"),
    "categories": ("path of {sku} has {count} levels",),
    "products": ("product {sku} read",),
    "settings": ("settings read by reservations", "{count} keys sent"),
    "accounts": ("account {customer} read",),
    "notifications": ("mail about {order} sent to {customer}",),
    "media": ("{count} pictures resized",),
    "warehouses": ("opening hours of {count} warehouses checked",),
    "search-index": ("{count} documents refreshed",),
    "exchange-rates": ("{count} rates fetched",),
}  # fmt: skip
WARN: Final[dict[str, str]] = {
    "challenges": "challenge of {customer} took a second try",
    "checkout": "offer for {sku} changed during checkout",
    "express-checkout": "no default address for {customer}",
    "orders": "slow query: open orders of {sku} took {ms} ms",
    "marketplace-orders": "marketplace answered late: {ms} ms",
    "payments": "card of {customer} needs a second confirmation",
}
# The internal span of services that work on what they were answered.
WORK: Final[dict[str, str]] = {
    "catalog": "put item together",
    "search": "rank candidates",
    "checkout": "confirm basket",
    "express-checkout": "confirm basket",
}
REFUSED: Final = "wrong password for {customer}"
WITHOUT: Final = "{callee} did not answer, going on without it"
CALL_FAILED: Final = "call to {callee} failed with status {status}"
FAILED: Final = "request failed: {reason}"

_LEVEL_NUMBERS: Final = {"INFO": 9, "WARN": 13, "ERROR": 17}


@dataclass(frozen=True, slots=True)
class Fault:
    """How a service fails: the exception it reports, and where in its (invented) code that happens."""

    type: str
    message: str
    stack: tuple[str, ...]

    @property
    def stacktrace(self) -> str:
        """Return the text of a stack trace, innermost frame first."""
        return "\n".join((f"{self.type}: {self.message}", *(f"    at {frame}" for frame in self.stack)))


_ACQUIRER: Final = Fault(
    "shop.payments.AcquirerTimeout",
    "card acquirer gave no answer within 2000 ms",
    (
        "shop.payments.acquirer.Connection.await(Connection.java:214)",
        "shop.payments.acquirer.Acquirer.authorize(Acquirer.java:88)",
        "shop.payments.Settlement.settle(Settlement.java:131)",
        "shop.payments.http.PaymentsResource.post(PaymentsResource.java:57)",
    ),
)


def fault_of(service: str) -> Fault:
    """Return how `service` fails when it fails by itself."""
    if service == "payments":
        return _ACQUIRER
    package = "shop." + service.replace("-", "")
    return Fault(
        f"{package}.PoolExhausted",
        "no free connection in the pool of 20",
        (f"{package}.Pool.take(Pool.java:71)", f"{package}.Resource.handle(Resource.java:42)"),
    )


def severity_number(level: str) -> int:
    """Return OpenTelemetry's severity number of `level` (INFO, WARN or ERROR)."""
    return _LEVEL_NUMBERS[level]


def line(service: str, level: str, text: str, facts: Mapping[str, object], **more: object) -> str:
    """Return the body of a log record: `text` filled with the facts, in the style of `service`."""
    message = text.format_map({**facts, **more})
    if service in PLAIN:
        return f"{level:<5} [{service}] {message}"
    entry = {"level": level.lower(), "logger": service, "message": message}
    if "customer" in facts:
        entry["customer"] = str(facts["customer"])
    return json.dumps(entry)
