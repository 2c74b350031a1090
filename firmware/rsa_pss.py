"""RSASSA-PSS signatures (RFC 8017, 8.1.2): 3,072 bits, public exponent 65537, SHA-256, 32 bytes of salt.

Only verifying: nothing here is secret, so nothing has to take the same time for all numbers.
"""

import asyncio
from hashlib import sha256

from micropython import const

# DER of SubjectPublicKeyInfo (RFC 8017, A.1.1) around a modulus of 384 bytes, with 65537 as exponent.
_RSA_BEFORE = const(
    b"0\x82\x01\xa20\r\x06\t*\x86H\x86\xf7\r\x01\x01\x01\x05\x00\x03\x82\x01\x8f\x000\x82\x01\x8a\x02\x82\x01\x81\x00"
)
_RSA_BEHIND = const(b"\x02\x03\x01\x00\x01")
_RSA_SIZE = const(384)
_MASKED = const(351)  # bytes: all but the hash and the last one
_SALT = const(32)
_TRAILER = const(0xBC)
_PART = const(256)  # bits of a factor that are multiplied at a time
_MASK = const((1 << 256) - 1)


async def verify(key, digest, signature):
    """Return whether `signature` (384 bytes) is that of a SHA-256 digest.

    key: DER SubjectPublicKeyInfo. Takes 0.1 s or so on an ESP32, in steps of a few milliseconds.
    """
    start = len(_RSA_BEFORE)
    end = start + _RSA_SIZE
    if key[:start] != _RSA_BEFORE or key[end:] != _RSA_BEHIND or len(signature) != _RSA_SIZE:
        return False
    modulus = int.from_bytes(key[start:end], "big")
    power = int.from_bytes(signature, "big")
    if power >= modulus:
        return False
    for _ in range(16):
        power = await _product(power, power, modulus)
    power = await _product(power, int.from_bytes(signature, "big"), modulus)
    encoded = power.to_bytes(_RSA_SIZE, "big")
    del power, modulus
    salted = encoded[_MASKED:-1]
    mask = b"".join([sha256(salted + bytes((0, 0, 0, i))).digest() for i in range(11)])[:_MASKED]
    block = (int.from_bytes(encoded[:_MASKED], "big") ^ int.from_bytes(mask, "big")).to_bytes(_MASKED, "big")
    return (
        encoded[0] < 0x80
        and encoded[-1] == _TRAILER
        and block[0] & 0x7F == 0  # of a number below the modulus the first bit is not used
        and block[1:-_SALT] == bytes(_MASKED - _SALT - 2) + b"\x01"
        and sha256(bytes(8) + digest + block[-_SALT:]).digest() == salted
    )


async def _product(first, second, modulus):
    """Return first * second modulo `modulus`, without a number of twice the size, for which the heap may lack room."""
    product = 0
    for shift in range(8 * _RSA_SIZE - _PART, -1, -_PART):
        product = ((product << _PART) + first * (second >> shift & _MASK)) % modulus
        await asyncio.sleep_ms(0)
    return product
