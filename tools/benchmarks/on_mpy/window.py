# mypy: ignore-errors
"""Gives connections the TCP window of an ESP32, as far as Linux lets it."""

import hw.connection

_SOL_SOCKET = 1
_SO_RCVBUF = 8
_HALF = 2872  # bytes: Linux doubles it for what it needs itself

_plain = hw.connection.Dialer.dial


async def _dial(*arguments, **options):
    """For each connection anew, as the module is dropped in between."""
    import hw.dialing

    plain = hw.dialing.connect

    async def connect(connection, address):
        connection.raw.setsockopt(_SOL_SOCKET, _SO_RCVBUF, _HALF)
        await plain(connection, address)

    hw.dialing.connect = connect
    return await _plain(*arguments, **options)


hw.connection.Dialer.dial = _dial
