#!/usr/bin/env python3
"""Compares dictwire with what programs use today to pass dictionaries between processes.

    make build tools && PYTHONPATH=clients/python/src DICTWIRE=bin/dictwire .tools/python/bin/python bench/loops.py

Python's socket loop with JSON lines, multiprocessing.connection (pickle) and ZeroMQ's
send_json promise nothing: what is in flight when a process dies is lost. dictwire stores
and syncs each dictionary. Over a bare socket, to which the same loop sends, the sender does
not learn of that; with the client, each send is settled before the clock stops. One Python
program sends the same dictionaries to all of them, which take turns. Each receiver is a
process of its own, and has received everything before the clock stops. Rounds that failed
are listed, and left out of the figures; the exit status is then 1.
"""

import json
import multiprocessing
import multiprocessing.connection
import os
import socket
import statistics
import sys
import time

import zmq

import dictwire
from dictwire.testing import Server

N = int(os.environ.get('N', '100000'))
ROUNDS = int(os.environ.get('ROUNDS', '5'))
PATIENCE = 60  # seconds that a receiver may take
ORDERS = [{'name': f'Alice{i}', 'age': i % 90, 'city': 'Paris'} for i in range(N)]


def loop_receiver(ready, total):
    """Reads JSON lines, as tutorials do, and says how many came."""
    with socket.create_server(('127.0.0.1', 0)) as listener:
        ready.send(listener.getsockname())
        conn, _ = listener.accept()
        with conn, conn.makefile('rb') as lines:
            ready.send(sum(1 for line in lines if json.loads(line)))


def connection_receiver(ready, total):
    with multiprocessing.connection.Listener(('127.0.0.1', 0)) as listener:
        ready.send(listener.address)
        with listener.accept() as conn:
            ready.send(sum(1 for _ in range(total) if conn.recv()))


def zmq_receiver(ready, total):
    with zmq.Context() as context, context.socket(zmq.PULL) as pull:
        port = pull.bind_to_random_port('tcp://127.0.0.1')
        ready.send(('127.0.0.1', port))
        ready.send(sum(1 for _ in range(total) if pull.recv_json()))


def received_by(receiver, send):
    """Returns how long a receiver took for all dictionaries."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=receiver, args=(there, N))
    process.start()
    there.close()  # so that the end of the receiver is noticed
    try:
        address = told(here)
        begin = time.perf_counter()
        send(tuple(address))
        count = told(here)
        took = time.perf_counter() - begin
    finally:
        here.close()
        process.join(1)
        process.kill()
        process.join()
    if count != N:
        raise RuntimeError(f'{count} of {N} came')
    return took


def told(pipe):
    if not pipe.poll(PATIENCE):
        raise TimeoutError(f'no answer for {PATIENCE} s')
    return pipe.recv()


def send_lines(address):
    with socket.create_connection(address) as s:
        for d in ORDERS:
            s.sendall(json.dumps(d).encode() + b'\n')


def send_connection(address):
    with multiprocessing.connection.Client(address) as conn:
        for d in ORDERS:
            conn.send(d)


def send_zmq(address):
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.connect('tcp://{}:{}'.format(*address))
        for d in ORDERS:
            push.send_json(d)


def bare(server):
    host, port = server.addr.rsplit(':', 1)
    begin = time.perf_counter()
    with socket.create_connection((host, int(port))) as s:
        for d in ORDERS:
            s.sendall(json.dumps(d).encode() + b'\n')
        s.shutdown(socket.SHUT_WR)
        while s.recv(4096):  # until the server has read and stored everything
            pass
    return time.perf_counter() - begin


def settled(server):
    begin = time.perf_counter()
    with dictwire.connect(server.addr) as c:
        for d in ORDERS:
            c.send(d, 'orders')
        c.flush()
    return time.perf_counter() - begin


def main():
    with Server() as server:
        ways = {
            'dictwire, a bare socket': lambda: bare(server),
            'dictwire, its client, settled': lambda: settled(server),
            'socket loop, JSON lines': lambda: received_by(loop_receiver, send_lines),
            'multiprocessing.connection': lambda: received_by(connection_receiver, send_connection),
            'ZeroMQ send_json': lambda: received_by(zmq_receiver, send_zmq),
        }
        rates = {way: [] for way in ways}
        failures = []
        for n in range(ROUNDS):
            for way, run in ways.items():
                try:
                    rates[way].append(N / run())
                except Exception as e:
                    rates[way].append(None)
                    failures.append(f'failed: {way}, round {n + 1}: {e!r}')
    print('from Python to another process | dictionaries a second | dictwire bare is | its client is')
    print('---|--:|--:|--:')
    own = [rates[way] for way in list(ways)[:2]]
    for way, of in rates.items():
        good = [a for a in of if a]
        cells = [f'{statistics.median(good):,.0f} ({min(good):,.0f}–{max(good):,.0f})' if good else '–']
        if len(good) < len(of):
            cells[0] += f', {len(of) - len(good)} of {len(of)} rounds failed'
        for mine in own:
            ratios = [a / b for a, b in zip(mine, of) if a and b]
            cells.append(f'{statistics.median(ratios):.2f} ×' if ratios else '–')
        print(' | '.join([way, *cells]))
    for failure in failures:
        print('\n' + failure)
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
