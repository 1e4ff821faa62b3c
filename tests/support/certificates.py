"""Certificates of tests: one that signs itself, for a server and for its clients."""

from __future__ import annotations

import datetime
import shutil

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from streams_engine.testing.servers import Server

__all__ = ["certificate", "lend"]


def lend(server: Server, certificate: str, key: str) -> tuple[str, str]:
    """Paths of certificate and key where the server can read them."""
    paths = [server.directory / name for name in ("cert.pem", "key.pem")]
    for path, text in zip(paths, (certificate, key), strict=True):
        path.write_text(text)
        path.chmod(0o600)
        shutil.chown(path, server.directory.stat().st_uid)
    return str(paths[0]), str(paths[1])


def certificate() -> tuple[str, str]:
    """A certificate for localhost and its key, as PEM texts."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    return made.public_bytes(serialization.Encoding.PEM).decode(), secret.decode()
