#!/usr/bin/python3
"""Bad bytes from NBD clients: each gets an error or a closed connection, and harms nobody else.

While each case runs, a canary client keeps writing, reading back and flushing; after each case it
must still make progress and a fresh client must be served.

  bad_nbd_input.py                                      starts a pair
  bad_nbd_input.py --server HOST:PORT/EXPORT PID        against any server (some cases are ringbolt's own)
"""
import os
import resource
import socket
import struct
import sys
import threading

import nbd

from harness import Failure, Pair, Script, run, wait_for

SECONDS = 60  # only a server that neither answers nor closes reaches this
MIB = 1 << 20
OPT_EXPORT_NAME, OPT_ABORT, OPT_LIST, OPT_INFO, OPT_GO = 1, 2, 3, 6, 7
REP_ACK, REP_INFO = 1, 3
REP_ERR = 1 << 31
CMD_READ, CMD_WRITE, CMD_DISC, CMD_FLUSH, CMD_TRIM, CMD_ZERO = 0, 1, 2, 3, 4, 6
EINVAL, ENOSPC, EOVERFLOW, ENOTSUP = 22, 28, 75, 95


class Closed(Exception):
    """The server closed the connection."""


class RawClient:
    """An NBD connection as bytes."""

    def __init__(self, host, port, export):
        self.export = export
        self.socket = socket.create_connection((host, port), timeout=SECONDS)
        self.cookie = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the next receive says so

    def end(self):
        """Half-closes: the server sees the end of what is sent."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the server was faster; the next receive says so

    def receive(self, length):
        data = b''
        while len(data) < length:
            try:
                part = self.socket.recv(length - len(data))
            except ConnectionResetError:
                raise Closed from None
            except socket.timeout:
                raise Failure('the server neither answers nor closes') from None
            if not part:
                raise Closed
            data += part
        return data

    def wait_closed(self):
        """Reads until the server closes; a server that keeps the connection open is a failure."""
        try:
            while True:
                self.receive(1)
        except Closed:
            pass

    def greet(self, flags=3):
        assert self.receive(16) == b'NBDMAGICIHAVEOPT'
        self.receive(2)
        self.send(struct.pack('>I', flags))

    def option(self, number, data=b'', length=None):
        self.send(b'IHAVEOPT' + struct.pack('>II', number, len(data) if length is None else length)
                  + data)

    def option_reply(self):
        magic, _, kind, length = struct.unpack('>QIII', self.receive(20))
        assert magic == 0x3e889045565a9, hex(magic)
        return kind, self.receive(length)

    def final_reply(self):
        """The last reply to an option: an acknowledgement or an error."""
        while True:
            kind, data = self.option_reply()
            if kind == REP_ACK or kind & REP_ERR:
                return kind

    def go(self):
        self.greet()
        name = self.export.encode()
        self.option(OPT_GO, struct.pack('>I', len(name)) + name + struct.pack('>H', 0))
        assert self.final_reply() == REP_ACK
        return self

    def request(self, command, offset, length, data=b'', flags=0, magic=0x25609513):
        self.cookie += 1
        self.send(struct.pack('>IHHQQI', magic, flags, command, self.cookie, offset, length) + data)

    def reply(self, length=0):
        magic, error, cookie = struct.unpack('>IIQ', self.receive(16))
        assert magic == 0x67446698, hex(magic)
        assert cookie == self.cookie, (cookie, self.cookie)
        return error, self.receive(length) if error == 0 else b''

    def assert_usable(self):
        self.request(CMD_READ, 0, 4096)
        error, data = self.reply(4096)
        assert error == 0 and len(data) == 4096, error


class Canary(threading.Thread):
    """Somebody else's client: writes, reads back, flushes, again."""

    def __init__(self, uri, offset):
        super().__init__(daemon=True)
        self.uri, self.offset = uri, offset
        self.rounds = 0
        self.error = None
        self.ended = threading.Event()

    def run(self):
        try:
            client = nbd.NBD()
            client.connect_uri(self.uri)
            while not self.ended.is_set():
                data = bytes([self.rounds % 251]) * 16384
                client.pwrite(data, self.offset)
                if client.pread(len(data), self.offset) != data:
                    raise Failure('the canary read something else than it wrote')
                client.flush()
                self.rounds += 1
            client.shutdown()
        except Exception as error:  # handed to the main thread
            self.error = error

    def assert_progress(self):
        begin = self.rounds

        def moved():
            if self.error:
                raise self.error
            return self.rounds >= begin + 3
        wait_for(moved, 'another client to be served')


class Server:
    def __init__(self, host, port, export, pid, stall_is_short):
        self.host, self.port, self.export, self.pid = host, port, export, pid
        self.stall_is_short = stall_is_short
        self.uri = f'nbd://{host}:{port}/{export}'
        client = nbd.NBD()
        client.connect_uri(self.uri)
        self.size = client.get_size()
        client.shutdown()

    def connect(self):
        return RawClient(self.host, self.port, self.export)

    def fd_count(self):
        return len(os.listdir(f'/proc/{self.pid}/fd'))

    def rss_bytes(self):
        with open(f'/proc/{self.pid}/statm') as file:
            return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')


