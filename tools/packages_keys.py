"""The keys that packages are signed with: RSA of 3,072 bits with PSS, or ECDSA on P-256; SHA-256 with both."""

from __future__ import annotations

import hashlib
from typing import cast

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from packages_frames import PackageError

ALGORITHMS = {1: "RSA-3072-PSS", 2: "ECDSA P-256"}
RSA, ECDSA = ALGORITHMS
RSA_BITS = 3072
SIGNATURE = 384  # bytes; zeros follow a shorter one
PSS = padding.PSS(padding.MGF1(hashes.SHA256()), 32)

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


def make_key(kind: str) -> PrivateKey:
    """Make a key; `kind` is "rsa" or "ecdsa"."""
    return rsa.generate_private_key(65537, RSA_BITS) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())


def key_id(key: PublicKey) -> bytes:
    """Return what a package calls the key that it is signed with."""
    return hashlib.sha256(public_der(key)).digest()[:8]


def algorithm(key: PrivateKey | PublicKey) -> int:
    """Return the number of what this key signs with; PackageError if no package can be signed with it."""
    if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey) and key.key_size == RSA_BITS:
        return RSA
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1":
        return ECDSA
    raise PackageError("this key is neither RSA of 3072 bits nor ECDSA on P-256: make one with build.py keygen")


def sign(key: PrivateKey, data: bytes) -> bytes:
    """Return the signature of `data`, zeros behind it up to 384 bytes."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, PSS, hashes.SHA256())
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return (r.to_bytes(32, "big") + s.to_bytes(32, "big")).ljust(SIGNATURE, b"\0")


def verified(key: PublicKey, data: bytes, signature: bytes) -> bool:
    """Whether this is the signature of `data`, made with this key."""
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, PSS, hashes.SHA256())
        else:
            r, s = (int.from_bytes(signature[start : start + 32], "big") for start in (0, 32))
            key.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return isinstance(key, rsa.RSAPublicKey) or not any(signature[64:])


# --------------------------------------------------------------------------------------------------------------- files


def private_pem(key: PrivateKey) -> bytes:
    """Return a private key as PKCS#8, in PEM."""
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def public_pem(key: PublicKey) -> bytes:
    """Return a public key as SubjectPublicKeyInfo, in PEM."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def public_der(key: PublicKey) -> bytes:
    """Return a public key as SubjectPublicKeyInfo, in DER."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def load_private(pem: bytes) -> PrivateKey:
    """Read a private key in PEM; PackageError if it is none, or no package can be signed with it."""
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise PackageError("this is no private key in PEM without a password: make one with build.py keygen") from error
    algorithm(cast(PrivateKey, key))
    return cast(PrivateKey, key)


def load_public(pem: bytes) -> PublicKey:
    """Read a public key in PEM, or the public half of a private one; PackageError if it is none for packages."""
    if b"PRIVATE KEY" in pem:
        return load_private(pem).public_key()
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise PackageError("this is no public key in PEM: keygen writes one into the file that ends in .pub") from error
    algorithm(cast(PublicKey, key))
    return cast(PublicKey, key)
