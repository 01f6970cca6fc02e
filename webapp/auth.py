"""Who asks: a verified token, or the one open scope of a single machine, becomes a `Scope`.

Rule: this is the only place that reads a tenant. Every route needs a scope unless it is marked public, so that a
forgotten mark closes a route and never opens one. All faults of a token look the same from outside.
Source: RFC 7519 (JWT) and RFC 8725 (its current practice: one pinned algorithm, `exp` required).
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import urlsplit

import re2
from flask import Flask, current_app, g, request
from flask_jwt_extended import JWTManager, verify_jwt_in_request
from flask_jwt_extended.exceptions import JWTExtendedException
from jwt.exceptions import PyJWTError

from federation_core.config import Settings
from federation_core.errors import ScopeViolation, Unauthenticated
from federation_core.labels import Matcher, MatchOp
from federation_core.tenancy import Limits, Scope
from webapp.request_log import note

#: The tenant of every request where authentication is off.
OPEN_TENANT = "local"
_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
#: What a proxy adds. Behind one, every caller would look like loopback.
_PROXY_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")
_TENANT_BYTES = 200
#: More than any federation can run.
_MOST_JOBS = 1_000_000

_log = logging.getLogger(__name__)
View = TypeVar("View", bound=Callable[..., Any])


def public(view: View) -> View:
    """Mark a view as open to everyone: probes and documentation, nothing that holds a tenant's data."""
    view.public = True  # type: ignore[attr-defined]
    return view


def install(app: Flask, settings: Settings) -> None:
    """Guard every route of the application.

    Raises InvalidConfig: authentication is on and there is no key fit for it.
    """
    settings.auth.require_key()
    if settings.auth.enabled:
        _configure_tokens(app, settings)
    else:
        _log.warning("AUTH_ENABLED is false: one open scope over every cluster, for requests on loopback only")

    def guard() -> None:
        view = current_app.view_functions.get(request.endpoint or "")
        # Without an endpoint the request ends as 404 or 405, and OPTIONS with the methods of a route: it tells nobody
        # anything, reaches no view, and a browser that asks so sends no token.
        if view is not None and not getattr(view, "public", False) and not _asks_for_methods():
            g.scope = _token_scope(settings) if settings.auth.enabled else _open_scope(settings)
            note(tenant_id=g.scope.tenant_id)

    app.before_request(guard)


def _asks_for_methods() -> bool:
    """Tell whether the framework answers the request itself, from the list of routes."""
    return request.method == "OPTIONS" and getattr(request.url_rule, "provide_automatic_options", False)


def scope() -> Scope:
    """Return what the caller of this request may see."""
    found: Scope = g.scope
    return found


def _configure_tokens(app: Flask, settings: Settings) -> None:
    auth = settings.auth
    app.config.update(
        JWT_TOKEN_LOCATION=["headers"],
        JWT_ALGORITHM=auth.algorithm,
        JWT_DECODE_ALGORITHMS=[auth.algorithm],
        JWT_SECRET_KEY=auth.key,
        JWT_PUBLIC_KEY=auth.key,
        JWT_DECODE_ISSUER=auth.issuer or None,
        JWT_DECODE_AUDIENCE=auth.audience or None,
        # The one claim the library can be told to require. Who the tenant is, is decided below.
        JWT_IDENTITY_CLAIM="exp",
        JWT_VERIFY_SUB=False,
    )
    JWTManager(app)


def _token_scope(settings: Settings) -> Scope:
    try:
        verified = verify_jwt_in_request()
    except (JWTExtendedException, PyJWTError, ValueError, TypeError) as exc:
        # The library's answers differ by fault (401, 422, 500), and each would teach a forger something.
        _log.info("token refused: %s", type(exc).__name__)
        raise Unauthenticated("this route needs a valid bearer token") from None
    claims = verified[1] if verified else {}
    tenant_id = _tenant_id(claims)
    allowed = _allowed(claims, tenant_id, frozenset(cluster.name for cluster in settings.clusters))
    if not allowed:
        raise ScopeViolation("the token's `clusters` claim opens no configured cluster")
    roles = claims.get("roles")
    return Scope(
        tenant_id=tenant_id,
        allowed=allowed,
        subject=str(claims.get("sub", "")),
        roles=tuple(role for role in roles if isinstance(role, str)) if isinstance(roles, list) else (),
        limits=_limits(claims, settings),
    )


