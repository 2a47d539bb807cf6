"""Tests of 4-net.py: the process of dictwire, and its end by Ctrl-C."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest
from unittest import mock

import built
from built import free_port, wait_for
from exercise import (
    SCRIPT,
    Served,
    assert_no_processes,
    both,
    connect,
    environment,
    net,
    notice,
    processes,
    program,
    run,
    setUpModule,
    start,
)


class TestChild(unittest.TestCase):
    """What a dictwire process may do, with fake programs in its place."""

    def serve(self, name, text, timeout=30):
        """Run start_server with a fake dictwire, which can call accept()."""
        prelude = """\
            import atexit, os, signal, socket, sys, time
            fd = int([a for a in sys.argv if a.startswith('fd:')][0][3:])
            listener = socket.socket(fileno=fd)
            atexit.register(listener.close)
            """
        path = program(name, textwrap.dedent(prelude) + textwrap.dedent(text))
        port = free_port()
        done = run(f"print(__import__('4-net').start_server(port={port}))", environment(path), timeout=timeout)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def test_arguments(self):
        done = self.serve('arguments', 'print(*sys.argv[1:-1])\nprint(listener.getsockname()[0])\n')
        version = '%d.%d' % sys.version_info[:2]
        python = f' --python {version}' if (3, 8) <= sys.version_info[:2] <= (3, 14) else ''
        self.assertEqual(
            (done.stdout, done.stderr),
            (f'serve --once --quiet --insecure --print python{python} --listen\n127.0.0.1\nTrue\n', ''),
        )

    def test_unknown_python(self):
        """An unknown Python version is not passed to dictwire."""
        path = program('unknown-python', 'import sys\nprint(*sys.argv[1:-1])\n')
        with mock.patch.object(net.sys, 'version_info', (3, 99, 0)), Served(path) as server:
            pass
        self.assertEqual(server.stdout.getvalue(), 'serve --once --quiet --insecure --print python --listen\n')

    def test_much_on_both(self):
        """Neither pipe blocks the other, and the lines keep their order."""
        done = self.serve(
            'much',
            """
            for n in range(20_000):
                print(n, 'x' * 200)
                print(n, 'y' * 200, file=sys.stderr)
            """,
        )
        self.assertTrue(done.stdout == ''.join(f'{n} {"x" * 200}\n' for n in range(20_000)) + 'True\n')
        self.assertTrue(done.stderr == ''.join(f'{n} {"y" * 200}\n' for n in range(20_000)))

    def test_not_utf_8(self):
        done = self.serve('not-utf-8', r"os.write(1, b'a\xff\n\xc3'); os.write(2, b'b\xfe\n')")
        self.assertEqual((done.stdout, done.stderr), ('a\\xff\n\\xc3True\n', 'b\\xfe\n'))

    def test_failure_with_words(self):
        done = self.serve('words', "sys.exit('dictwire: no luck today')")
        self.assertEqual((done.stdout, done.stderr), ('False\n', 'dictwire: no luck today\n'))

    def test_failure_without_words(self):
        done = self.serve('no-words', 'sys.exit(3)')
        self.assertEqual((done.stdout, done.stderr), ('False\n', '4-net: dictwire ended with status 3 and no word\n'))

    def test_killed(self):
        done = self.serve('killed', 'os.kill(os.getpid(), 9)')
        self.assertEqual((done.stdout, done.stderr), ('False\n', '4-net: dictwire ended with status -9 and no word\n'))


class TestInterrupt(unittest.TestCase):
    """Ctrl-C and other ends leave nothing behind: no traceback, no process."""

    SERVER = """
        import sys
        net = __import__('4-net')
        print(net.start_server(port=%d))
    """

    def start(self, dictwire, script, port):
        args = ['-c', textwrap.dedent(script % port)]
        child = start(self, args, environment(dictwire), start_new_session=True)
        if dictwire != 'python':
            wait_for(processes, 'started dictwire')
        connect(port).close()
        return child

    @both
    def test_by_itself(self, dictwire):
        """Only Python gets the signal."""
        child = self.start(dictwire, self.SERVER, free_port())
        time.sleep(0.5)
        child.send_signal(signal.SIGINT)
        self.assertEqual(child.communicate(timeout=10), ('False\n', notice(dictwire)))
        assert_no_processes()

    @both
    def test_by_a_terminal(self, dictwire):
        """All processes get the signal: what has arrived is printed."""
        port = free_port()
        child = self.start(dictwire, self.SERVER, port)
        with connect(port) as c:
            c.sendall(b'{"a": 1}\n')
            self.assertEqual(child.stdout.readline(), 'Received Dictionary from Client:\n')
            os.killpg(child.pid, signal.SIGINT)
            self.assertEqual(child.stdout.read(), "{'a': 1}\nFalse\n")
        self.assertEqual(child.stderr.read(), notice(dictwire))
        assert_no_processes()

    def test_stubborn_child(self):
        """A child that ignores all signals but one is killed."""
        path = program(
            'stubborn',
            """
            import signal, time
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            print('ready', flush=True)
            time.sleep(100)
            """,
        )
        server = self.SERVER.replace('print', 'net.END_SECONDS = 0.3\n        print')
        child = self.start(path, server, free_port())
        self.assertEqual(child.stdout.readline(), 'ready\n')
        os.killpg(child.pid, signal.SIGINT)
        self.assertEqual(child.communicate(timeout=10), ('False\n', ''))
        assert_no_processes()

    def test_twice(self):
        """A second Ctrl-C does not wait."""
        path = program(
            'patient',
            """
            import signal, time
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            print('ready', flush=True)
            time.sleep(100)
            """,
        )
        child = self.start(path, self.SERVER, free_port())
        self.assertEqual(child.stdout.readline(), 'ready\n')
        began = time.monotonic()
        os.killpg(child.pid, signal.SIGINT)
        time.sleep(0.7)
        os.killpg(child.pid, signal.SIGINT)
        self.assertEqual(child.communicate(timeout=10), ('False\n', ''))
        self.assertLess(time.monotonic() - began, 1.7)
        assert_no_processes()

    def test_while_building(self):
        folder = tempfile.mkdtemp(dir=built.TMP)
        shutil.copy(SCRIPT, folder)
        open(os.path.join(folder, 'go.mod'), 'w').close()
        os.rename(program('go', 'import time\ntime.sleep(100)\n'), os.path.join(folder, 'go'))
        args = ['-c', textwrap.dedent(self.SERVER % free_port())]
        child = start(self, args, environment(None, PYTHONPATH=folder, PATH=folder), start_new_session=True)
        wait_for(processes, 'started go')
        os.killpg(child.pid, signal.SIGINT)
        self.assertEqual(child.communicate(timeout=10), ('False\n', ''))
        self.assertEqual(os.listdir(os.path.join(folder, 'bin')), [])
        assert_no_processes()

    def test_daemon_thread(self):
        """A script that ends before its server stops it."""
        for dictwire in (built.DICTWIRE, 'python'):
            port = free_port()
            script = """
                import sys, threading, time
                net = __import__('4-net')
                threading.Thread(target=net.start_server, kwargs={'port': %d}, daemon=True).start()
                sys.stdin.readline()
            """
            env = environment(dictwire, PYTHONDEVMODE='0', PYTHONWARNINGS='default')
            child = start(self, ['-c', textwrap.dedent(script % port)], env, stdin=subprocess.PIPE)
            with self.subTest(server=dictwire):
                connect(port).close()
                if dictwire != 'python':
                    wait_for(processes, 'started dictwire')
                time.sleep(0.3)
                stdout, stderr = child.communicate('\n', timeout=10)
                self.assertEqual((stdout, stderr, child.returncode), ('', notice(dictwire), 0))
                assert_no_processes()


if __name__ == '__main__':
    unittest.main()
