#!/usr/bin/env python3
"""A dictionary goes from a client to a server, which prints it.

    net = __import__('4-net')
    threading.Thread(target=net.start_server).start()
    net.send_data({'name': 'Alice', 'age': 30, 'city': 'Paris'})

prints

    Received Dictionary from Client:
    {'name': 'Alice', 'age': 30, 'city': 'Paris'}

start_server serves one connection, send_data sends one dictionary over one.
Both also run on their own:

    python3 4-net.py server [--host HOST] [--port PORT]
    python3 4-net.py client '{"name": "Alice"}' [--host HOST] [--port PORT]

The dictionary travels as JSON, so tuples arrive as lists and keys as strings.

The socket is opened here; what arrives is read and printed by dictwire, a
server in Go, as its command `dictwire serve --once --listen fd:N`. The binary
is the first of

    1. $DICTWIRE, a path or a name; DICTWIRE=python asks for no binary at all
    2. bin/dictwire beside this file
    3. dictwire on PATH
    4. bin/dictwire, built by `go build` from the source beside this file

Where there is none, a plain server in Python does the same, prints the same,
and says so on stderr.

Whatever fails is one line on stderr and the return value False. Only Python's
standard library is needed (3.9 or newer).
"""

from __future__ import annotations

import argparse
import atexit
import codecs
import collections
import contextlib
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.realpath(__file__))
BINARY = os.path.join(HERE, 'bin', 'dictwire')

CONNECT_SECONDS = 3  # how long send_data waits for a server that is just starting
SEND_SECONDS = 60  # how long sending may take
REPLY_SECONDS = 5  # how long send_data waits for a reply
IDLE_SECONDS = 3600  # how long a client may be silent (plain server)
END_SECONDS = 2  # how long dictwire may take to end after each signal
BETWEEN = ' \t\r\n\x00\x1e\ufeff'  # what may stand between two dictionaries (plain server)
MAX_BYTES = 1 << 20  # the size of a reply, or of one dictionary (plain server)


# ---------------------------------------------------------------- the server


def start_server(host: str = '127.0.0.1', port: int = 65432) -> bool:
    """Print each dictionary of one connection on sys.stdout, then return.

    It listens at once: a client may send while the server behind it is still
    being started, or built. A connection that sends nothing does not count.

    It returns True when all that came was printed, else False: the port is
    taken, something bad came, or Ctrl-C ended it.
    """
    try:
        listener = _listen(host, port)
    except (OSError, TypeError, ValueError) as error:
        return _fail(f"can't listen on {host}:{port}: {_reason(error)}")
    with listener:
        if __name__ == '__main__':
            _note('listening on %s:%d' % listener.getsockname()[:2])
        return _serve(listener)


def _listen(host, port):
    """Return a socket that listens on host and port."""
    _check_port(port)
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family = min(address[0] for address in found)  # IPv4 where there is a choice
    listener = socket.socket(family)
    try:
        if os.name == 'posix':  # elsewhere this would share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except BaseException:
        listener.close()
        raise
    return listener


def _serve(listener):
    """Serve one connection of listener by dictwire, or else in plain Python."""
    try:
        try:
            child = _start_dictwire(listener)
        except _NoDictwire as why:
            _note(f'{why}; a plain Python server takes its place')
            return _serve_plain(listener)
        listener.close()  # the child has it
        return _follow(child)
    except KeyboardInterrupt:
        return False


class _NoDictwire(Exception):
    """Why there is no dictwire binary that could be run."""


def _find_dictwire():
    """Return the path of the dictwire binary. A _NoDictwire says why there is none."""
    wanted = os.environ.get('DICTWIRE')
    if os.name != 'posix':
        raise _NoDictwire("this system can't hand a socket to dictwire")
    if wanted == 'python':
        raise _NoDictwire('DICTWIRE=python')
    if wanted:
        binary = shutil.which(wanted)
        if not binary:
            raise _NoDictwire(f'DICTWIRE={wanted} is not a program that can be run')
        return binary
    return shutil.which(BINARY) or shutil.which('dictwire') or _build_dictwire()


