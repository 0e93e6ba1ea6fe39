"""Reads GET /v1/events as `curl -N` would, in a thread of its own."""
import errno
import http.client
import json
import socket
import threading

from harness import Failure, wait_for


class EventReader:
    """All that came so far is in `events`: (id, name, data). Ids must grow."""

    def __init__(self, node, check=None):
        self._check = check
        self._connection = http.client.HTTPConnection(node.ip, node.admin_port, timeout=60)
        self._connection.request('GET', '/v1/events')
        self._socket = self._connection.sock   # which the reply takes over
        self.reply = self._connection.getresponse()
        if self.reply.status != 200:
            raise Failure(f'{node.name}: GET /v1/events: {self.reply.status} {self.reply.read()}')
        self.events, self.comments = [], 0
        self.ended = False   # as it should: after its last chunk
        self.problem = None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        try:
            fields = {}
            for line in self.reply:
                line = line.decode().rstrip('\n')
                if line.startswith(':'):
                    self.comments += 1
                elif line:
                    name, _, value = line.partition(': ')
                    fields[name] = value
                elif fields:
                    self._take(fields)
                    fields = {}
            self.ended = True
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            self.problem = self.problem or error
        except AssertionError as error:
            self.problem = error

    def _take(self, fields):
        if 'event' not in fields:
            assert fields.keys() == {'retry'}, fields
            return
        number, data = int(fields['id']), json.loads(fields['data'])
        assert not self.events or number > self.events[-1][0], f'id {number} after {self.events[-1][0]}'
        if self._check:
            self._check(fields['event'], data)
        self.events.append((number, fields['event'], data))

    def named(self, name, since=0):
        return [data for number, event, data in list(self.events) if event == name and number > since]

    @property
    def last_id(self):
        return self.events[-1][0] if self.events else 0

    def wait(self, name, condition, what, since=0):
        """The first event of that name after id `since` for which the condition holds."""
        def found():
            if self.problem and not isinstance(self.problem, OSError):
                raise Failure(f'the stream: {self.problem}')
            return next((data for data in self.named(name, since) if condition(data)), None)
        try:
            return wait_for(found, what)
        except Failure as failure:
            raise Failure(f'{failure}; the last events: {self.events[-5:]}; {self.problem}') from None

    def wait_end(self):
        """Until the server has ended the stream in order."""
        wait_for(lambda: not self._thread.is_alive(), 'the stream to end')
        if not self.ended:
            raise Failure(f'the stream broke off: {self.problem}')

    def close(self):
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError as error:
            assert error.errno == errno.ENOTCONN, error   # the other side was first
        self._thread.join(60)
        assert not self._thread.is_alive(), 'a reader hangs'
        self.reply.close()
        self._connection.close()


def status_of_stream(node):
    """What a reader is answered, who leaves at once."""
    connection = http.client.HTTPConnection(node.ip, node.admin_port, timeout=60)
    try:
        connection.request('GET', '/v1/events')
        return connection.getresponse().status
    finally:
        connection.close()
