"""ECDSA signatures on P-256 (FIPS 186-5, 6.4.2).

Only verifying: nothing here is secret, so nothing has to take the same time for all numbers.
"""

import asyncio

from micropython import const

# The same before the coordinates of an uncompressed point (RFC 5480), and the curve (SP 800-186, 3.2.1.3).
_ECDSA_BEFORE = const(b"0Y0\x13\x06\x07*\x86H\xce=\x02\x01\x06\x08*\x86H\xce=\x03\x01\x07\x03B\x00\x04")
_SIZE = const(32)
_P = const(0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF)
_N = const(0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551)
_B = const(0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B)
_GX = const(0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296)
_GY = const(0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5)


async def verify(key, digest, signature):
    """Return whether `signature` (r and s of 32 bytes each, then zeros) is that of a SHA-256 digest.

    key: DER SubjectPublicKeyInfo. Takes a second or so on an ESP32, in steps of a few milliseconds.
    """
    start = len(_ECDSA_BEFORE)
    if key[:start] != _ECDSA_BEFORE or len(key) != start + 2 * _SIZE or any(signature[2 * _SIZE :]):
        return False
    x = int.from_bytes(key[start:-_SIZE], "big")
    y = int.from_bytes(key[-_SIZE:], "big")
    r = int.from_bytes(signature[:_SIZE], "big")
    s = int.from_bytes(signature[_SIZE : 2 * _SIZE], "big")
    if x >= _P or y >= _P or (y * y - (x * x - 3) * x - _B) % _P or not 0 < r < _N or not 0 < s < _N:
        return False

    # 1 / s modulo n, by the extended Euclidean algorithm.
    last, rest = _N, s
    before, inverse = 0, 1
    while rest:
        quotient = last // rest
        last, rest = rest, last - quotient * rest
        before, inverse = inverse, before - quotient * inverse
        await asyncio.sleep_ms(0)
    inverse = before % _N

    # digest / s times the curve's generator plus r / s times the key, bit by bit, both at once.
    times_generator = int.from_bytes(digest, "big") * inverse % _N
    times_key = r * inverse % _N
    generator = (_GX, _GY, 1)
    own = (x, y, 1)
    both = _add(generator, own)
    point = (1, 1, 0)
    for bit in range(255, -1, -1):
        point = _add(point, point)
        await asyncio.sleep_ms(0)
        which = (times_generator >> bit & 1) + 2 * (times_key >> bit & 1)
        if which:
            point = _add(point, (generator, own, both)[which - 1])
    x, _, z = point
    z = z * z % _P
    # r is the point's x modulo n: of the few x that are larger than n it is the rest.
    return z != 0 and ((x - r * z) % _P == 0 or (r + _N < _P and (x - (r + _N) * z) % _P == 0))


def _add(first, second):
    """Add two points (X, Y, Z), which are (X/Z², Y/Z³) on the curve, or with Z = 0 at infinity.

    The formulas are dbl-2001-b and add-1998-cmo of the Explicit-Formulas Database.
    """
    x1, y1, z1 = first
    x2, y2, z2 = second
    if second is first:
        square = z1 * z1 % _P
        gamma = y1 * y1 % _P
        beta = x1 * gamma % _P
        alpha = 3 * (x1 - square) * (x1 + square) % _P
        x = (alpha * alpha - 8 * beta) % _P
        return x, (alpha * (4 * beta - x) - 8 * gamma * gamma) % _P, 2 * y1 * z1 % _P
    if not z1:
        return second
    if not z2:
        return first
    square1 = z1 * z1 % _P
    square2 = z2 * z2 % _P
    u = x1 * square2 % _P
    s = y1 * z2 * square2 % _P
    h = (x2 * square1 - u) % _P
    r = (y2 * z1 * square1 - s) % _P
    if not h:
        return (1, 1, 0) if r else _add(first, first)
    square = h * h % _P
    cube = h * square % _P
    v = u * square % _P
    x = (r * r - cube - 2 * v) % _P
    return x, (r * (v - x) - s * cube) % _P, z1 * z2 * h % _P
