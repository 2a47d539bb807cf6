"""The transcripts in docs/protocol.md."""

from __future__ import annotations

import os
import re

PAGE = os.path.join(os.path.dirname(__file__), '..', '..', '..', 'docs', 'protocol.md')


def transcripts() -> list[list[list[tuple[str, str]]]]:
    """Returns the connections of each transcript, each a list of (who, text). Those with two at a time are omitted."""
    with open(PAGE, encoding='utf-8') as f:
        page = f.read()
    found = []
    for block in re.findall(r'^```transcript[^\n]*\n(.*?)^```', page, re.DOTALL | re.MULTILINE):
        if re.search(r'^[CS]\d', block, re.MULTILINE):
            continue
        connections = []
        for part in re.split(r'\n[ \t]*\n', block.strip()):
            lines = [re.match(r'([CS][:>]) ?(.*)', line) for line in part.splitlines()]
            connections.append([(m[1], m[2]) for m in lines if m])
        found.append([c for c in connections if c])
    return found
