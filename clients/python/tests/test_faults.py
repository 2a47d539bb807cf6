"""A network that cuts, delays and swallows between the real client and the real server: nothing acked is lost, doubled
or out of order."""

from __future__ import annotations

import os
import random
import select
import socket
import threading
import time
import unittest

import dictwire
from dictwire.testing import Server

from .shells import Loop, Threads

NETWORKS = int(os.environ.get('NETWORKS', '40'))
FIRST = int(os.environ.get('FIRST', '0'))


class Proxy:
    """Passes bytes on, and breaks connections at random."""

    def __init__(self, to: str, seed: int) -> None:
        self.random, self.harmful = random.Random(seed), True
        host, port = to.rsplit(':', 1)
        self.to = host, int(port)
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.addr = f'127.0.0.1:{self.listener.getsockname()[1]}'
        self.ended = False
        self.threads = [threading.Thread(target=self.accept, daemon=True)]
        self.threads[0].start()

    def accept(self) -> None:
        while not self.ended:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            t = threading.Thread(target=self.carry, args=(client, self.random.random()), daemon=True)
            self.threads.append(t)
            t.start()

    def carry(self, client: socket.socket, seed: float) -> None:
        r = random.Random(seed)
        try:
            server = socket.create_connection(self.to, 5)
        except OSError:
            client.close()
            return
        left = {client: r.choice([r.randrange(1, 400), r.randrange(1, 20_000), 1 << 40]),
                server: r.choice([r.randrange(1, 300), r.randrange(1, 5_000), 1 << 40])}
        other = {client: server, server: client}
        lag = r.choice([0, 0, 0.001, 0.01])
        try:
            while not self.ended:
                ready, _, _ = select.select([client, server], [], [], 0.1)
                for s in ready:
                    data = s.recv(r.choice([1 << 16, 1 << 16, 100]))
                    if not data:
                        return
                    if self.harmful and len(data) >= left[s]:
                        other[s].sendall(data[:left[s]])
                        return
                    left[s] -= len(data)
                    if lag and self.harmful:
                        time.sleep(lag)
                    other[s].sendall(data)
        except OSError:
            pass
        finally:
            client.close()
            server.close()

    def close(self) -> None:
        self.ended = True
        self.listener.shutdown(socket.SHUT_RDWR)  # which wakes accept; close alone does not
        self.listener.close()
        for t in self.threads:
            t.join(5)
            if t.is_alive():
                raise AssertionError(f'{t.name} goes on after the proxy was closed')


class TestFaults(unittest.TestCase):
    def test_cuts(self) -> None:
        with Server('--durability', 'os') as server:
            for seed in range(FIRST, FIRST + NETWORKS):
                with self.subTest(seed=seed):
                    self.one(server, seed)

    def one(self, server: Server, seed: int) -> None:
        r = random.Random(seed)
        shell = r.choice([Threads, Loop])
        topic, count = f's{seed}', r.randrange(20, 400)
        proxy = Proxy(server.addr, seed)
        c = shell(proxy.addr, wait=10, window_records=r.choice([5, 100, 65536]))
        seen: list[int] = []
        receipts = []
        try:
            kill = r.randrange(count) if r.random() < 0.3 else -1
            for i in range(count):
                if i == kill:
                    server.restart()
                x = 'x' * (2 << 20) if r.random() < 0.005 else 'x' * r.randrange(50)
                receipts.append(c.send({'i': i, 'x': x} if r.random() < 0.5 else {'i': i, 'x': (x,)}, topic, timeout=60))
            reader = c.read(topic, cursor='r', timeout=60)
            rejected = set()
            for i, receipt in enumerate(receipts):
                try:
                    receipt.wait(60)
                except dictwire.RejectedError as e:
                    self.assertEqual(e.code, 'too_large')
                    rejected.add(i)
            while len(seen) < count - len(rejected):
                try:
                    seen.append(next(reader).data['i'])
                except StopIteration:
                    break
                if r.random() < 0.02:
                    reader.close()  # what was returned last was not committed, and comes again
                    reader = c.read(topic, cursor='r', timeout=60)
                    seen.pop()
            reader.close()
            want = [i for i in range(count) if i not in rejected]
            self.assertEqual(seen, want, 'read')
            proxy.harmful = False
            self.assertEqual([d['i'] for d in server.records(topic)], want, 'stored')
        finally:
            c.close()
            proxy.close()


if __name__ == '__main__':
    unittest.main()
