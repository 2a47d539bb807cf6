"""A logging handler that sends log records to a topic.

    logging.getLogger().addHandler(dictwire.logging.Handler('logs'))

or in a dictConfig:

    'handlers': {'dictwire': {'class': 'dictwire.logging.Handler', 'topic': 'logs'}}

Each record becomes a dictionary:

    {'time': datetime, 'level': 'ERROR', 'logger': 'shop', 'msg': 'order 7 failed', 'args': (7,), 'where': 'shop.py:12',
     'function': 'order', 'process': 4711, 'thread': 'MainThread', 'exception': {'type': 'ValueError', 'text': 'no tea',
     'trace': 'Traceback …'}, and the attributes in extra=}
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import traceback
import weakref
from collections import deque
from datetime import datetime, timezone
from typing import Any, Optional

from ._errors import Error, RejectedError, Unavailable
from ._sending import EXIT, Chunk, check_topic
from ._threads import Client
from ._threads._process import finalize
from ._values import encode

__all__ = ['Handler', 'dictionary']

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {'message', 'asctime', 'taskName'}


def dictionary(record: logging.LogRecord) -> dict[str, Any]:
    """Converts a log record to the dictionary that is sent. Unsupported values are replaced by their repr()."""
    try:
        message = record.getMessage()
    except Exception as e:  # the arguments do not match the format: send the record anyway
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


def _repr(value: Any) -> str:
    """Returns the repr() of an unsupported value, even if that raises."""
    try:
        return repr(value)
    except Exception as e:
        return f'<{type(value).__qualname__}: repr() raised {type(e).__name__}>'


def _record(d: dict[str, Any]) -> bytes:
    """Encodes a dictionary. If that fails, as with circular references, its values are replaced by their repr()."""
    try:
        return encode(d, _repr)
    except Exception as e:
        plain = {key: value if type(value) in (str, int, datetime) else _repr(value)[:1000] for key, value in d.items()}
        return encode({**plain, 'cut': str(e)}, _repr)


class Handler(logging.Handler):
    """Sends log records in the background. Logging never raises an exception and never blocks.

    Each record is encoded when it is logged, so later changes to its arguments have no effect. Up to `queue` records
    are kept while the server is slow or can't be reached. Beyond that, the oldest are dropped, and the next record
    contains their number as `dropped`. At exit, the handler waits up to 10 seconds for the queue to be sent. A forked
    child has its own queue.

    Args:
        topic: the topic of the records.
        addr, options: see `dictwire.connect`. The server does not need to be running yet.
        queue: the maximum number of records to keep.
        level: the lowest level to send.
    """

    def __init__(self, topic: str = 'logs', addr: Optional[str] = None, *, queue: int = 10_000,
                 level: int = logging.NOTSET, **options: Any) -> None:
        super().__init__(level)
        check_topic(topic)
        self.topic, self._addr, self._options, self._limit = topic, addr, options, queue
        self._ended, self._told = False, ''
        self._client: Optional[Client] = None
        self._reset()
        _handlers.add(self)
        atexit.register(self.close)

    def _reset(self) -> None:
        self._changed = threading.Condition()  # with an RLock, because a signal handler may log, too
        self._queue: deque[bytes] = deque()
        self._dropped = 0
        self._busy = False
        self._thread: Optional[threading.Thread] = None
        self._unstarted = [threading.Thread(target=self._run, name='dictwire logging', daemon=True)]

    def emit(self, record: logging.LogRecord) -> None:
        """Queues a record."""
        try:
            d = dictionary(record)
            with self._changed:
                if self._ended:
                    return
                if self._dropped and len(self._queue) < self._limit:
                    d['dropped'], self._dropped = self._dropped, 0
                if len(self._queue) >= self._limit:
                    self._queue.popleft()
                    self._dropped += 1
                self._queue.append(_record(d))
                if self._unstarted:
                    self._start()
                self._changed.notify_all()
        except Exception:
            self.handleError(record)

    def _start(self) -> None:
        try:
            thread = self._unstarted.pop()  # atomic, in case a signal handler logs, too
        except IndexError:
            return
        thread.start()
        self._thread = thread
        finalize(self.close, 1)

    def flush(self, timeout: Optional[float] = EXIT) -> None:
        """Returns when all queued records are settled, or after timeout seconds."""
        with self._changed:
            self._changed.wait_for(lambda: (not self._queue and not self._busy) or self._ended, timeout)

    def close(self) -> None:
        """Waits up to 10 seconds for queued records, then closes the handler."""
        if not self._ended:
            self.flush()
        with self._changed:
            self._ended = True
            left = len(self._queue)
            self._queue.clear()
            self._changed.notify_all()
        atexit.unregister(self.close)
        thread, client = self._thread, self._client
        if thread is not None:
            thread.join(1)
        if client is not None:
            try:
                client.close(0)
            except Error as e:
                self._tell(str(e))
        if left:
            self._tell(f'{left} log records were not sent')
        super().close()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._ended)
                if self._ended:
                    return
                chunk, self._busy = Chunk(), True
                while self._queue and not chunk.add(self._queue.popleft()):
                    pass
            try:
                self._send(chunk)
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _send(self, chunk: Chunk) -> None:
        while not self._ended:
            try:
                if self._client is None:
                    self._client = Client(self._addr, wait=1.0, **self._options)
                topic = self._client._topic(self.topic)
                last = topic.send(chunk, None)
                topic.wait(last - len(chunk.records) + 1, last, None)
                return
            except Unavailable:
                continue
            except RejectedError as e:  # all others are stored
                self._tell(f'{1 + len(e.others)} log records were not stored: {e}')
                return
            except Exception as e:
                if not self._ended:
                    self._tell(f'{len(chunk.records)} log records were not sent: {e}')
                return

    def _tell(self, text: str) -> None:
        """Prints an error to standard error, unless it is the same as the last one."""
        if text != self._told and sys.stderr is not None:
            self._told = text
            print(f'dictwire: {text}', file=sys.stderr)


_handlers: weakref.WeakSet[Handler] = weakref.WeakSet()


def _forked() -> None:
    for handler in list(_handlers):
        handler._reset()  # the parent sends its own queue


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forked)
