"""How a backend is reached: secrets by their files, addresses without them, mistakes with their place."""

from __future__ import annotations

import pytest

from federation_core.access import Access
from federation_core.config import Backend, parse
from federation_core.errors import InvalidConfig

OPEN = {"AUTH_ENABLED": "false"}
PROD = """\
clusters:
  - name: prod
    environment: prod
    backends:
      metrics:
        kind: prometheus
        url: https://prometheus.monitoring:9090/prefix/
        pushdown: off
        access: {caFile: ca.pem, certFile: /run/tls/cert, keyFile: /run/tls/key, username: me,
                 passwordFile: pw, tenant: a}
"""


def backend(text: str) -> Backend:
    (cluster,) = parse(OPEN, {"clusters.yaml": text}, "/etc/appsentry").clusters
    return cluster.backends[0]


def test_everything_given_is_read_and_files_are_taken_from_the_folder() -> None:
    found = backend(PROD)
    assert (found.url, found.pushdown) == ("https://prometheus.monitoring:9090/prefix/", "off")
    assert found.access == Access(
        "/etc/appsentry/ca.pem", "/run/tls/cert", "/run/tls/key", "", "me", "/etc/appsentry/pw", "a"
    )


def test_a_proxy_is_read_with_its_credentials() -> None:
    proxy = "proxyUrl: 'http://proxy:3128', proxyUsername: us, proxyPasswordFile: proxy-pw"
    access = backend(PROD.replace("tenant: a", proxy)).access
    found = (access.proxy_url, access.proxy_username, access.proxy_password_file)
    assert found == ("http://proxy:3128", "us", "/etc/appsentry/proxy-pw")


def test_without_access_nothing_is_sent() -> None:
    found = backend('clusters: [{name: a, environment: e, backends: {metrics: {kind: prometheus, url: "http://x"}}}]')
    assert (found.access, found.pushdown) == (Access(), "exact")


@pytest.mark.parametrize(
    "url", ["http://x", "https://x.y-z:1/", "http://[::1]:9090/a/b", "http://10.0.0.1:65535/a%20b"]
)
def test_an_address_may_have_a_port_and_a_path(url: str) -> None:
    assert backend(PROD.replace("https://prometheus.monitoring:9090/prefix/", f'"{url}"')).url == url


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("https://prometheus", "ftp://prometheus", r":7: url: 'ftp://.*' is not a URL"),
        ("prometheus.monitoring:9090", "", r":7: url: 'https:///prefix/' is not a URL"),
        (":9090", ":0", r":7: url: .* is not a URL"),
        (":9090", ":65536", r":7: url: .* is not a URL"),
        ("/prefix/", "/prefix?x=1", r":7: url: .* is not a URL"),
        ("https://prom", "https://me:secret@prom", r":7: url: a URL holds no credentials"),
        ("pushdown: off", "pushdown: some", r":8: pushdown: 'some' is not one of exact, approximate, off"),
        (
            "url: https://prometheus.monitoring:9090/prefix/",
            "path: x",
            r"`access`, `pushdown` and `replicaLabels` are for a backend with",
        ),
        ("caFile", "cafile", r":9: unknown key 'cafile'; known here: caFile"),
        ("keyFile: /run/tls/key, ", "", r":9: access: `certFile` and `keyFile` are given together"),
        ("passwordFile: pw, ", "", r":9: access: `username` and `passwordFile` are given together"),
        ("tenant: a", "bearerTokenFile: t", r":9: access: `bearerTokenFile` and `passwordFile` exclude each other"),
        ("tenant: a", 'tenant: "a\\nb"', r":9: access: tenant: 'a\\nb' cannot be sent in a header"),
        ("caFile: ca.pem", "caFile: []", r":9: caFile: a list is not a text"),
        ("username: me", "username: mü", r":9: access: username: 'mü' cannot be sent in a header"),
        ("username: me", "username: 'm:e'", r":9: access: a user name holds no colon"),
        ("tenant: a", "proxyUrl: 'https://p:1'", r":10: proxyUrl: 'https://p:1' is not the URL of a proxy"),
        ("tenant: a", "proxyUrl: 'http://p'", r":10: proxyUrl: 'http://p' is not the URL of a proxy"),
        ("tenant: a", "proxyUrl: 'http://p:70000'", r":10: proxyUrl: .* is not the URL of a proxy"),
        ("tenant: a", "proxyUrl: 'http://me:secret@p:1'", r":10: proxyUrl: a URL holds no credentials"),
        (
            "tenant: a",
            "proxyUrl: 'http://p:1', proxyUsername: m",
            r":9: access: `proxyUsername` and `proxyPasswordFile`",
        ),
        ("tenant: a", "proxyUsername: m, proxyPasswordFile: p", r":9: access: .* there is no `proxyUrl`"),
    ],
)
def test_a_mistake_is_answered_with_its_place(old: str, new: str, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said) as caught:
        backend(PROD.replace(old, new))
    assert "secret" not in caught.value.message
