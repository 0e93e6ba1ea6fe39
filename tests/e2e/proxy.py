"""A TCP proxy between a primary and its replica's port that knows where messages begin and end: it records what
goes through and damages a chosen message in a chosen way.

    proxy = Proxy(replica.replication_port)
    primary.volumes[0]['replicas'] = [(replica.name, proxy.address)]
    proxy.damage(TO_REPLICA, WAL_DATA, cut(63))     # the next message of that type

Of the protocol it knows the header only: 64 bytes, with the type at 6, the epoch at 24, the length of what follows at 48.
"""
import socket
import struct
import threading

HEADER_BYTES = 64
MESSAGE_BYTES_MAX = 64 << 20
TO_REPLICA, TO_PRIMARY = 'to the replica', 'to the primary'
HELLO, WELCOME, REJECT, WAL_DATA, WAL_ACK, SYNC, SYNC_ACK, CONTROL = range(1, 9)
SESSION_ACK = 11
NAMES = {HELLO: 'hello', WELCOME: 'welcome', REJECT: 'reject', WAL_DATA: 'wal_data', WAL_ACK: 'wal_ack', SYNC: 'sync',
         SYNC_ACK: 'sync_ack', CONTROL: 'session_control', SESSION_ACK: 'session_ack'}


def type_of(message):
    return struct.unpack_from('<H', message, 6)[0]


def epoch_of(message):
    return struct.unpack_from('<Q', message, 24)[0]


# What may be done to a message: the bytes that go on instead, and whether the connection then goes on ('on'), is
# closed, reset, or falls silent for good.

def cut(offset, then='closed'):
    return lambda message: (message[:offset], then)


def stall(offset):
    return lambda message: (message[:offset], 'silent')


def flip(offset, bit):
    def change(message):
        changed = bytearray(message)
        changed[offset] ^= 1 << bit
        return bytes(changed), 'on'
    return change


def repeat(begin, end):
    """The bytes from `begin` to `end` come twice."""
    return lambda message: (message[:end] + message[begin:], 'on')


def leave_out(begin, end):
    return lambda message: (message[:begin] + message[end:], 'on')


def read_exactly(sock, count):
    """`count` bytes; fewer if the stream ends before."""
    data = bytearray()
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            break
        data += part
    return bytes(data)


def read_message(sock):
    """The next message; less than one if the stream ends."""
    header = read_exactly(sock, HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        return header
    length = struct.unpack_from('<I', header, 48)[0]
    assert length <= MESSAGE_BYTES_MAX, f'a message of {length} bytes'
    return header + read_exactly(sock, length)


class Connection:
    """One that goes, or went, through the proxy."""

    def __init__(self, caller, callee):
        self._sockets = [caller, callee]
        self._carried = 2  # directions
        self._lock = threading.Lock()
        self.messages = {TO_REPLICA: [], TO_PRIMARY: []}

    def stream(self):
        """What the primary has sent."""
        return b''.join(self.messages[TO_REPLICA])

    def end(self, reset=False):
        """Wakes both directions, which then leave."""
        for sock in self._sockets:
            try:
                if reset:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                sock.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
            except OSError:
                continue  # it has ended by itself

    def leave(self):
        """A direction is carried no more. Only the last one closes: nobody then waits in a call on a closed socket."""
        with self._lock:
            self._carried -= 1
            if self._carried > 0:
                return
        for sock in self._sockets:
            sock.close()


class Proxy:
    def __init__(self, port):
        self._port = port
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.address = f'127.0.0.1:{self._listener.getsockname()[1]}'
        self.connections = []
        self.recording = True
        self.errors = []
        self._closed = False
        self._damage = None
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def damage(self, direction, kind, change, at_least=0):
        """Once, to the next message of that direction and type that has `at_least` so many bytes."""
        with self._lock:
            self._damage = (direction, kind, at_least, change)

    def done(self):
        """The damage has been done."""
        with self._lock:
            return self._damage is None

    def cut_all(self, reset=False):
        """Ends all connections; new ones are carried as before."""
        with self._lock:
            connections = list(self.connections)
        for connection in connections:
            connection.end(reset)

    def close_port(self):
        """Until open_port() callers hear nothing but the end of their connection."""
        with self._lock:
            self._closed = True
        self.cut_all()

    def open_port(self):
        self._closed = False

    def forget(self):
        """Drops the records of connections so far; they go on."""
        with self._lock:
            for connection in self.connections:
                for messages in connection.messages.values():
                    messages.clear()

    def _accept(self):
        while True:
            caller = self._listener.accept()[0]
            try:
                if self._closed:
                    raise OSError('closed')
                callee = socket.create_connection(('127.0.0.1', self._port))
            except OSError:
                caller.close()  # the replica does not run: nor does this
                continue
            for sock in (caller, callee):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(caller, callee)
            with self._lock:
                self.connections.append(connection)
                if self._closed:
                    connection.end()
            for direction, source, target in ((TO_REPLICA, caller, callee), (TO_PRIMARY, callee, caller)):
                threading.Thread(target=self._carry, args=(connection, direction, source, target), daemon=True).start()

    def _take_damage(self, direction, message):
        with self._lock:
            if self._damage is None:
                return None
            wanted_direction, kind, at_least, change = self._damage
            if direction != wanted_direction or type_of(message) != kind or len(message) < at_least:
                return None
            self._damage = None
            return change

    def _carry(self, connection, direction, source, target):
        try:
            while True:
                message = read_message(source)
                if len(message) < HEADER_BYTES:
                    return connection.end()
                if self.recording:
                    with self._lock:
                        connection.messages[direction].append(message)
                change = self._take_damage(direction, message)
                data, then = change(message) if change else (message, 'on')
                target.sendall(data)
                if then == 'silent':
                    return None  # both sockets stay open while the other direction lives
                if then != 'on':
                    return connection.end(then == 'reset')
        except OSError:
            return connection.end()
        except Exception as error:  # a fault of this proxy: the script asks for it
            self.errors.append(error)
            return connection.end()
        finally:
            connection.leave()
