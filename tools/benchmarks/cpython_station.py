"""The same station as on_mpy/station.py, made of the packages `ocpp` and `websockets`. Runs by itself."""

from __future__ import annotations

import asyncio
import json
import sys
import time

import websockets
from ocpp.v16 import ChargePoint, call

WARMING_UP = 50


async def main() -> None:
    async with websockets.connect(sys.argv[1], subprotocols=[websockets.Subprotocol("ocpp1.6")]) as websocket:
        station = ChargePoint("CP1", websocket)
        reading = asyncio.create_task(station.start())
        latencies = []
        for _ in range(WARMING_UP + int(sys.argv[2])):
            start = time.perf_counter()
            await station.call(call.Heartbeat())
            latencies.append(round((time.perf_counter() - start) * 1e6))
        reading.cancel()
    print(json.dumps(latencies[WARMING_UP:]))


asyncio.run(main())
