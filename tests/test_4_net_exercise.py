"""Tests of 4-net.py: the script of the exercise, and where dictwire comes from."""

import contextlib
import os
import re
import shutil
import socket
import tempfile
import textwrap
import threading
import time
import unittest

import built
from built import free_port, wait_for
from exercise import (
    EXERCISE,
    PRINTED,
    SCRIPT,
    both,
    environment,
    notice,
    program,
    run,
    setUpModule,
    source_tree,
)


class TestExercise(unittest.TestCase):
    """The exercise's own script, which uses the default port."""

    def setUp(self):
        def is_free():
            with socket.socket() as s, contextlib.suppress(OSError):
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind(('127.0.0.1', 65432))
                return True

        wait_for(is_free, 'was port 65432 free')

    @both
    def test_literally(self, dictwire):
        done = run(EXERCISE, environment(dictwire), timeout=30)
        self.assertEqual((done.stdout, done.stderr, done.returncode), (PRINTED, notice(dictwire), 0))

    @both
    def test_twice_in_a_row(self, dictwire):
        done = run(EXERCISE * 2, environment(dictwire), timeout=30)
        self.assertEqual((done.stdout, done.stderr, done.returncode), (PRINTED * 2, notice(dictwire) * 2, 0))

    @both
    def test_without_join(self, dictwire):
        script = EXERCISE.replace('server_thread.join()\n', '')
        done = run(script, environment(dictwire), timeout=30)
        self.assertEqual((done.stdout, done.stderr, done.returncode), (PRINTED, notice(dictwire), 0))

    def test_slow_build(self):
        """The build takes longer than the second that the script waits."""
        with tempfile.TemporaryDirectory(dir=built.TMP) as folder:
            tree = source_tree(os.path.join(folder, 'tree'))
            go = shutil.which('go')
            slow = f'import os, sys, time\ntime.sleep(2)\nos.execv({go!r}, sys.argv)\n'
            os.rename(program('go', slow), os.path.join(folder, 'go'))
            began = time.monotonic()
            done = run(EXERCISE, environment(None, PYTHONPATH=tree, PATH=folder), timeout=300)
            took = time.monotonic() - began
            self.assertEqual((done.stdout, done.stderr, done.returncode), (PRINTED, '', 0))
            self.assertGreater(took, 2)
            self.assertEqual(os.listdir(os.path.join(tree, 'bin')), ['dictwire'])


