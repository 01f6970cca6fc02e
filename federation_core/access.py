"""How a backend is reached: TLS, credentials and tenant, as the configuration names them.

Rule: a credential is named by the file that holds it and never stands in a configuration, nor in a URL. Nothing here
opens a file; who connects reads it, again for every request, so that a rotated secret is the one that is sent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

from federation_core.yaml_nodes import Node

_FILES = ("caFile", "certFile", "keyFile", "bearerTokenFile", "passwordFile")

_URL = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?(/[^?#\s]*)?")
_CREDENTIALS = re.compile(r"[a-z]+://[^/]*@")


@dataclass(frozen=True, slots=True)
class Access:
    """Files with certificates and secrets; empty is not used.

    `ca_file` replaces the machine's own trust; `cert_file` and `key_file` are ours for mutual TLS; `tenant` is sent as
    `X-Scope-OrgID`, by which Mimir and its kin choose whose data they answer from.
    """

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    bearer_token_file: str = ""
    username: str = ""
    password_file: str = ""
    tenant: str = ""


def read_access(node: Node, folder: str) -> Access:
    """Read the `access` of a backend; relative files are taken from `folder`.

    Raises InvalidConfig: with file and line.
    """
    entry = node.mapping((*_FILES, "username", "tenant"))

    def text(key: str) -> str:
        value = entry.get(key)
        return value.text() if value else ""

    ca, cert, key, token, password = (str(PurePath(folder) / name) if (name := text(k)) else "" for k in _FILES)
    if bool(cert) != bool(key):
        node.fail("`certFile` and `keyFile` are given together: a certificate is of no use without its key")
    if bool(text("username")) != bool(password):
        node.fail("`username` and `passwordFile` are given together")
    if token and password:
        node.fail("`bearerTokenFile` and `passwordFile` exclude each other: a request has one Authorization")
    tenant = text("tenant")
    if not (tenant.isascii() and tenant.isprintable()):
        node.fail(f"tenant: {tenant!r} cannot be sent in a header; use printable ASCII characters")
    return Access(ca, cert, key, token, text("username"), password, tenant)


def require_url(node: Node) -> None:
    """Refuse what is no address of a backend.

    Raises InvalidConfig: with file and line.
    """
    text = node.text()
    if _CREDENTIALS.match(text):
        node.fail("a URL holds no credentials; name the files that do under `access`")
    found = _URL.fullmatch(text)
    if found is None or int(found["port"] or 1) not in range(1, 65_536):
        node.fail(f"{text!r} is not a URL; it is http:// or https://, a host, a port or none, and a path or none")
