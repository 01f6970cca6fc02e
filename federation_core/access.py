"""How a backend is reached: TLS, credentials and tenant, as the configuration names them.

Rule: a credential is named by the file that holds it and never stands in a configuration, nor in a URL. Nothing here
opens a file; who connects reads it, again for every request, so that a rotated secret is the one that is sent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

from federation_core.yaml_nodes import Node

_FILES = ("caFile", "certFile", "keyFile", "bearerTokenFile", "passwordFile", "proxyPasswordFile")
_TEXTS = ("username", "tenant", "proxyUrl", "proxyUsername")

_URL = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?(/[^?#\s]*)?")
_PROXY = re.compile(r"http://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})/?")
_CREDENTIALS = re.compile(r"[a-z]+://[^/]*@")


@dataclass(frozen=True, slots=True)
class Access:
    """Files with certificates and secrets; empty is not used.

    `ca_file` replaces the machine's own trust; `cert_file` and `key_file` are ours for mutual TLS; `tenant` is sent as
    `X-Scope-OrgID`, by which Mimir and its kin choose whose data they answer from. `proxy_url` is a proxy of HTTP, by
    which the backend is reached; over TLS it only passes on what it cannot read.
    """

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    bearer_token_file: str = ""
    username: str = ""
    password_file: str = ""
    tenant: str = ""
    proxy_url: str = ""
    proxy_username: str = ""
    proxy_password_file: str = ""


def read_access(node: Node, folder: str) -> Access:
    """Read the `access` of a backend; relative files are taken from `folder`.

    Raises InvalidConfig: with file and line.
    """
    entry = node.mapping((*_FILES, *_TEXTS))

    def text(key: str) -> str:
        value = entry.get(key)
        return value.text() if value else ""

    files = (str(PurePath(folder) / name) if (name := text(key)) else "" for key in _FILES)
    ca, cert, key, token, password, proxy_password = files
    username, tenant, proxy_url, proxy_username = (text(key) for key in _TEXTS)
    if bool(cert) != bool(key):
        node.fail("`certFile` and `keyFile` are given together: a certificate is of no use without its key")
    if bool(username) != bool(password):
        node.fail("`username` and `passwordFile` are given together")
    if bool(proxy_username) != bool(proxy_password):
        node.fail("`proxyUsername` and `proxyPasswordFile` are given together")
    if proxy_username and not proxy_url:
        node.fail("`proxyUsername` is for a proxy, and there is no `proxyUrl`")
    if token and password:
        node.fail("`bearerTokenFile` and `passwordFile` exclude each other: a request has one Authorization")
    for name, value in zip(_TEXTS, (username, tenant, "", proxy_username), strict=True):
        if not (value.isascii() and value.isprintable()):
            node.fail(f"{name}: {value!r} cannot be sent in a header; use printable ASCII characters")
    if ":" in username + proxy_username:
        node.fail("a user name holds no colon: it ends where the password begins")
    if (proxy := entry.get("proxyUrl")) is not None:
        _require_proxy(proxy)
    return Access(ca, cert, key, token, username, password, tenant, proxy_url, proxy_username, proxy_password)


def _require_proxy(node: Node) -> None:
    text = node.text()
    if _CREDENTIALS.match(text):
        node.fail("a URL holds no credentials; give `proxyUsername` and `proxyPasswordFile`")
    found = _PROXY.fullmatch(text)
    if found is None or int(found["port"]) not in range(1, 65_536):
        node.fail(f"{text!r} is not the URL of a proxy; it is http://, a host and a port")


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
