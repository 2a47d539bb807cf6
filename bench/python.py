#!/usr/bin/env python3
"""Compares the Python client with redis-py and the forty-line client of docs/protocol.md: the best of three turns each.

    make build tools && PYTHONPATH=clients/python/src DICTWIRE=bin/dictwire .tools/python/bin/python bench/python.py

Both servers sync before they acknowledge, and have their files in one directory.
"""

import asyncio
import itertools
import json
import os
import pathlib
import re
import resource
import socket
import subprocess
import tempfile
import time

import redis

import dictwire
import dictwire.aio
from dictwire.testing import Server

N = int(os.environ.get('N', '200000'))
PAGE = pathlib.Path(__file__).parent.parent / 'docs' / 'protocol.md'
ORDERS = [{'name': f'Alice{i}', 'age': i % 90, 'city': 'Paris'} for i in range(N)]
TOPICS = (f't{i}' for i in itertools.count())


def best(work, count):
    """Returns how many a second, the best of three."""
    rates = []
    for _ in range(3):
        begin = time.perf_counter()
        work()
        rates.append(count / (time.perf_counter() - begin))
    return max(rates)


def say(what, mine, theirs, who, target):
    print(f'{what:<28} {mine:>10,.0f} /s   {who} {theirs:>10,.0f} /s   {mine / theirs:5.2f} x   target {target}', flush=True)


def main():
    namespace = {}
    exec([text for text in re.findall(r'^```python\n(.*?)^```', PAGE.read_text(), re.M | re.S) if 'class Client' in text][0], namespace)
    with tempfile.TemporaryDirectory() as work, socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
        s.close()
        process = subprocess.Popen(['redis-server', '--port', str(port), '--dir', work, '--appendonly', 'yes', '--appendfsync', 'always',
                                    '--save', ''], stdout=subprocess.DEVNULL)
        try:
            r = redis.Redis(port=port)
            for _ in range(100):
                try:
                    r.ping()
                    break
                except redis.ConnectionError:
                    time.sleep(0.05)
            with Server() as server, dictwire.connect(server.addr) as c:
                measure(server, c, r, namespace['Client'])
        finally:
            process.kill()
            process.wait()


def measure(server, c, r, forty):
    few = ORDERS[:N // 4]

    def xadd():
        for i in range(0, len(few), 1000):
            pipe = r.pipeline(transaction=False)
            for d in few[i:i + 1000]:
                pipe.xadd('s', d)
            pipe.execute()

    threads = best(lambda: c.send_many(ORDERS, next(TOPICS)), N)
    say('send_many, settled', threads, best(xadd, len(few)), 'redis-py XADD ', '5 x')

    def xread():
        last, count = '0', 0
        while count < len(few):
            for _, entries in r.xread({'s': last}, count=1000):
                for last, fields in entries:
                    {key.decode(): value.decode() for key, value in fields.items()}
                    count += 1

    c.send_many(ORDERS, 'read')
    reading = best(lambda: sum(len(record.data) for record in c.read('read')), N)
    say('read', reading, best(xread, len(few)), 'redis-py XREAD', '3 x')

    async def aio_send():
        async with dictwire.aio.connect(server.addr) as a:
            await a.send_many(ORDERS, next(TOPICS))

    async def aio_read():
        async with dictwire.aio.connect(server.addr) as a:
            async for record in a.read('read'):
                len(record.data)

    say('asyncio send_many', best(lambda: asyncio.run(aio_send()), N), threads, 'threads       ', '0.7 x')
    say('asyncio read', best(lambda: asyncio.run(aio_read()), N), reading, 'threads       ', '0.7 x')

    host, port = server.addr.split(':')
    old = forty('one', (host, int(port)))

    def one():
        for d in ORDERS[:1000]:
            c.send(d, 'one').wait()

    def forty_one():
        for d in ORDERS[:1000]:
            old.send(d)
            old.flush()

    say('one in flight', best(one, 1000), best(forty_one, 1000), 'forty lines   ', '1/1.3 x')

    with socket.create_server(('127.0.0.1', 0)) as mute:
        full = dictwire.connect(f'127.0.0.1:{mute.getsockname()[1]}')
        before, count = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0
        try:
            for count in range(1_000_000):
                full.send(ORDERS[count % N], timeout=0)
        except dictwire.Timeout:
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            print(f'a server that is silent: {count} records of {len(json.dumps(ORDERS[0]))} bytes are held, {grown / 1024:.1f} MiB more memory')
        try:
            full.close(0)
        except dictwire.NotSettled:
            pass


main()