def _build_dictwire():
    """Build the dictwire binary and return its path.

    It appears under its name only when it is whole, so that several processes
    may do this at once.
    """
    if not shutil.which('go'):
        raise _NoDictwire('there is neither dictwire nor Go to build it')
    if not os.path.exists(os.path.join(HERE, 'go.mod')):
        raise _NoDictwire('there is neither dictwire nor its source beside 4-net.py')
    folder = os.path.dirname(BINARY)
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix='.build-', dir=folder) as scratch:
            new = os.path.join(scratch, 'dictwire')
            command = ['go', 'build', '-trimpath', '-o', new, './cmd/dictwire']
            pure = {**os.environ, 'CGO_ENABLED': '0'}
            pipes = {'stdin': subprocess.DEVNULL, 'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT}
            done = subprocess.run(command, cwd=HERE, env=pure, **pipes)
            if done.returncode != 0:
                said = [line.strip() for line in _text(done.stdout).split('\n') if line.strip()]
                raise _NoDictwire(': '.join(['go build failed', *said[-1:]]))
            os.replace(new, BINARY)
    except OSError as error:
        raise _NoDictwire(f"can't build dictwire: {_reason(error)}") from None
    return BINARY


def _start_dictwire(listener):
    """Start a dictwire that serves one connection of listener."""
    binary = _find_dictwire()
    import fcntl  # POSIX only, as is handing over a socket

    # --insecure: whether other machines reach the address is for start_server's caller to say.
    command = [binary, 'serve', '--once', '--quiet', '--insecure', '--print', 'python']
    if (3, 8) <= sys.version_info[:2] <= (3, 14):  # those whose repr dictwire knows
        command += ['--python', '%d.%d' % sys.version_info[:2]]
    # Not 0 to 2, which are free where a standard stream is closed: the child has its own there.
    fd = fcntl.fcntl(listener, fcntl.F_DUPFD_CLOEXEC, 3)
    try:
        pipes = {'stdin': subprocess.DEVNULL, 'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE}
        return subprocess.Popen([*command, '--listen', f'fd:{fd}'], pass_fds=[fd], **pipes)
    except OSError as error:
        raise _NoDictwire(f"can't run {binary}: {_reason(error)}") from None
    finally:
        os.close(fd)


def _follow(child):
    """Pass on what child prints until it ends. Return whether all went well."""
    atexit.register(child.terminate)  # where this runs in a daemon thread
    output = _Pump(child.stdout, _show)
    errors = _Pump(child.stderr, _tell)
    try:
        child.wait()
    except KeyboardInterrupt:
        _end(child)
        raise
    finally:
        child.kill()  # it has ended, unless Ctrl-C was pressed again
        child.wait()
        output.join()
        errors.join()
        atexit.unregister(child.terminate)
    if child.returncode not in (0, -signal.SIGTERM) and not errors.lines:
        _note(f'dictwire ended with status {child.returncode} and no word')
    return child.returncode == 0 and output.ok


def _end(child):
    """End child. A terminal's Ctrl-C reaches it too, and lets it finish; a second one would not."""
    for step in (child.poll, child.terminate, child.kill):
        step()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=END_SECONDS)
            return


class _Pump(threading.Thread):
    """A thread that gives each line of a pipe to write, until the end or until write returns False."""

    def __init__(self, pipe, write):
        super().__init__(daemon=True)
        self.pipe, self.write, self.lines, self.ok = pipe, write, 0, True
        self.start()

    def run(self):
        with self.pipe:
            for line in self.pipe:
                self.lines += 1
                self.ok = self.write(_text(line))
                if not self.ok:
                    return


# ------------------------------------------------- the server in plain Python


def _serve_plain(listener):
    """Print each dictionary of one connection. Return whether all went well."""
    with contextlib.ExitStack() as cleanup:
        try:
            connection = _first_to_send(listener, cleanup)
            return all(_show(f'Received Dictionary from Client:\n{d}\n') for d in _dictionaries(connection))
        except (OSError, ValueError, RecursionError) as error:
            return _fail(f'reading failed: {_reason(error)}')


def _first_to_send(listener, cleanup):
    """Accept connections until one sends something, and return that one."""
    waiting = [listener]
    while True:
        for ready in select.select(waiting, [], [])[0]:
            if ready is listener:
                waiting.append(cleanup.enter_context(listener.accept()[0]))
                continue
            with contextlib.suppress(ConnectionError):
                if ready.recv(1, socket.MSG_PEEK):
                    listener.close()
                    return ready
            waiting.remove(ready)


def _dictionaries(connection):
    """Yield each dictionary that comes on connection until it is closed."""
    connection.settimeout(IDLE_SECONDS)
    decode = codecs.getincrementaldecoder('utf-8')().decode
    text, chunk = '', b'-'
    while chunk:
        chunk = connection.recv(1 << 16)
        text += decode(chunk, final=not chunk)
        while text := text.lstrip(BETWEEN):
            if text[0] != '{':
                raise ValueError(f"want a dictionary, got {'a list' if text[0] == '[' else ascii(text[:20])}")
            try:
                dictionary, end = JSON.raw_decode(text)
            except json.JSONDecodeError as error:
                if len(text) > MAX_BYTES:
                    raise ValueError(f'a dictionary has more than {MAX_BYTES} bytes') from None
                if not chunk:
                    cut = error.pos == len(text) or error.msg.startswith('Unterminated')
                    raise ValueError(f"{'truncated' if cut else 'malformed'} JSON: {error}") from None
                break  # the rest may be on its way
            yield dictionary
            text = text[end:]


# ---------------------------------------------------------------- the client


def send_data(dictionary: dict, host: str = '127.0.0.1', port: int = 65432) -> dict | bool:
    """Send a dictionary to the server that listens on host and port.

    It waits a moment for a server that is just starting. It returns the
    server's reply, a dictionary, if there is one within 5 seconds, else True:
    the dictionary was sent and nothing was said against it. False means that
    something failed; compare with `is False`, as a reply may be empty.
    """
    where = f'{host}:{port}'
    try:
        line = _serialize(dictionary)
    except (TypeError, ValueError, RecursionError) as error:
        return _fail(f"can't send this: {error}")
    try:
        _check_port(port)
        with _connect(host, port) as connection:
            answer = _exchange(connection, line)
    except (OSError, TypeError, ValueError) as error:
        return _fail(f"can't send to {where}: {_reason(error)}")
    return _understand(answer, where) if answer else True


def _serialize(dictionary):
    """Return dictionary as a line of JSON."""
    if not isinstance(dictionary, dict):
        kind = type(dictionary).__name__
        raise TypeError(f"want a dictionary, got {'an' if kind[0] in 'aeiou' else 'a'} {kind}")
    line = json.dumps(dictionary)
    if GREETING.match(line):
        raise ValueError('a server takes it for a greeting, as its first key is "dictwire"; put another key first')
    JSON.decode(line)  # finds keys that JSON makes the same, as 1 and '1'
    return line.encode() + b'\n'


def _connect(host, port):
    """Return a connection to host and port, where somebody may only just begin to listen."""
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            connection = socket.create_connection((host, port), timeout=SEND_SECONDS)
            if connection.getsockname()[1] != port:
                return connection
            connection.close()  # where nothing listens, the kernel may connect a socket to itself
            raise ConnectionRefusedError('Connection refused')
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def _exchange(connection, line):
    """Send line and return the first line of the answer, b'' if there is none."""
    failure = None
    try:
        connection.sendall(line)
        connection.shutdown(socket.SHUT_WR)
    except OSError as error:
        failure = error  # before it hung up, the server may have said why
    answer = b''
    deadline = time.monotonic() + REPLY_SECONDS
    try:
        while b'\n' not in answer and len(answer) <= MAX_BYTES:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            chunk = connection.recv(1 << 16)
            if not chunk:
                break
            answer += chunk
    except socket.timeout:
        pass  # a server need not reply
    except OSError as error:
        failure = error  # that of shutdown says less: "not connected"
    if failure and not answer:
        raise failure
    return answer.partition(b'\n')[0]


def _understand(answer, where):
    """Return the reply that answer is, or False if it is none or tells of an error."""
    if len(answer) > MAX_BYTES:
        return _fail(f'{where} replied with more than {MAX_BYTES} bytes')
    try:
        reply = json.loads(answer)
    except (ValueError, RecursionError):
        reply = None
    if not isinstance(reply, dict):
        return _fail(f'{where} replied with what is not a dictionary: {_text(answer[:60])}')
    if 'error' in reply and 'code' in reply:
        return _fail(f"{where} refused it: {reply['error']} ({reply['code']})")
    return reply


# ---------------------------------------------------------- what both need


def _unique(pairs):
    """Return the dictionary of pairs. A key that comes twice is an error, not a silent loss."""
    dictionary = dict(pairs)
    if len(dictionary) < len(pairs):
        [(key, _)] = collections.Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f'the key {json.dumps(key)} comes twice')
    return dictionary


