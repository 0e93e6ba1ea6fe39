#!/usr/bin/python3
"""TCP's congestion control by configuration: of clients' connections, and of those with other nodes, both ways."""
import ctypes
import os
import re
import socket

from harness import Failure, Pair, Script, wait_for

CHOSEN = 'reno'  # every kernel has it


def sockets_of(process):
    """(family, congestion control) by local and remote port, of the TCP connections of a daemon."""
    pidfd = os.pidfd_open(process)
    found = {}
    try:
        for number in os.listdir(f'/proc/{process}/fd'):
            try:
                if not os.readlink(f'/proc/{process}/fd/{number}').startswith('socket:'):
                    continue
            except FileNotFoundError:
                continue
            copied = ctypes.CDLL(None, use_errno=True).syscall(438, pidfd, int(number), 0)  # pidfd_getfd
            if copied < 0:
                continue  # closed meanwhile
            with socket.socket(fileno=copied) as one:
                if one.family != socket.AF_INET:
                    continue
                try:
                    remote = one.getpeername()[1]
                except OSError:
                    continue  # it listens
                name = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
                found[one.getsockname()[1], remote] = name.rstrip(b'\0').decode()
    finally:
        os.close(pidfd)
    return found


def port_of(address):
    return int(address.rsplit(':', 1)[1])


def host_congestion():
    with open('/proc/sys/net/ipv4/tcp_congestion_control') as file:
        return file.read().strip()


def check_chosen(script):
    pair = Pair(script, options={'nbd.tcp_congestion': CHOSEN, 'replication.tcp_congestion': CHOSEN})
    pair.start()
    with script.test('clients, and replication at both ends, have what was chosen; the host keeps its own'):
        before = host_congestion()
        replication = port_of(pair.replica.replication_address)
        with socket.create_connection((pair.primary.ip, pair.primary.nbd_port)) as client:
            assert client.recv(8) == b'NBDMAGIC'
            here, there = sockets_of(pair.primary.pid), sockets_of(pair.replica.pid)
            of_client = [name for (local, _), name in here.items() if local == pair.primary.nbd_port]
        made = [name for (_, remote), name in here.items() if remote == replication]
        accepted = [name for (local, _), name in there.items() if local == replication]
        for names in (of_client, made, accepted):
            assert names and set(names) == {CHOSEN}, (here, there)
        assert host_congestion() == before
    pair.stop()


def check_refused(script):
    for part in ('nbd', 'replication'):
        with script.test(f'{part}: one that the kernel does not have is an error at the start, which names it'):
            node = script.node(f'{part}-psychic', [{'name': 'vol0', 'size': '8MiB', 'role': 'primary'}], options={f'{part}.tcp_congestion': 'psychic'})
            node.start(wait=False)
            code = wait_for(lambda: node.process.poll() is not None and (node.process.returncode,), 'the daemon to end')[0]
            if code != 1 or not re.search(f'{part}.tcp_congestion "psychic": this kernel has none of that name', node.log_text()):
                raise Failure(f'exit code {code}\n{node.log_text()}')


with Script() as script:
    check_chosen(script)
    check_refused(script)