# --- the handshake -------------------------------------------------------------------------------

def unknown_client_flags(server):
    with server.connect() as client:
        client.greet(0xffff)
        client.wait_closed()


def bad_option_magic(server):
    with server.connect() as client:
        client.greet()
        client.send(b'IHAVENOT' + bytes(8))
        client.wait_closed()


def http_instead_of_nbd(server):
    with server.connect() as client:
        client.send(b'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
        client.wait_closed()


def unknown_option(server):
    with server.connect() as client:
        client.greet()
        for number in (0, 99, 0xffffffff):
            client.option(number, b'x' * 100)
            assert client.final_reply() & REP_ERR
        client.option(OPT_ABORT)
        client.wait_closed()


def option_of_4_gib(server):
    before = server.rss_bytes()
    for number in (OPT_GO, OPT_EXPORT_NAME, OPT_LIST, 99):
        with server.connect() as client:
            client.greet()
            client.option(number, b'x' * 100_000, length=0xffffffff)
            client.end()
            client.wait_closed()
    assert server.rss_bytes() < before + 256 * MIB, 'memory was taken for what was only announced'


def export_name_of_64_kib(server):
    name = b'n' * 65536
    with server.connect() as client:
        client.greet()
        client.option(OPT_EXPORT_NAME, name)
        client.wait_closed()
    with server.connect() as client:
        client.greet()
        client.option(OPT_GO, struct.pack('>I', len(name)) + name + struct.pack('>H', 0))
        try:
            assert client.final_reply() & REP_ERR
        except Closed:
            pass


def unknown_export(server):
    with server.connect() as client:
        client.greet()
        client.option(OPT_GO, struct.pack('>I', 4) + b'none' + struct.pack('>H', 0))
        assert client.final_reply() & REP_ERR
        client.option(OPT_ABORT)
        client.wait_closed()


def inconsistent_option_lengths(server):
    for data in (b'', b'\0\0', struct.pack('>I', 0xffffffff), struct.pack('>I', 100) + b'vol0\0\0',
                 struct.pack('>I', 4) + b'vol0' + struct.pack('>H', 0xffff)):
        with server.connect() as client:
            client.greet()
            client.option(OPT_INFO, data)
            try:
                assert client.final_reply() & REP_ERR, data
            except Closed:
                pass


def silence_in_the_handshake(server):
    with server.connect() as client:
        client.wait_closed()
    with server.connect() as client:
        client.greet()
        client.send(b'IHAVE')
        client.wait_closed()


# --- requests ------------------------------------------------------------------------------------

def refused(server, command, offset, length, data=b'', flags=0, errors=(EINVAL,)):
    """The request is answered with one of `errors` and the connection stays usable."""
    with server.connect() as client:
        client.go()
        client.request(command, offset, length, data, flags)
        error, _ = client.reply()
        assert error in errors, (command, offset, length, error)
        client.assert_usable()


def beyond_the_end(server):
    size = server.size
    for offset, length in ((size, 4096), (size - 4096, 8192), (2**64 - 4096, 4096),
                           (2**64 - 4096, 8192), (2**63, 4096)):
        refused(server, CMD_READ, offset, length, errors=(EINVAL, ENOSPC))
        refused(server, CMD_WRITE, offset, length, bytes(length), errors=(EINVAL, ENOSPC))
        refused(server, CMD_TRIM, offset, length, errors=(EINVAL, ENOSPC))
        refused(server, CMD_ZERO, offset, length, errors=(EINVAL, ENOSPC))


def length_0(server):
    # Its meaning is left open by the protocol: any answer is right that leaves the order of things.
    for command in (CMD_READ, CMD_WRITE, CMD_TRIM, CMD_ZERO):
        with server.connect() as client:
            client.go()
            client.request(command, 0, 0)
            error, _ = client.reply()
            assert error in (0, EINVAL), (command, error)
            client.assert_usable()


def larger_than_32_mib(server):
    refused(server, CMD_READ, 0, 33 * MIB, errors=(EINVAL, EOVERFLOW))
    refused(server, CMD_READ, 0, 0xffffffff, errors=(EINVAL, EOVERFLOW, ENOSPC))
    # A write of that size brings its payload along: reading it all or closing are both right.
    with server.connect() as client:
        client.go()
        client.request(CMD_WRITE, 0, 33 * MIB, bytes(33 * MIB))
        try:
            error, _ = client.reply()
            assert error in (EINVAL, EOVERFLOW), error
            client.assert_usable()
        except Closed:
            pass


def unknown_command(server):
    for command in (7, 42, 0xffff):
        refused(server, command, 0, 4096, errors=(EINVAL, ENOTSUP))


def unknown_flags(server):
    for flags in (1 << 15, 1 << 7):
        refused(server, CMD_READ, 0, 4096, flags=flags)
        refused(server, CMD_WRITE, 0, 4096, bytes(4096), flags=flags)


def bad_request_magic(server):
    with server.connect() as client:
        client.go()
        client.request(CMD_READ, 0, 4096, magic=0x25609514)
        client.wait_closed()


def reset_in_the_middle(server):
    for cut in (1, 27, 28, 100, 4000):
        with server.connect() as client:
            client.go()
            whole = struct.pack('>IHHQQI', 0x25609513, 0, CMD_WRITE, 1, 0, 65536) + bytes(65536)
            client.send(whole[:cut])
            # Closing with an empty linger resets the connection.
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))