JSON = json.JSONDecoder(object_pairs_hook=_unique)
GREETING = re.compile(r'{"dictwire": -?\d+[,}]')  # what begins dictwire's own protocol, as json.dumps writes it


def _check_port(port):
    """Raise what is wrong with port. The system would take 70000 for 4464."""
    if not isinstance(port, int) or not 0 <= port <= 65535:
        raise ValueError('a port is a number from 0 to 65535')


def _text(data):
    """Return the text that data is, with bytes that are not UTF-8 as \\x…"""
    return data.decode('utf-8', 'backslashreplace')


def _reason(error):
    """Return what went wrong, without the error's number."""
    return getattr(error, 'strerror', None) or str(error)


def _show(text):
    """Print text on sys.stdout at once. Return whether that could be done."""
    try:
        if sys.stdout is None:
            raise OSError('there is no standard output')
        _write(sys.stdout, text)
    except Exception as error:  # sys.stdout may be any object
        return _fail(f"can't print: {_reason(error)}")
    return True


def _tell(text):
    """Print text on sys.stderr, if there is one."""
    with contextlib.suppress(Exception):
        _write(sys.stderr, text)
    return True


def _write(stream, text):
    """Write text to stream and flush it. What its encoding lacks is written as \\x…"""
    try:
        stream.write(text)
    except UnicodeEncodeError:
        stream.write(text.encode(stream.encoding, 'backslashreplace').decode(stream.encoding))
    if hasattr(stream, 'flush'):
        stream.flush()


