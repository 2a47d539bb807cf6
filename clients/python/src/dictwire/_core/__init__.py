"""The native session without I/O: bytes in, events out.

`Writer` and `Reader` hold what one topic's records, or one subscription, need to know across
connections, and `Servers` which of several servers is tried next. They neither read a clock nor touch a
socket: a shell connects, hands them the bytes that come with the time, and writes what they return.
docs/protocol.md of the project is their specification.
"""

from ._messages import (
    Batch,
    Broken,
    Committed,
    Damaged,
    End,
    Ended,
    Progress,
    Rejected,
    Reply,
    Settled,
    Skipped,
    Welcomed,
)
from ._reader import Reader, advanced, follows, start
from ._servers import Servers
from ._writer import Writer

__all__ = [
    'Batch', 'Broken', 'Committed', 'Damaged', 'End', 'Ended', 'Progress', 'Reader', 'Rejected', 'Reply', 'Servers',
    'Settled', 'Skipped', 'Welcomed', 'Writer', 'advanced', 'follows', 'start',
]
