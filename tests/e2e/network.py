"""Hosts with a network of their own on this machine, whose links can be cut, each direction for itself.

    network = Network(script, 2)
    node = script.node('n1', volumes, host=network.hosts[0])
    network.cut(node_host, other_host)        # packets of the first to the second vanish, no reset is sent
    network.heal()

Every host is a network namespace with a TUN device; a process, the switch, carries packets between them. Nothing
but TUN is needed of the kernel (no veth, no netem, no packet filter) and no name is taken outside: the namespaces
end with the processes in them. The script itself moves to one of its own, the operator's host, which reaches all
others and is never cut; so make the Network before any thread is started.
"""
import ctypes
import fcntl
import json
import os
import select
import socket
import struct
import sys

CLONE_NEWNET = 0x40000000
TUN = '/dev/net/tun'
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454ca, 0x1, 0x1000
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK = 0x8913, 0x8914, 0x8916, 0x891c
SIOCSIFMTU, SIOCSIFTXQLEN = 0x8922, 0x8943
IFF_UP = 0x1
MTU = 9000
QUEUE_PACKETS = 10000  # a burst is to wait for the switch, not to be lost
PREFIX = bytes([10, 77, 0])

_libc = ctypes.CDLL(None, use_errno=True)


def missing():
    """What this machine lacks for a Network, in words; empty if nothing."""
    if os.geteuid() != 0:
        return 'network namespaces need root'
    try:
        os.close(os.open(TUN, os.O_RDWR))
    except OSError as error:
        return f'{TUN}: {error.strerror}'
    return ''


class Host:
    def __init__(self, number):
        """Makes a new namespace and moves this thread there."""
        self.number = number
        self.address = '.'.join(map(str, PREFIX + bytes([number])))
        _check(_libc.unshare(CLONE_NEWNET), 'unshare')
        self.namespace = os.open('/proc/thread-self/ns/net', os.O_RDONLY | os.O_CLOEXEC)
        self.tun = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(self.tun, TUNSETIFF, struct.pack('16sH22x', b'tun0', IFF_TUN | IFF_NO_PI))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            _set_address(control, SIOCSIFADDR, self.address)
            _set_address(control, SIOCSIFNETMASK, '255.255.255.0')
            fcntl.ioctl(control, SIOCSIFMTU, struct.pack('16si20x', b'tun0', MTU))
            fcntl.ioctl(control, SIOCSIFTXQLEN, struct.pack('16si20x', b'tun0', QUEUE_PACKETS))
            for device in (b'lo', b'tun0'):
                flags = struct.unpack_from('16xH', fcntl.ioctl(control, SIOCGIFFLAGS, struct.pack('16s24x', device)))[0]
                fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack('16sH22x', device, flags | IFF_UP))

    def enter(self):
        """Moves this thread (of a new child) to this host."""
        _check(_libc.setns(self.namespace, CLONE_NEWNET), 'setns')


def _check(result, what):
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f'{what}: {os.strerror(error)}')


def _set_address(control, request, address):
    fcntl.ioctl(control, request, struct.pack('16sHH4s16x', b'tun0', socket.AF_INET, 0, socket.inet_aton(address)))


class Network:
    def __init__(self, script, hosts):
        self.hosts = [Host(number + 1) for number in range(hosts)]
        operator = Host(hosts + 1)  # the last: here the script stays
        self._control, switch_end = socket.socketpair()
        tuns = [host.tun for host in (*self.hosts, operator)]
        self.switch = script.spawn([sys.executable, os.path.abspath(__file__), str(switch_end.fileno()), *map(str, tuns)],
                                   pass_fds=[switch_end.fileno(), *tuns])
        switch_end.close()
        for tun in tuns:
            os.close(tun)  # it lives with the switch
        self._cut = set()

    def cut(self, source, target):
        """Packets of `source` to `target` vanish. In effect when this returns."""
        self._cut.add((source.number, target.number))
        self._tell()

    def cut_both(self, one, other):
        self._cut |= {(one.number, other.number), (other.number, one.number)}
        self._tell()

    def isolate(self, host):
        """From all other hosts but the operator's."""
        for other in self.hosts:
            if other is not host:
                self._cut |= {(host.number, other.number), (other.number, host.number)}
        self._tell()

    def heal(self):
        self._cut.clear()
        self._tell()

    def vanished(self):
        """How many packets have vanished so far."""
        return self._tell()

    def _tell(self):
        self._control.sendall(json.dumps(sorted(self._cut)).encode())
        return int(self._control.recv(64))


def carry(control, tuns):
    """The switch: `tuns[i]` is the device of host i + 1."""
    cut, vanished = set(), 0
    poll = select.poll()
    for fd in (control.fileno(), *tuns):
        poll.register(fd, select.POLLIN)
    number_of = {tun: number for number, tun in enumerate(tuns, 1)}
    while True:
        for fd, _ in poll.poll():
            if fd == control.fileno():
                order = control.recv(4096)
                if not order:
                    return
                cut = {tuple(link) for link in json.loads(order)}
                control.sendall(str(vanished).encode())
                continue
            for _ in range(64):
                try:
                    packet = os.read(fd, MTU)
                except BlockingIOError:
                    break
                is_ours = packet[0] >> 4 == 4 and packet[16:19] == PREFIX and 1 <= packet[19] <= len(tuns)
                if not is_ours:
                    continue  # the kernel looks for IPv6 routers
                if (number_of[fd], packet[19]) in cut:
                    vanished += 1
                else:
                    os.write(tuns[packet[19] - 1], packet)


if __name__ == '__main__':
    carry(socket.socket(fileno=int(sys.argv[1])), [int(fd) for fd in sys.argv[2:]])
