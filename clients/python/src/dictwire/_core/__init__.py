"""The native session without I/O: bytes in, events out.

`Writer` and `Reader` hold the state of a producer in one topic, and of a subscription, across connections. `Servers`
and `Retry` choose the next server and the time of the next attempt. None of them opens a socket or reads a clock: a
shell makes connections, passes in received bytes with the time, and writes the bytes they return. The specification is
docs/protocol.md.
"""

from ._messages import (
    Batch,
    Broken,
    Committed,
    Damaged,
    End,
    Ended,
    Event,
    Progress,
    Rejected,
    Reply,
    Settled,
    Skipped,
    Welcomed,
)
from ._reader import Reader, advanced, follows, start
from ._servers import Backoff, Retry, Servers
from ._writer import Writer

__all__ = [
    'Backoff', 'Batch', 'Broken', 'Committed', 'Damaged', 'End', 'Ended', 'Event', 'Progress', 'Reader', 'Rejected',
    'Reply', 'Retry', 'Servers', 'Settled', 'Skipped', 'Welcomed', 'Writer', 'advanced', 'follows', 'start',
]
