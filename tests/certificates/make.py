"""Makes the certificates of the TLS tests, once: `python tests/certificates/make.py`. Its outputs are committed.

None of the keys protects anything. The certificates last until 2125, except expired.pem and future.pem.
"""

from __future__ import annotations

import base64
import ipaddress
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

FOLDER = Path(__file__).parent
START = datetime(2024, 1, 1)
END = datetime(2125, 1, 1)

CA_ONLY = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)

Key = ec.EllipticCurvePrivateKey


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def authority(stem: str) -> tuple[Key, x509.Name]:
    """Make a CA and return what signs with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = name(f"Arus test {stem}")
    builder = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), START, END)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    (FOLDER / f"{stem}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    return key, subject


def server(
    stem: str,
    ca: tuple[Key, x509.Name],
    key: Key,
    *,
    host: str = "localhost",
    start: datetime = START,
    end: datetime = END,
    is_ca: bool = False,
    purpose: x509.ObjectIdentifier | None = None,
    issuer: str = "",
) -> None:
    """Make a server's certificate; localhost's is for 127.0.0.1 and ::1 too. `issuer` is put behind it."""
    names: list[x509.GeneralName] = [x509.DNSName(host)]
    if host == "localhost":
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
    builder = (
        x509.CertificateBuilder(ca[1], name(host), key.public_key(), x509.random_serial_number(), start, end)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca[0].public_key()), critical=False)
    )
    if is_ca:
        builder = builder.add_extension(CA_ONLY, critical=True)
    if purpose:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
    certificate = builder.sign(ca[0], hashes.SHA256())
    text = certificate.public_bytes(Encoding.PEM)
    if issuer:
        text += (FOLDER / f"{issuer}.pem").read_bytes()
    (FOLDER / f"{stem}.pem").write_bytes(text)


def damage(stem: str, original: str) -> None:
    """Make a copy of a certificate whose last byte, which is the signature's, is another one."""
    certificate = x509.load_pem_x509_certificate((FOLDER / f"{original}.pem").read_bytes())
    der = bytearray(certificate.public_bytes(Encoding.DER))
    der[-1] ^= 1
    body = base64.encodebytes(der).decode()
    (FOLDER / f"{stem}.pem").write_text(f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n")


def main() -> None:
    ca = authority("ca")
    other = authority("other_ca")
    key = ec.generate_private_key(ec.SECP256R1())  # one for all servers
    (FOLDER / "server_key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    server("server", ca, key)
    server("wrong_name", ca, key, host="elsewhere.example")
    server("expired", ca, key, end=datetime(2024, 2, 1))
    server("future", ca, key, start=datetime(2124, 1, 1))
    server("untrusted", other, key)
    server("self_signed", (key, name("localhost")), key)
    server("issued_by_server", (key, name("localhost")), key, issuer="server")
    server("client", ca, key, purpose=ExtendedKeyUsageOID.CLIENT_AUTH)
    server("ca_as_server", ca, key, is_ca=True)
    damage("bad_signature", "server")


if __name__ == "__main__":
    main()
