"""A gate on the way from a primary to its replica: while it is shut, a given number of bytes gets through to the replica
and then no more, so that a script can look at what would else be over in a moment. What the replica says passes.

    gate = Gate(replica.replication_port)
    primary.volumes[0]['replicas'] = [(replica.name, gate.address)]
"""
import socket
import threading

PART_BYTES = 64 << 10


class Gate:
    def __init__(self, port):
        self._port = port
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.address = f'127.0.0.1:{self._listener.getsockname()[1]}'
        self._changed = threading.Condition()
        self._allowed = None   # bytes; None: it is open
        threading.Thread(target=self._accept, daemon=True).start()

    def shut_after(self, count):
        with self._changed:
            self._allowed = count

    def open(self):
        with self._changed:
            self._allowed = None
            self._changed.notify_all()

    def _take(self, count):
        """Waits until some of `count` bytes may pass; returns how many."""
        with self._changed:
            self._changed.wait_for(lambda: self._allowed != 0)
            if self._allowed is None:
                return count
            count = min(count, self._allowed)
            self._allowed -= count
            return count

    def _accept(self):
        while True:
            caller = self._listener.accept()[0]
            try:
                callee = socket.create_connection(('127.0.0.1', self._port))
            except OSError:
                caller.close()   # the replica does not run
                continue
            for sock in (caller, callee):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for source, target, take in ((caller, callee, self._take), (callee, caller, lambda count: count)):
                threading.Thread(target=_carry, args=(source, target, take), daemon=True).start()


def _carry(source, target, take):
    try:
        while data := source.recv(PART_BYTES):
            while data:
                count = take(len(data))
                target.sendall(data[:count])
                data = data[count:]
    except OSError:
        pass   # one side is gone: so goes the other
    for sock in (source, target):
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue   # it has ended by itself
