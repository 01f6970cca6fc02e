"""Certificates made for a test: an authority, and what it signs.

authority = Authority(tmp_path)
cert, key = authority.issue("server", "127.0.0.1")
authority.file      # the authority's own certificate
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


@dataclass
class Authority:
    """Signs certificates; all files lie in one folder. Two authorities have two folders."""

    folder: Path
    file: str = ""
    _key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True, parents=True)
        self._name = _name(f"authority of {self.folder.name}")
        basic = x509.BasicConstraints(ca=True, path_length=0)
        made = self._builder(self._name, self._key, -DAY, DAY).add_extension(basic, critical=True)
        self.file = self._write("authority.pem", _pem(made.sign(self._key, hashes.SHA256())))

    def issue(self, name: str, *hosts: str, since: timedelta = -DAY, until: timedelta = DAY) -> tuple[str, str]:
        """Return the files of a certificate for some addresses or names, and of its key; times are from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._builder(_name(name), key, since, until)
        made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        if hosts:
            made = made.add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
        plain = serialization.NoEncryption()
        text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        cert = self._write(f"{name}.pem", _pem(made.sign(self._key, hashes.SHA256())))
        return cert, self._write(f"{name}.key", text)

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, since: timedelta, until: timedelta
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key())
        return (
            made.serial_number(x509.random_serial_number())
            .not_valid_before(now + since)
            .not_valid_after(now + until)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )

    def _write(self, name: str, text: bytes) -> str:
        (self.folder / name).write_bytes(text)
        return str(self.folder / name)


def server_context(cert: str, key: str, *, clients: str = "") -> ssl.SSLContext:
    """Return what a server shows; `clients` is the authority of those certificates that it wants to see."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    if clients:
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
