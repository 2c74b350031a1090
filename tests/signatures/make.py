"""Makes tests/unit/signatures.py, once: `python tests/signatures/make.py`. Its output is committed.

None of the keys protects anything. What a library would not sign is computed here from the standards.
"""

from __future__ import annotations

import base64
import hashlib
import os
import struct
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

TARGET = Path(__file__).parents[1] / "unit" / "signatures.py"
DIGEST = hashlib.sha256(b"header").digest()
SHA256 = hashes.SHA256()
P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
POINT_START = 27  # of the coordinates in a P-256 key

Masker = Callable[[bytes], bytes]
Point = tuple[int, int]


def der(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


# ----------------------------------------------------------------------------------------------------------------- RSA


def encode(salt: bytes, *, before: bytes = b"", mark: int = 1, trailer: int = 0xBC, high: bool = False) -> int:
    """EMSA-PSS-ENCODE of DIGEST (RFC 8017, 9.1.1), or almost: `before` replaces the first bytes of the padding."""
    seed = hashlib.sha256(bytes(8) + DIGEST + salt).digest()
    block = before + bytes(351 - len(salt) - 1 - len(before)) + bytes([mark]) + salt
    mask = b"".join(hashlib.sha256(seed + i.to_bytes(4, "big")).digest() for i in range(11))
    masked = bytearray(a ^ b for a, b in zip(block, mask, strict=False))
    masked[0] = masked[0] & 0x7F | 0x80 * high
    return int.from_bytes(bytes(masked) + seed + bytes([trailer]), "big")


def package_header(key: rsa.RSAPrivateKey) -> bytes:
    """Return the header of a package as tests/unit/test_package.py makes it, but signed by RSA."""
    key_id = hashlib.sha256(der(key)).digest()[:8]
    fields = struct.pack(
        "<8sHBxHHHxxIIIII32s32x8s32s32s80x",
        *(b"ARUSPKG\0", 1, 1, 9, 2, 4, 21, 19, 40000, 30000, 0, b"\xab" * 32, key_id, b"Arus One", b"2.1"),
    )
    return fields + key.sign(fields, padding.PSS(padding.MGF1(SHA256), 32), SHA256)


def rsa_signatures(key: rsa.RSAPrivateKey) -> tuple[list[bytes], dict[str, bytes]]:
    numbers = key.private_numbers()
    modulus = numbers.public_numbers.n

    def crypt(number: int) -> int:
        return pow(number, numbers.d, modulus)

    def sign(encoded: int) -> bytes:
        return crypt(encoded).to_bytes(384, "big")

    def library(salt: int, mask: hashes.HashAlgorithm = SHA256) -> bytes:
        return key.sign(DIGEST, padding.PSS(padding.MGF1(mask), salt), utils.Prehashed(SHA256))

    def high() -> bytes:
        while (encoded := encode(os.urandom(32), high=True)) >= modulus:
            pass
        return sign(encoded)

    def not_reduced() -> bytes:
        while (number := crypt(encode(os.urandom(32))) + modulus) >= 1 << 3072:
            pass
        return number.to_bytes(384, "big")

    salt = os.urandom(32)
    return [library(32), library(32), sign(encode(salt))], {
        "no salt": library(0),
        "20 bytes of salt": library(20),
        "33 bytes of salt": library(33),
        "the longest salt": library(318),
        "another hash in the mask": library(32, hashes.SHA1()),
        "another padding": key.sign(DIGEST, padding.PKCS1v15(), utils.Prehashed(SHA256)),
        "wrong trailer": sign(encode(salt, trailer=0xCC)),
        "first bit set": high(),
        "padding begins with something": sign(encode(salt, before=b"\x01")),
        "padding contains something": sign(encode(salt, before=bytes(150) + b"\x01")),
        "wrong mark before the salt": sign(encode(salt, mark=2)),
        "no mark before the salt": sign(encode(salt, mark=0)),
        "not smaller than the modulus": not_reduced(),
        "the modulus": modulus.to_bytes(384, "big"),
        "the modulus less one": (modulus - 1).to_bytes(384, "big"),
        "zero": bytes(384),
        "one": bytes(383) + b"\x01",
    }


# --------------------------------------------------------------------------------------------------------------- P-256


def numbers_of(key: ec.EllipticCurvePrivateKey) -> Point:
    numbers = key.public_key().public_numbers()
    return numbers.x, numbers.y


def point_key(x: int, y: int) -> bytes:
    prefix = der(ec.derive_private_key(1, ec.SECP256R1()))[:POINT_START]
    return prefix + x.to_bytes(32, "big") + y.to_bytes(32, "big")


def times(factor: int, point: Point) -> Point:
    """Multiply a point, by the textbook's formulas."""
    result: Point | None = None
    for bit in bin(factor)[2:]:
        result = plus(result, result)
        if bit == "1":
            result = plus(result, point)
    assert result
    return result


def plus(left: Point | None, right: Point | None) -> Point | None:
    if not left or not right:
        return left or right
    (x1, y1), (x2, y2) = left, right
    if x1 == x2 and y1 != y2:
        return None
    slope = (3 * x1 * x1 - 3) * pow(2 * y1, -1, P) if left == right else (y2 - y1) * pow(x2 - x1, -1, P)
    x = (slope * slope - x1 - x2) % P
    return x, (slope * (x1 - x) - y1) % P


def lift(x: int) -> int | None:
    square = (x**3 - 3 * x + B) % P
    root = pow(square, (P + 1) // 4, P)
    return root if root * root % P == square else None


def next_point(x: int) -> Point:
    while (y := lift(x)) is None:
        x += 1
    return x, y


def field(r: int, s: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes(320)


def sign(key: ec.EllipticCurvePrivateKey, digest: bytes = DIGEST) -> bytes:
    return field(*utils.decode_dss_signature(key.sign(digest, ec.ECDSA(utils.Prehashed(SHA256)))))


def public_for(r: int, point: Point, s: int) -> bytes:
    """Return the key that makes (r, s) the signature of DIGEST, with this point as the nonce's."""
    generator = numbers_of(ec.derive_private_key(1, ec.SECP256R1()))
    inverse = pow(r, -1, N)
    digest = -int.from_bytes(DIGEST, "big") * inverse % N
    key = plus(times(s * inverse % N, point), times(digest, generator))
    assert key
    return point_key(*key)


def zero_signature(point: Point) -> bytes:
    """Return a signature of the digest 0 that fits this point, whoever has its key, and be it on another curve."""
    r = times(5, point)[0] % N
    return field(r, r * pow(5, -1, N) % N)


def forged() -> dict[str, tuple[bytes, bytes, bytes]]:
    """Return keys, digests and signatures for which everything holds but what a verifier has to check first."""
    x, y = next_point(1)  # so small that x + p fits, too
    large = next_point(N)[0] - N, next_point(N)
    other = x, y + 1
    return {
        "x of the key not reduced": (point_key(x + P, y), bytes(32), zero_signature((x, y))),
        "key on another curve": (point_key(*other), bytes(32), zero_signature(other)),
        "r not reduced": (public_for(*large, 5), DIGEST, field(large[0] + N, 5)),
        "s not reduced": (public_for(*large, 5), DIGEST, field(large[0], 5 + N)),
        "r is x modulo p": (public_for(x + P - N, (x, y), 5), DIGEST, field(x + P - N, 5)),
    }


def ecdsa_signatures(key: ec.EllipticCurvePrivateKey) -> tuple[list[tuple[bytes, bytes, bytes]], dict[str, bytes]]:
    public, valid = der(key), sign(key)
    r, s = int.from_bytes(valid[:32], "big"), int.from_bytes(valid[32:64], "big")
    first, last = (ec.derive_private_key(secret, ec.SECP256R1()) for secret in (1, N - 1))
    large = next_point(N)  # its x is not smaller than n
    good = [(public, digest, sign(key, digest)) for digest in (DIGEST, bytes(32), b"\xff" * 32, N.to_bytes(32, "big"))]
    good += [(der(special), DIGEST, sign(special)) for special in (first, last)]
    good.append((point_key(*next_point(1)), bytes(32), zero_signature(next_point(1))))
    good.append((public_for(large[0] - N, large, 5), DIGEST, field(large[0] - N, 5)))
    return good, {
        "r is 0": field(0, s),
        "s is 0": field(r, 0),
        "both are 0": bytes(384),
        "r is n": field(N, s),
        "s is n": field(r, N),
        "r is the largest": field((1 << 256) - 1, s),
        "s is the largest": field(r, (1 << 256) - 1),
        "r and s exchanged": field(s, r),
        "both are 1": field(1, 1),
        "something behind": valid[:64] + bytes(319) + b"\x01",
        "something right behind": valid[:64] + b"\x01" + bytes(319),
    }


def bad_keys(good: bytes) -> dict[str, bytes]:
    x, y = next_point(1)  # so small that x + p fits, too
    numbers = [int.from_bytes(good[start : start + 32], "big") for start in (27, 59)]
    return {
        "not on the curve": point_key(numbers[0], numbers[1] ^ 1),
        "the point 0, 0": point_key(0, 0),
        "x not reduced": point_key(x + P, y),
        "one byte more": good + b"\0",
        "one byte more before x": good[:POINT_START] + b"\0" + good[POINT_START:],
        "one byte less": good[:-1],
        "another curve": good.replace(bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030106")),
        "hybrid form": good[: POINT_START - 1] + b"\x06" + good[POINT_START:],
        "P-384": der(ec.generate_private_key(ec.SECP384R1())),
        "Ed25519": der(ed25519.Ed25519PrivateKey.generate()),
        "RSA, 2,048 bits": der(rsa.generate_private_key(65537, 2048)),
        "RSA, exponent 3": der(rsa.generate_private_key(3, 3072)),
        "nothing": b"",
    }


# -------------------------------------------------------------------------------------------------------------- output


def literal(value: object, indent: str = "") -> str:
    """Return a value as source text with short lines; bytes stand in base64."""
    deeper = indent + "    "
    if isinstance(value, bytes):
        text = base64.b64encode(value).decode()
        if len(text) <= 90:
            return f'_("{text}")'
        lines = "".join(f'{deeper}"{text[i : i + 100]}"\n' for i in range(0, len(text), 100))
        return f"_(\n{lines}{indent})"
    if isinstance(value, dict):
        return "{\n" + "".join(f'{deeper}"{k}": {literal(v, deeper)},\n' for k, v in value.items()) + indent + "}"
    assert isinstance(value, (list, tuple))
    brackets = "[]" if isinstance(value, list) else "()"
    return brackets[0] + "\n" + "".join(f"{deeper}{literal(v, deeper)},\n" for v in value) + indent + brackets[1]


def main() -> None:
    rsa_key = rsa.generate_private_key(65537, 3072)
    ecdsa_key = ec.generate_private_key(ec.SECP256R1())
    secret, nonce = ecdsa_key.private_numbers().private_value, 0x1234567890ABCDEF
    good, bad = ecdsa_signatures(ecdsa_key)
    rsa_good, rsa_bad = rsa_signatures(rsa_key)
    # The digest for which u1 G + u2 Q is the point at infinity: -r d.
    infinity = (-5 * secret % N).to_bytes(32, "big")
    values = {
        "DIGEST": DIGEST,
        "RSA_KEY": der(rsa_key),
        "OTHER_RSA_KEY": der(rsa.generate_private_key(65537, 3072)),
        "RSA_GOOD": rsa_good,
        "RSA_BAD": rsa_bad,
        "RSA_HEADER": package_header(rsa_key),
        "ECDSA_KEY": der(ecdsa_key),
        "OTHER_ECDSA_KEY": der(ec.generate_private_key(ec.SECP256R1())),
        "ECDSA_GOOD": good,
        "ECDSA_BAD": bad,
        "ECDSA_FORGED": forged(),
        "ECDSA_INFINITY": (infinity, field(5, 7)),
        "BAD_KEYS": bad_keys(der(ecdsa_key)),
    }
    r = times(nonce, numbers_of(ec.derive_private_key(1, ec.SECP256R1())))[0] % N
    lines = [
        '"""Keys and signatures, good and bad; made by tests/signatures/make.py. Nothing real is signed with them."""',
        "",
        "from binascii import a2b_base64 as _",
        "",
        *(f"{name} = {literal(value)}" for name, value in values.items()),
        "",
        "_N = 0x%064X" % N,
        "_R = 0x%064X" % r,
        "_SECRET = 0x%064X" % secret,
        "_NONCE_INVERSE = 0x%064X" % pow(nonce, -1, N),
        "",
        "",
        "def sign(digest):",
        '    """Return the signature field of a package: ECDSA, as ECDSA_KEY signs; the nonce is always the same."""',
        '    s = _NONCE_INVERSE * (int.from_bytes(digest, "big") + _R * _SECRET) % _N',
        '    return _R.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes(320)',
    ]
    TARGET.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
