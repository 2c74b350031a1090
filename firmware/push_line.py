"""The lines between a charger and tools/push.py, and what the charger tells in them. In memory only meanwhile.

charger  {"arus": 1, "id": …, "version": …, "nonce": N}      N: 32 hex characters, new for every connection
tool     M1 {"location": URL, "nonce": …, "push": true}      M1 = HMAC-SHA256(key, N + what follows the space), hex
charger  M2 {"version": …, "update": …, …}                   M2 = HMAC-SHA256(key, M1 + what follows), and so on

So each line proves that its sender has the key, and that it belongs to this connection and this place. Without "push"
the peer only asks what has become of the update from that location. Further lines come as it goes on.

update    a status of OCPP 2.0.1; null before the first one; "Superseded" when another update is in hand, "Idle" when
          nothing is known
reason    why it failed
trial     whether the new firmware runs and has not been confirmed yet
charging  whether a transaction runs

Before a peer has proved anything it is answered {"error": …} at most, and nothing that it says is looked into.
"""

import json
from binascii import hexlify
from hashlib import sha256

from micropython import const

_MAX_TEXT = const(200)  # of a reason
_BLOCK = const(64)  # bytes that SHA-256 takes at a time


def mac(key, *pieces):
    """Return the HMAC-SHA256 (RFC 2104) of pieces of bytes as hex digits, in bytes."""
    if len(key) > _BLOCK:
        key = sha256(key).digest()
    key += bytes(_BLOCK - len(key))
    inner = sha256(bytes(byte ^ 0x36 for byte in key))
    for piece in pieces:
        inner.update(piece)
    outer = sha256(bytes(byte ^ 0x5C for byte in key))
    outer.update(inner.digest())
    return hexlify(outer.digest())


def tell(push, error=None):
    """Tell the peer of `push` what has become of its update, or why it is not taken, without waiting.

    The update must not depend on a peer that reads: one that does not is dropped.
    """
    text = json.dumps({"error": error[:_MAX_TEXT]} if error else _state(push)).encode()
    push.mark = mac(push.key, push.mark, text)
    line = push.mark + b" " + text + b"\n"
    peer = push.peer
    if peer.socket and peer.socket.write(line) != len(line):
        peer.close()


def _state(push):
    parts = push.parts
    journal = parts.journal
    state = {"version": push.version, "update": journal.get("last", "Idle"), "charging": parts.station.charging}
    if journal.busy:
        state["update"] = journal.get("status") if journal.get("location") == push.location else "Superseded"
        state["trial"] = state["update"] == "Installing" and parts.slots.unconfirmed()
    elif journal.get("reason"):
        state["reason"] = journal.get("reason")[:_MAX_TEXT]
    return state