def _limits(claims: Mapping[str, Any], settings: Settings) -> Limits:
    """Read the `maxRunningJobs` claim; without it the setting holds."""
    most = claims.get("maxRunningJobs", settings.max_running_jobs)
    if not isinstance(most, int) or isinstance(most, bool) or not 1 <= most <= _MOST_JOBS:
        raise ScopeViolation(f"the token's `maxRunningJobs` claim is not a whole number from 1 to {_MOST_JOBS}")
    return Limits(max_running_jobs=most)


def _tenant_id(claims: Mapping[str, Any]) -> str:
    tenant = claims.get("tenant", claims.get("sub"))
    try:
        size_bytes = len(tenant.encode()) if isinstance(tenant, str) else 0
    except UnicodeEncodeError:
        size_bytes = 0
    if not 0 < size_bytes <= _TENANT_BYTES:
        raise ScopeViolation(f"the token names no tenant: `tenant` or `sub` is a text of 1 to {_TENANT_BYTES} bytes")
    return str(tenant)


def _allowed(claims: Mapping[str, Any], tenant_id: str, known: frozenset[str]) -> dict[str, tuple[Matcher, ...]]:
    """Read the `clusters` claim: a list of names, or a mapping from a name to its namespaces."""
    claim = claims.get("clusters")
    if claim is None:
        raise ScopeViolation("the token has no `clusters` claim, so it opens no cluster")
    if isinstance(claim, list):
        claim = dict.fromkeys((name for name in claim if isinstance(name, str)), "*")
    if not isinstance(claim, dict):
        raise ScopeViolation("the token's `clusters` claim is neither a list of names nor a mapping to namespaces")
    unknown = tuple(sorted(set(claim) - known))
    if unknown:
        _log_unknown(tenant_id, unknown)
    conditions = {name: _conditions(claim[name]) for name in sorted(set(claim) & known)}
    return {name: matchers for name, matchers in conditions.items() if matchers is not None}


def _conditions(namespaces: Any) -> tuple[Matcher, ...] | None:
    """Return what every selector must carry; None opens nothing."""
    if namespaces == "*" or namespaces == ["*"]:
        return ()
    if not isinstance(namespaces, list) or not all(isinstance(name, str) for name in namespaces):
        raise ScopeViolation('the token\'s `clusters` claim maps a cluster to neither a list of namespaces nor "*"')
    names = sorted({name for name in namespaces if name and name != "*"})
    if "*" in namespaces:
        return ()
    if not names:
        return None
    if len(names) == 1:
        return (Matcher("namespace", MatchOp.EQ, names[0]),)
    return (Matcher("namespace", MatchOp.RE, "|".join(re2.escape(name) for name in names)),)


@lru_cache(maxsize=1024)
def _log_unknown(tenant_id: str, names: tuple[str, ...]) -> None:
    """Say it once per tenant and process, not once per request."""
    _log.warning("a token names clusters that are not configured", extra={"tenant_id": tenant_id, "clusters": names})


def _open_scope(settings: Settings) -> Scope:
    reason = _why_not_local()
    if reason:
        raise ScopeViolation(f"AUTH_ENABLED=false opens one scope for requests on loopback only; {reason}")
    allowed: dict[str, tuple[Matcher, ...]] = {cluster.name: () for cluster in settings.clusters}
    return Scope(OPEN_TENANT, allowed, subject=OPEN_TENANT, limits=_limits({}, settings))


def _why_not_local() -> str:
    """Say why this request may come from elsewhere; empty if it cannot."""
    try:
        address = ipaddress.ip_address(request.remote_addr or "")
    except ValueError:
        return "this one has no address"
    address = getattr(address, "ipv4_mapped", None) or address
    if not address.is_loopback:
        return f"this one comes from {address}"
    forwarded = [name for name in _PROXY_HEADERS if name in request.headers]
    if forwarded:
        return f"this one came through a proxy ({forwarded[0]})"
    # A page elsewhere can point its own name at 127.0.0.1; the browser then still sends that name.
    try:
        host = urlsplit(f"//{request.host}").hostname
    except ValueError:
        host = None
    if host not in _LOOPBACK_HOSTS:
        return f"this one asks for the host {host}"
    return ""
