"""Certificates for the tests: an authority with what it has signed, and keys that sign messages."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Pair:
    """A key and its certificate, both in PEM files."""

    key: Path
    certificate: Path


def authority(folder: Path, name: str) -> Pair:
    """A certificate authority of its own."""
    return _made(folder, name, None)


def signed(folder: Path, name: str, by: Pair, address: str = "127.0.0.1", days: int = 1) -> Pair:
    """A certificate for the host at ``address``, signed by an authority; one of no days has expired."""
    return _made(folder, name, by, address, days)


def signer(folder: Path, name: str, days: int = 1) -> Pair:
    """A key that signs messages, with a certificate that it signed itself; one of no days has expired."""
    return _made(folder, name, None, days=days)


def _made(folder: Path, name: str, by: Pair | None, address: str | None = None, days: int = 1) -> Pair:
    folder.mkdir(parents=True, exist_ok=True)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    if by is None:
        issuer, issuing_key = subject, key
    else:
        issuer = x509.load_pem_x509_certificate(by.certificate.read_bytes()).subject
        loaded = serialization.load_pem_private_key(by.key.read_bytes(), None)
        assert isinstance(loaded, rsa.RSAPrivateKey)
        issuing_key = loaded
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=2))
        .not_valid_after(now + datetime.timedelta(days=days, minutes=-1))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
    )
    if address is not None:
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        builder = builder.add_extension(names, critical=False)
    pair = Pair(folder / f"{name}.key", folder / f"{name}.pem")
    pair.key.touch(mode=0o600)
    pair.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    certificate = builder.sign(issuing_key, hashes.SHA256())
    pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return pair
