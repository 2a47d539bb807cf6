"""A faulty network: it cuts, delays, splits and drops data, reproducibly from a seed."""

from __future__ import annotations

import asyncio
import random
import threading


class Network:
    """A thread that runs the proxies of all scenarios."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name='network', daemon=True)
        self._thread.start()
        self._proxies: list[Proxy] = []

    def proxy(self, to: str, seed: int, faults: int) -> Proxy:
        """Returns a proxy to a server that disturbs a number of connections, and then no more."""
        p = Proxy(to, random.Random(seed), faults)
        asyncio.run_coroutine_threadsafe(p.start(), self.loop).result(10)
        self._proxies.append(p)
        return p

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    def end(self) -> None:
        """Ends all proxies."""
        asyncio.run_coroutine_threadsafe(self._end(), self.loop).result(10)

    async def _end(self) -> None:
        for p in self._proxies:
            p.close()
        self._proxies.clear()
        tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Proxy:
    """Forwards data to a server, and disturbs connections."""

    def __init__(self, to: str, rng: random.Random, faults: int) -> None:
        host, port = to.rsplit(':', 1)
        self.to, self.random, self.faults = (host, int(port)), rng, faults
        self.addr = ''

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, '127.0.0.1', 0)
        self.addr = f'127.0.0.1:{self._server.sockets[0].getsockname()[1]}'

    def close(self) -> None:
        self._server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            up, down = await asyncio.open_connection(*self.to)
            writers.append(down)
            harm = self.faults > 0
            self.faults -= 1
            ways = [asyncio.ensure_future(self._carry(*way, harm)) for way in ((reader, down), (up, writer))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            pass  # the server is down
        finally:
            for w in writers:
                w.transport.abort()

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, harm: bool) -> None:
        r = self.random
        left = r.choice([r.randrange(400), r.randrange(5000), 1 << 40]) if harm else 1 << 40
        swallow = harm and r.random() < 0.3  # after the cut, data is dropped for a while
        piece = r.choice([1 << 16, 1 << 16, 50]) if harm else 1 << 16
        lag = r.choice([0, 0, 0, 0.002]) if harm else 0
        try:
            while data := await source.read(piece):
                if len(data) >= left:
                    sink.write(data[:left])
                    await sink.drain()
                    if swallow:
                        await asyncio.sleep(0.03)
                    return
                left -= len(data)
                if lag:
                    await asyncio.sleep(lag)
                sink.write(data)
                await sink.drain()
        except OSError:
            pass


