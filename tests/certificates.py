"""Certificates that nobody vouches for, for servers that tests start."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from typing import NamedTuple


class Certificate(NamedTuple):
    """The file of a certificate, and the one that holds its key before it."""

    public: Path
    with_key: Path


def self_signed(folder: Path, host: str, authority: bool = False) -> Certificate:
    """Write a certificate for a name or an IP address; an authority may be trusted by itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    is_address = host.replace(".", "").isdigit()
    holder = x509.IPAddress(ipaddress.ip_address(host)) if is_address else x509.DNSName(host)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([holder]), False)
    )
    if authority:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
    signed = builder.sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    written = Certificate(folder / "certificate.pem", folder / "with_key.pem")
    written.public.write_bytes(signed.public_bytes(pem))
    written.with_key.write_bytes(private + signed.public_bytes(pem))
    return written
