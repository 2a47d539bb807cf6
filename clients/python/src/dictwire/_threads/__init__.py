"""The client for threads, which blocks."""

from ._client import Client, Receipt
from ._reader import Reader

__all__ = ['Client', 'Reader', 'Receipt']