def _note(text):
    """Print one line on sys.stderr. Text of others can't add lines or steer the terminal."""
    printable = ''.join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    _tell(f'4-net: {printable}\n')


def _fail(text):
    """Print one line on sys.stderr and return False."""
    _note(text)
    return False


# ---------------------------------------------------------- the command line


def main():
    """Run as a program. Return its exit status."""
    address = argparse.ArgumentParser(add_help=False)
    address.add_argument('--host', default='127.0.0.1', help='default: %(default)s')
    address.add_argument('--port', default=65432, type=int, help='default: %(default)s')
    about = 'A dictionary goes from a client to a server, which prints it.'
    parser = argparse.ArgumentParser(prog='4-net.py', description=about)
    commands = parser.add_subparsers(dest='command', required=True)
    commands.add_parser('server', parents=[address], help='print what one client sends')
    client = commands.add_parser('client', parents=[address], help='send one dictionary, print the reply')
    client.add_argument('dictionary', type=_json, help="JSON, as in '{\"a\": 1}'")
    options = parser.parse_args()

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it ends dictwire too
    try:
        if options.command == 'server':
            done = start_server(options.host, options.port)
        else:
            done = send_data(options.dictionary, options.host, options.port)
            if isinstance(done, dict):
                done = _show(json.dumps(done) + '\n')
    except KeyboardInterrupt:
        done = False
    if not done:  # what could not be printed would fail again, with a traceback, when Python flushes at its end
        with contextlib.suppress(Exception):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0 if done else 1


def _json(text):
    """Return the value that text is. argparse prints what an ArgumentTypeError says."""
    try:
        return JSON.decode(text)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f'not JSON: {error}') from None


if __name__ == '__main__':
    sys.exit(main())