class TestFindDictwire(unittest.TestCase):
    """Where the binary comes from."""

    SCRIPT = """
        import sys, threading
        net = __import__('4-net')
        port = int(sys.argv[1]) if sys.argv[1:] else %d
        t = threading.Thread(target=lambda: print(net.start_server(port=port)))
        t.start()
        print(net.send_data({'name': 'Alice', 'age': 30, 'city': 'Paris'}, port=port), flush=True)
        t.join()
    """

    def serve(self, env, **options):
        """Run a server and a client; return stderr. stdout must be as expected."""
        done = run(self.SCRIPT % free_port(), env, **options)
        self.assertEqual(done.returncode, 0)
        lines = done.stdout.splitlines(keepends=True)
        self.assertEqual(lines.count('True\n'), 2, done)
        self.assertEqual(''.join(line for line in lines if line != 'True\n'), PRINTED)
        return done.stderr

    def setUp(self):
        self.folder = tempfile.mkdtemp(dir=built.TMP)
        shutil.copy(SCRIPT, self.folder)

    def env(self, dictwire=None, **more):
        return environment(dictwire, **{'PYTHONPATH': self.folder, 'PATH': '/nowhere', **more})

    def logger(self, name):
        """A program that writes a file and then becomes dictwire."""
        mark = os.path.join(self.folder, 'mark')
        text = f"import os, sys\nopen({mark!r}, 'w').close()\nos.execv({built.DICTWIRE!r}, sys.argv)"
        return program(name, text), mark

    def test_environment_variable(self):
        path, mark = self.logger('other-dictwire')
        os.mkdir(os.path.join(self.folder, 'bin'))
        os.symlink(built.DICTWIRE, os.path.join(self.folder, 'bin', 'dictwire'))
        self.assertEqual(self.serve(self.env(path)), '')
        self.assertTrue(os.path.exists(mark))

    def test_environment_variable_with_a_name(self):
        path, mark = self.logger('named-dictwire')
        self.assertEqual(self.serve(self.env('named-dictwire', PATH=built.TMP)), '')
        self.assertTrue(os.path.exists(mark))

    def test_bin_beside(self):
        path, mark = self.logger('beside')
        os.mkdir(os.path.join(self.folder, 'bin'))
        os.symlink(path, os.path.join(self.folder, 'bin', 'dictwire'))
        self.assertEqual(self.serve(self.env(PATH=built.TMP)), '')  # TMP has another one
        self.assertTrue(os.path.exists(mark))

    def test_bin_beside_a_symbolic_link(self):
        os.mkdir(os.path.join(self.folder, 'bin'))
        os.symlink(built.DICTWIRE, os.path.join(self.folder, 'bin', 'dictwire'))
        with tempfile.TemporaryDirectory(dir=built.TMP) as elsewhere:
            os.symlink(os.path.join(self.folder, '4-net.py'), os.path.join(elsewhere, '4-net.py'))
            self.assertEqual(self.serve(self.env(PYTHONPATH=elsewhere)), '')

    def test_path(self):
        self.assertEqual(self.serve(self.env(PATH=built.TMP)), '')

    def test_relative_path_and_another_working_directory(self):
        """The module is found relative to a directory that the script leaves."""
        os.mkdir(os.path.join(self.folder, 'bin'))
        os.symlink(built.DICTWIRE, os.path.join(self.folder, 'bin', 'dictwire'))
        script = "import os\nimport sys\nsys.path.insert(0, '.')\nnet = __import__('4-net')\nos.chdir('/')\n"
        done = run(script + textwrap.dedent(self.SCRIPT % free_port()), self.env(PYTHONPATH=''), cwd=self.folder)
        self.assertIn(PRINTED, done.stdout)
        self.assertEqual(done.stderr, '')

    def test_two_builds_at_once(self):
        tree = source_tree(os.path.join(self.folder, 'tree'))
        env = self.env(PYTHONPATH=tree, PATH=built.TOOLS)
        failures = []

        def serve():
            try:
                self.assertEqual(self.serve(env, timeout=300), '')
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=serve) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertEqual(os.listdir(os.path.join(tree, 'bin')), ['dictwire'])
        self.assertEqual(self.serve(self.env(PYTHONPATH=tree)), '')  # without Go: it is there now

    def plain(self, env, why):
        """The plain Python server is used instead, and one line says why."""
        self.assertEqual(self.serve(env), f'4-net: {why}; a plain Python server takes its place\n')

    def test_neither_binary_nor_go(self):
        self.plain(self.env(), 'there is neither dictwire nor Go to build it')

    def test_neither_binary_nor_source(self):
        self.plain(self.env(PATH=built.TOOLS), 'there is neither dictwire nor its source beside 4-net.py')

    def test_python_by_request(self):
        self.plain(self.env('python', PATH=built.TMP), 'DICTWIRE=python')

    def test_wrong_environment_variable(self):
        self.plain(self.env(SCRIPT + 'x'), f'DICTWIRE={SCRIPT}x is not a program that can be run')

    def test_environment_variable_without_permission(self):
        path = os.path.join(self.folder, '4-net.py')
        os.chmod(path, 0o644)
        self.plain(self.env(path), f'DICTWIRE={path} is not a program that can be run')

    def test_binary_of_no_known_format(self):
        path = os.path.join(self.folder, 'broken')
        with open(path, 'wb') as f:
            f.write(b'\x7fELF, or is it?')
        os.chmod(path, 0o755)
        self.plain(self.env(path), f"can't run {path}: Exec format error")

    def test_build_fails(self):
        for name, text in (('go.mod', 'module example.org/x\n'), ('main.go', 'package main\n\nfunc main() { oops }\n')):
            os.makedirs(os.path.join(self.folder, 'cmd', 'dictwire'), exist_ok=True)
            where = os.path.join(self.folder, 'cmd', 'dictwire') if name == 'main.go' else self.folder
            with open(os.path.join(where, name), 'w', encoding='utf-8') as f:
                f.write(text)
        env = self.env(PATH=built.TOOLS)
        self.plain(env, 'go build failed: cmd/dictwire/main.go:3:15: undefined: oops')
        self.assertEqual(os.listdir(os.path.join(self.folder, 'bin')), [])

    def test_nowhere_to_build(self):
        for name in ('go.mod', 'bin'):
            open(os.path.join(self.folder, name), 'w').close()
        self.plain(self.env(PATH=built.TOOLS), "can't build dictwire: File exists")


class TestSource(unittest.TestCase):
    def test_plain_server_is_short(self):
        """At most 40 lines of code."""
        with open(SCRIPT, encoding='utf-8') as f:
            source = f.read()
        heading = '# ------------------------------------------------- the server in plain Python\n'
        section = source.split(heading)[1].split('\n# ----')[0]
        code = re.sub(r'""".*?"""\n', '', section, flags=re.S)
        lines = [line for line in code.splitlines() if line.strip() and not line.strip().startswith('#')]
        self.assertLessEqual(len(lines), 40)


if __name__ == '__main__':
    unittest.main()
