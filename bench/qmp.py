"""qemu's control protocol, as much of it as a mirror needs."""
import json
import socket

import harness


class Qmp:
    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.settimeout(harness.WAIT_SECONDS)
            self._socket.connect(path)
            self._lines = self._socket.makefile('r')
            self._next()  # the greeting
            self.call('qmp_capabilities')
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._lines.close()
        self._socket.close()

    def call(self, command, **arguments):
        self._socket.sendall(json.dumps({'execute': command, 'arguments': arguments}).encode() + b'\n')
        while True:
            answer = self._next()
            if 'error' in answer:
                raise harness.Failure(f'qemu: {command}: {answer["error"].get("desc")}')
            if 'return' in answer:  # else an event
                return answer['return']

    def _next(self):
        line = self._lines.readline()
        if not line:
            raise harness.Failure('qemu closed its control connection')
        return json.loads(line)
