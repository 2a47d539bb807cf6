"""Simulations: real clients and a real server, with a faulty network, kills, two clients of one name, and a store that
is rolled back or wiped. No acknowledged record is lost, duplicated or out of order, unless the client reports it.

PYSEEDS is the number of scenarios, and PYFIRST the first seed: `make pysimulate`.
"""

from __future__ import annotations

import collections
import concurrent.futures
import os
import pathlib
import random
import shutil
import threading
import unittest
from typing import Any, Callable

import dictwire
from dictwire.testing import Server

from .network import Network
from .shells import Loop, Threads

SEEDS = int(os.environ.get('PYSEEDS', '500'))  # make pysimulate runs more
FIRST = int(os.environ.get('PYFIRST', '0'))
AT_ONCE = 50  # scenarios that share a server and its fate
MAX_RECORD = 4096


class Scenario:
    """One or two clients that send to one topic and read it, over proxies of their own."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.seed, self.topic = world, seed, f's{seed}'
        self.r = random.Random(seed)
        self.acked: list[list[int]] = [[], []]  # the records acknowledged to each client
        self.rejected: set[int] = set()
        self.errors: list[str] = []
        self.gone: set[int] = set()  # the records that the server lost
        self.next = 0

    def connect(self, **options: Any) -> Any:
        r = self.r
        proxy = self.world.network.proxy(self.world.server.addr, r.randrange(1 << 30), r.choice([0, 1, 3, 5]))
        return r.choice([Threads, Loop])(proxy.addr, wait=20, window_records=r.choice([3, 50, 65536]), **options)

    def record(self) -> dict[Any, Any]:
        r, i = self.r, self.next
        self.next += 1
        x: Any = 'x' * (2 * MAX_RECORD) if r.random() < 0.01 else 'x' * r.randrange(50)
        return {'i': i, 'x': x} if r.random() < 0.5 else {'i': i, 'x': (x,)}

    def send(self, c: Any, count: int, who: int = 0) -> None:
        """Sends records, waits for all, and collects the outcomes."""
        receipts = []
        try:
            for _ in range(count):
                d = self.record()
                receipts.append((d['i'], c.send(d, self.topic, timeout=60)))
        finally:
            for i, receipt in receipts:
                try:
                    receipt.wait(60)
                    self.acked[who].append(i)
                except dictwire.RejectedError as e:
                    if e.code != 'too_large':
                        raise
                    self.rejected.add(i)

    def read(self, c: Any) -> None:
        """Reads all records with a cursor, and sometimes starts again from the last commit."""
        want, seen = self.acked[0], []
        reader = c.read(self.topic, cursor='r', timeout=60)
        while len(seen) < len(want):
            try:
                seen.append(next(reader).data['i'])
            except StopIteration:
                break
            if self.r.random() < 0.05:
                reader.close()  # the last record was not committed, and is read again
                reader = c.read(self.topic, cursor='r', timeout=60)
                seen.pop()
        reader.close()
        if seen != want:
            self.errors.append(f'read {seen}, want {want}')

    def check(self, stored: list[int]) -> None:
        """Checks the records that are stored in the end."""
        if len(set(stored)) != len(stored):
            self.errors.append(f'doubled: {stored}')
        for acked in self.acked:
            lost = set(acked) - set(stored)
            if lost:
                self.errors.append(f'acknowledged and lost: {sorted(lost)}')
            there = [i for i in stored if i in set(acked)]
            if there != acked:
                self.errors.append(f'out of order: {there}')
        if self.rejected & set(stored):
            self.errors.append('rejected and stored')

    # Fates

    def cuts(self) -> None:
        """A faulty network; the server may be killed, too."""
        with_reader = self.r.random() < 0.6
        c = self.connect()
        try:
            for _ in range(self.r.randrange(1, 4)):
                self.send(c, self.r.randrange(1, 25))
            if with_reader:
                self.read(c)
        finally:
            c.close()

    def twins(self) -> None:
        """Two clients of one name: at least one gets an error, and everything acknowledged to either is stored."""
        clients = [self.connect(), self.connect()]
        for c in clients:
            c.client.producer = f'twin.{self.seed}'
        told = []

        def one(who: int) -> None:
            try:
                for _ in range(3):
                    self.send(clients[who], 5, who)
            except (dictwire.FencedError, dictwire.ConflictError) as e:
                told.append(e)

        threads = [threading.Thread(target=one, args=(who,)) for who in (0, 1)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(120)
        for c in clients:
            try:
                c.close(0)
            except dictwire.NotSettled:
                pass
        if not told:
            self.errors.append('neither of two twins was told')

    def phases(self, turn: Callable[[], None], gone: int) -> None:
        """Sends in three phases. Before the last, the server loses the records of phase `gone` and later."""
        accept = self.r.random() < 0.3
        c = self.connect(accept_lost=accept)
        lost = 0
        try:
            for phase in range(3):
                before, numbers = list(self.acked[0]), self.next
                if phase == 2 and lost and not accept:
                    try:
                        self.send(c, 5)
                    except dictwire.LostError:
                        pass
                    else:
                        self.errors.append('the server has less than it acknowledged, and nobody was told')
                    self.acked[0] = [i for i in self.acked[0] if i not in self.gone]
                    return
                if phase == 2:
                    self.acked[0] = [i for i in self.acked[0] if i not in self.gone]
                    self.send(c, 5)
                    return
                self.send(c, self.r.choice([0, 1, 10]))
                if phase >= gone:
                    new = set(self.acked[0]) - set(before)
                    self.gone |= new
                    lost += self.next - numbers
                turn()
        finally:
            try:
                c.close(0)
            except dictwire.NotSettled:
                pass


class World:
    """A server, and the scenarios that share its fate."""

    def __init__(self, network: Network, seeds: range) -> None:
        self.network, self.r = network, random.Random(f'world {seeds[0]}')
        self.scenarios = [Scenario(self, seed) for seed in seeds]
        self.fate = ['calm', 'kills', 'twins', 'kills', 'rollback', 'wipe'][seeds[0] // AT_ONCE % 6]
        self.server = Server('--durability', 'os', '--max-record', str(MAX_RECORD))

    def run(self) -> list[str]:
        """Runs all scenarios, and returns the errors."""
        with self.server, concurrent.futures.ThreadPoolExecutor(2 * len(self.scenarios)) as pool:
            getattr(self, self.fate)(pool)
            stored = collections.defaultdict(list)
            with dictwire.connect(self.server.addr, wait=20) as c:
                for r in c.read('*', timeout=60):
                    stored[r.topic].append(r.data['i'])
            self.network.end()
            for s in self.scenarios:
                s.check(stored[s.topic])
        return [f'seed {s.seed}, {self.fate}: {e}' for s in self.scenarios for e in s.errors]

    def all(self, pool: Any, work: Callable[[Scenario], None]) -> list[Any]:
        def one(s: Scenario) -> None:
            try:
                work(s)
            except Exception as e:
                s.errors.append(f'{type(e).__name__}: {e}')
        return [pool.submit(one, s) for s in self.scenarios]

    def calm(self, pool: Any) -> None:
        concurrent.futures.wait(self.all(pool, Scenario.cuts))

    def twins(self, pool: Any) -> None:
        concurrent.futures.wait(self.all(pool, Scenario.twins))

    def kills(self, pool: Any) -> None:
        """The server is killed and restarted."""
        running = self.all(pool, Scenario.cuts)
        for _ in range(self.r.randrange(1, 3)):
            concurrent.futures.wait(running, self.r.uniform(0.02, 0.2))
            self.server.kill()
            concurrent.futures.wait(running, self.r.uniform(0, 0.05))
            self.server.start()
        concurrent.futures.wait(running)

    def rollback(self, pool: Any) -> None:
        """The store is replaced by a copy from after the first phase."""
        self.phases(pool, copied_after=0)

    def wipe(self, pool: Any) -> None:
        """The store is replaced by an empty one."""
        self.phases(pool, copied_after=-1)

    def phases(self, pool: Any, copied_after: int) -> None:
        store = pathlib.Path(self.server.store)
        copy = store.with_name('copy')
        turns = iter(range(2))

        def turn() -> None:
            phase = next(turns)
            self.server.stop()
            if phase == copied_after:
                shutil.copytree(store, copy)
            if phase == 1:
                shutil.rmtree(store)
                if copy.exists():
                    shutil.copytree(copy, store)
            self.server.start()

        barrier = threading.Barrier(len(self.scenarios), turn, timeout=120)

        def work(s: Scenario) -> None:
            try:
                s.phases(barrier.wait, copied_after + 1)
            except BaseException:
                barrier.abort()
                raise

        concurrent.futures.wait(self.all(pool, work))


class TestSimulate(unittest.TestCase):
    def test_scenarios(self) -> None:
        network = Network()
        self.addCleanup(network.close)
        wrong = []
        for first in range(FIRST, FIRST + SEEDS, AT_ONCE):
            wrong += World(network, range(first, min(first + AT_ONCE, FIRST + SEEDS))).run()
        self.assertEqual(wrong, [])


if __name__ == '__main__':
    unittest.main()
