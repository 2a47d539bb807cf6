"""A handler for Python's logging that sends records to a topic.

    logging.getLogger().addHandler(dictwire.logging.Handler('logs'))

or in a dictConfig:

    'handlers': {'dictwire': {'class': 'dictwire.logging.Handler', 'topic': 'logs'}}

Each record becomes a dictionary:

    {'time': datetime, 'level': 'ERROR', 'logger': 'shop', 'msg': 'order 7 failed', 'args': (7,), 'where': 'shop.py:12',
     'function': 'order', 'process': 4711, 'thread': 'MainThread', 'exception': {'type': 'ValueError', 'text': 'no tea',
     'trace': 'Traceback …'}, and what extra= gave}
"""

from __future__ import annotations

import atexit
import logging
import sys
import threading
import traceback
from collections import deque
from datetime import datetime, timezone
from typing import Any, Optional

from ._client import EXIT, Client
from ._errors import Error, Unavailable

__all__ = ['Handler', 'dictionary']

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {'message', 'asctime', 'taskName'}


def dictionary(record: logging.LogRecord) -> dict[str, Any]:
    """Returns a log record as the dictionary that is sent. Values that dictwire can't carry become their repr."""
    try:
        message = record.getMessage()
    except Exception as e:  # the format does not fit the arguments: that must not lose the record
        message = f'{record.msg} {record.args!r} ({e})'
    d: dict[str, Any] = {
        'time': datetime.fromtimestamp(record.created, timezone.utc), 'level': record.levelname,
        'logger': record.name, 'msg': message,
    }
    if record.args:
        d['args'] = record.args
    d['where'] = f'{record.filename}:{record.lineno}'
    d['function'], d['process'], d['thread'] = record.funcName, record.process, record.threadName
    if record.exc_info and record.exc_info[0] is not None:
        kind, value, trace = record.exc_info
        d['exception'] = {'type': kind.__qualname__, 'text': str(value),
                          'trace': ''.join(traceback.format_exception(kind, value, trace))}
    elif record.exc_text:
        d['exception'] = {'trace': record.exc_text}
    if record.stack_info:
        d['stack'] = record.stack_info
    for key, value in vars(record).items():
        if key not in _OWN:
            d[key if key not in d else f'{key}_'] = value
    return d


class Handler(logging.Handler):
    """Sends log records in the background: it never raises into the program, and never holds it up.

    Up to `queue` records wait while the server is away or slow; beyond that the oldest are dropped, and the next
    record that is sent has their number as `dropped`. At the program's end it waits up to 10 seconds for what is
    queued.

    Args:
        topic: where the records go.
        addr, options: see `dictwire.connect`. The server need not be there yet.
        queue: how many records may wait.
        level: the lowest that is sent.
    """

    def __init__(self, topic: str = 'logs', addr: Optional[str] = None, *, queue: int = 10_000,
                 level: int = logging.NOTSET, **options: Any) -> None:
        super().__init__(level)
        self.topic, self._addr, self._options = topic, addr, options
        self._queue: deque[dict[str, Any]] = deque()
        self._limit, self._dropped = queue, 0
        self._changed = threading.Condition(threading.Lock())
        self._busy = self._ended = False
        self._client: Optional[Client] = None
        self._thread: Optional[threading.Thread] = None
        atexit.register(self.close)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            d = dictionary(record)
            with self._changed:
                if self._ended:
                    return
                if len(self._queue) >= self._limit:
                    self._queue.popleft()
                    self._dropped += 1
                self._queue.append(d)
                if self._thread is None or not self._thread.is_alive():  # the first, or after a fork
                    self._thread = threading.Thread(target=self._run, name='dictwire logging', daemon=True)
                    self._thread.start()
                self._changed.notify_all()
        except Exception:
            self.handleError(record)

    def flush(self, timeout: Optional[float] = EXIT) -> None:
        """Returns when all that was logged is settled, or after timeout seconds."""
        with self._changed:
            self._changed.wait_for(lambda: (not self._queue and not self._busy) or self._ended, timeout)

    def close(self) -> None:
        """Sends what is queued, within 10 seconds, and ends the handler."""
        if not self._ended:
            self.flush()
        with self._changed:
            self._ended = True
            left = len(self._queue)
            self._changed.notify_all()
        atexit.unregister(self.close)
        thread, client = self._thread, self._client
        if thread is not None:
            thread.join(1)
        if client is not None:
            try:
                client.close()
            except Error:
                pass
        if left:
            print(f'dictwire: {left} log records were not sent', file=sys.stderr)
        super().close()

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._queue or self._ended)
                    if self._ended:
                        return
                    batch, self._busy = list(self._queue), True
                    self._queue.clear()
                    if self._dropped:
                        batch[0]['dropped'], self._dropped = self._dropped, 0
                self._send(batch)
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
        finally:
            with self._changed:
                self._busy = False

    def _send(self, batch: list[dict[str, Any]]) -> None:
        while not self._ended:
            try:
                if self._client is None:
                    self._client = Client(self._addr, wait=1.0, default=repr, **self._options)
                self._client.send_many(batch, self.topic)
                return
            except Unavailable:
                continue
            except Exception as e:
                print(f'dictwire: {len(batch)} log records were not sent: {e}', file=sys.stderr)
                return
