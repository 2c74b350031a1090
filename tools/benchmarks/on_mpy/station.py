# mypy: ignore-errors
"""A station that calls the central system again and again. Arguments: its URL, number of calls."""

import asyncio
import json
import sys
from time import ticks_diff, ticks_us

from hw.connection import Dialer
from ocpp import handshake
from ocpp.rpc import Rpc

_WARMING_UP = 50


async def main():
    rpc = Rpc(await handshake.connect(sys.argv[1], Dialer().dial), None)
    reading = asyncio.create_task(rpc.run())
    latencies = []
    for _ in range(_WARMING_UP + int(sys.argv[2])):
        start = ticks_us()
        await rpc.call("Heartbeat", {})
        latencies.append(ticks_diff(ticks_us(), start))
    reading.cancel()
    print(json.dumps(latencies[_WARMING_UP:]))


asyncio.run(main())
