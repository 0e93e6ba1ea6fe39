"""TCP's congestion control for what is measured, without a change of the host's.

The setting belongs to a network namespace. For each name but 'host' one is made, with a loopback of its own; servers and
clients that are started within `inside(name)` run there. It ends with the last process in it.
"""
import contextlib
import ctypes
import fcntl
import os
import socket
import struct

import facts
from harness import Failure

HOST = 'host'
SETTING = '/proc/sys/net/ipv4/tcp_congestion_control'
CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1

_libc = ctypes.CDLL(None, use_errno=True)


def in_force():
    """Of the namespace that this thread is in. The setting is looked up by thread, not by process."""
    return facts.file_line(SETTING)


def check(names):
    """Says what is missing before anything is measured."""
    known = (facts.file_line('/proc/sys/net/ipv4/tcp_available_congestion_control') or '').split()
    for name in names:
        if name == HOST:
            continue
        if name not in known:
            raise Failure(f'TCP congestion control {name}: this kernel has {", ".join(known) or "none to choose"}')
        if os.geteuid() != 0:
            raise Failure(f'TCP congestion control {name}: it needs a network namespace, and that needs root')


class Congestion:
    def __init__(self, names):
        check(names)
        self.names = names
        self._home = os.open('/proc/thread-self/ns/net', os.O_RDONLY | os.O_CLOEXEC)
        self._spaces = {name: self._make(name) for name in names if name != HOST}

    @contextlib.contextmanager
    def inside(self, name):
        if name == HOST:
            yield
            return
        _check(_libc.setns(self._spaces[name], CLONE_NEWNET), 'setns')
        try:
            yield
        finally:
            _check(_libc.setns(self._home, CLONE_NEWNET), 'setns')

    def close(self):
        for descriptor in (self._home, *self._spaces.values()):
            os.close(descriptor)

    def _make(self, name):
        _check(_libc.unshare(CLONE_NEWNET), 'unshare')
        try:
            space = os.open('/proc/thread-self/ns/net', os.O_RDONLY | os.O_CLOEXEC)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
                flags = struct.unpack_from('16xH', fcntl.ioctl(control, SIOCGIFFLAGS, struct.pack('16s24x', b'lo')))[0]
                fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack('16sH22x', b'lo', flags | IFF_UP))
            with open(SETTING, 'w') as file:
                file.write(name)
            return space
        finally:
            _check(_libc.setns(self._home, CLONE_NEWNET), 'setns')


def _check(result, what):
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f'{what}: {os.strerror(error)}')