def half_a_header_then_silence(server):
    with server.connect() as client:
        client.go()
        client.send(struct.pack('>IH', 0x25609513, 0))
        client.wait_closed()
    with server.connect() as client:
        client.go()
        client.request(CMD_WRITE, 0, 65536, bytes(1000))
        client.wait_closed()


def replies_never_read(server):
    clients = []
    for _ in range(8):
        client = server.connect().go()
        clients.append(client)
        client.socket.setblocking(False)
        header = struct.pack('>IHHQQI', 0x25609513, 0, CMD_READ, 1, 0, MIB)
        try:
            for _ in range(2000):
                client.socket.send(header)
        except BlockingIOError:
            pass  # back-pressure, as it should be
        except (BrokenPipeError, ConnectionResetError):
            pass
    for client in clients:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        client.socket.close()


def idle_connections(server):
    """1,000 at once, most of them past the handshake; they are kept, and others are served."""
    with server.connect() as probe:
        probe.go()
    clients = []
    try:
        for i in range(1000):
            client = server.connect()
            clients.append(client)
            if i % 10 != 0:
                client.go()
        for client in clients[1::100]:
            client.assert_usable()
        with server.connect() as another:
            another.go().assert_usable()
    finally:
        for client in clients:
            client.socket.close()


CASES = [
    ('unknown client flags', unknown_client_flags),
    ('an option with a bad magic', bad_option_magic),
    ('HTTP instead of NBD', http_instead_of_nbd),
    ('an unknown option', unknown_option),
    ('an option that announces 4 GiB', option_of_4_gib),
    ('an export name of 64 KiB', export_name_of_64_kib),
    ('an export that does not exist', unknown_export),
    ('an option whose inner lengths disagree', inconsistent_option_lengths),
    ('silence in the handshake', silence_in_the_handshake),
    ('requests beyond the end', beyond_the_end),
    ('requests of length 0', length_0),
    ('requests larger than 32 MiB', larger_than_32_mib),
    ('unknown commands', unknown_command),
    ('unknown flags', unknown_flags),
    ('a request with a bad magic', bad_request_magic),
    ('a reset in the middle of a write', reset_in_the_middle),
    ('half a header, then silence', half_a_header_then_silence),
    ('replies that are never read', replies_never_read),
    ('1,000 idle connections', idle_connections),
]

# Cases that end by a time limit of the server, which the script sets to two seconds.
NEEDS_LIMITS = (silence_in_the_handshake, half_a_header_then_silence)


def check(script, server):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    canary = Canary(server.uri, server.size - MIB)
    canary.start()
    canary.assert_progress()
    fds, memory = server.fd_count(), server.rss_bytes()
    for name, case in CASES:
        if case in NEEDS_LIMITS and not server.stall_is_short:
            script.skip(name, 'its time limits are not known')
            continue
        with script.test(f'{name}: an answer or an end, others are served'):
            case(server)
            canary.assert_progress()
            with server.connect() as fresh:
                fresh.go().assert_usable()
    with script.test('descriptors and memory are back to normal'):
        wait_for(lambda: server.fd_count() <= fds + 1, f'descriptors to go back to {fds}')
        # Memory that was touched once may stay; a leak per connection or request would be larger.
        wait_for(lambda: server.rss_bytes() <= memory + 96 * MIB,
                 f'memory to go back to about {memory >> 20} MiB')
    canary.ended.set()
    canary.join(SECONDS)


with Script() as main:
    if '--server' in sys.argv:
        where, server_pid = sys.argv[sys.argv.index('--server') + 1:][:2]
        address, export = where.split('/')
        check(main, Server(*address.split(':'), export, int(server_pid), False))
    else:
        pair = Pair(main, options={'nbd.handshake_timeout': '2s', 'nbd.stall_timeout': '2s',
                                   'nbd.max_connections': 2000})
        pair.start()
        check(main, Server('127.0.0.1', pair.primary.nbd_port, 'vol0', pair.primary.pid, True))
        with main.test('the pair is healthy after all that, and both copies hold the same'):
            pair.wait_healthy()
            content = main.path('content')
            run(['nbdcopy', pair.uri, content])
            pair.stop_and_compare(content)
