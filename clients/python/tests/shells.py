"""Both clients with one blocking interface, so that one suite tests both."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Callable

import dictwire
import dictwire.aio


class Threads:
    """The client for threads, unchanged."""

    name = 'threads'

    def __init__(self, addr: str, **options: Any) -> None:
        self.client = dictwire.connect(addr, **options)

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return getattr(self.client, method)

    def read(self, *args: Any, **options: Any) -> Any:
        return self.client.read(*args, **options)


class Loop:
    """The client for asyncio: each call blocks while it runs in an event loop in another thread."""

    name = 'asyncio'

    def __init__(self, addr: str, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        try:
            self.client: dictwire.aio.Client = self.do(self._enter(addr, options))
        except BaseException:
            self._end()
            raise

    async def _enter(self, addr: str, options: dict[str, Any]) -> dictwire.aio.Client:
        return await dictwire.aio.connect(addr, **options).__aenter__()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def do(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(120)

    def __getattr__(self, method: str) -> Callable[..., Any]:
        f = getattr(self.client, method)
        return lambda *args, **options: _Receipt.of(self, self.do(f(*args, **options)))

    def close(self, *args: Any, **options: Any) -> None:
        if self._loop.is_closed():
            return
        try:
            self.do(self.client.close(*args, **options))
        finally:
            self._end()

    def read(self, *args: Any, **options: Any) -> Any:
        async def make() -> Any:
            return self.client.read(*args, **options)
        return _Reader(self, self.do(make()))


class _Receipt:
    def __init__(self, shell: Loop, receipt: dictwire.aio.Receipt) -> None:
        self._shell, self._receipt = shell, receipt

    @classmethod
    def of(cls, shell: Loop, value: Any) -> Any:
        return cls(shell, value) if isinstance(value, dictwire.aio.Receipt) else value

    def wait(self, timeout: Any = None) -> Any:
        self._shell.do(self._receipt.wait(timeout))
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._receipt, name)


class _Reader:
    def __init__(self, shell: Loop, reader: dictwire.aio.Reader) -> None:
        self._shell, self._reader = shell, reader

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        try:
            return self._shell.do(self._reader.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def commit(self, *args: Any) -> None:
        self._shell.do(self._reader.commit(*args))

    def close(self) -> None:
        self._shell.do(self._reader.close())

    @property
    def position(self) -> Any:
        return self._reader.position
