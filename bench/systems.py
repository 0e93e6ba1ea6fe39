"""The servers that are compared. One runs at a time: it is started for a measurement and ended after it, its volumes stay.

A system has: name; prepare() makes its volumes, once; start(); target() for a client; pids() to charge; after() for what is
to be said when the client has ended (a failure, if the server is not as it was); rest() waits until it does nothing for what was written
any more; stop(); kill(), which never fails; commands() that started it.
"""
import json
import os
import shutil
import signal
import socket
import subprocess

import harness
import qmp
import workloads
from workloads import Target

PEERS = {
    'S0': 'raw file, no server: what the disk gives (fio, io_uring, O_DIRECT)',
    'SX': 'NBD server in RAM (nbdkit memory), no disk, no copy: what client, protocol and loopback allow',
    'S1': 'qemu-nbd, one copy, O_DIRECT, io_uring',
    'S1n': 'the same with Linux AIO',
    'S4': 'two qemu-storage-daemons, quorum of both copies, each write waits for both, reads are local, io_uring',
    'S4n': 'the same with Linux AIO',
    'S5': 'two qemu-storage-daemons, mirror in write-blocking mode, io_uring; a flush or FUA reaches the first copy only',
}
DURABILITIES = {'sync_all': '', 'sync_quorum': '-quorum', 'best_effort': '-best'}
RINGBOLT = {f'RB{copies}{suffix}': (copies, durability) for copies in (1, 2, 3) for durability, suffix in DURABILITIES.items()}
SHIPPED = {**PEERS, **{name: f'ringbolt, {copies} {"copy" if copies == 1 else "copies"}, {durability}' for name, (copies, durability) in RINGBOLT.items()}}
IMAGES = {'S0': 1, 'S1': 1, 'S1n': 1, 'S4': 2, 'S4n': 2, 'S5': 2}  # files that a peer needs; they share them
DEFAULT = ['S0', 'SX', 'S1', 'S4', 'S5', *RINGBOLT]
PROGRAMS = {'SX': ['nbdkit'], 'S1': ['qemu-nbd'], 'S1n': ['qemu-nbd'], 'S4': ['qemu-storage-daemon'], 'S4n': ['qemu-storage-daemon'],
            'S5': ['qemu-storage-daemon']}
SHIM = os.path.join(harness.BUILD, 'bench', 'ringbolt-nodelay.so')


def check(names):
    """Says what is missing before anything is measured."""
    wanted = {(program, 'tools/install-packages bench') for program in ['fio', *(p for name in names for p in PROGRAMS.get(name, []))]}
    wanted.add((workloads.LOAD_PROGRAM, 'meson configure -Dbench=true, ninja'))
    if any(name in RINGBOLT for name in names):
        wanted.add((harness.RINGBOLTD, 'ninja'))
    if any(name in PROGRAMS for name in names):
        wanted.add((SHIM, 'meson configure -Dbench=true, ninja'))
    missing = sorted((program, how) for program, how in wanted if not (os.path.exists(program) if os.sep in program else shutil.which(program, path=harness.CLIENT_PATH)))
    if missing:
        raise harness.Failure('; '.join(f'{program} is missing ({how})' for program, how in missing))


class Program:
    """A server process in the foreground."""

    def __init__(self, directory, name, command, is_ready):
        self.name, self.command, self._is_ready = name, command, is_ready
        self._log_path = os.path.join(directory, f'{name}.log')
        self.process = None

    def start(self):
        with open(self._log_path, 'wb') as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                            env={**os.environ, 'PATH': harness.CLIENT_PATH, 'LD_PRELOAD': SHIM}, preexec_fn=harness.end_with_parent)
        harness.wait_for(self._ready, f'{self.name} to serve')

    def _ready(self):
        self.check()
        return self._is_ready()

    def check(self):
        if self.process.poll() is not None:
            with open(self._log_path, errors='replace') as log:
                said = log.read(1000)
            raise harness.Failure(f'{self.name} ended with exit code {self.process.returncode}: {" ".join(self.command)}\n{said}')

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=harness.WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise harness.Failure(f'{self.name} did not end within {harness.WAIT_SECONDS} s') from None
        self.process = None

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def serves_nbd(port):
    with socket.socket() as probe:
        probe.settimeout(5)
        try:
            probe.connect(('127.0.0.1', port))
            return probe.recv(8) == b'NBDMAGIC'
        except OSError:
            return False


class Images:
    """Files that systems of one copy, and those of two, take turns in using: equal, and written from end to end."""

    def __init__(self, directory, size):
        self._directory, self.size = directory, size
        self._made = {}

    def path(self, number):
        """Of the first or the second copy."""
        if number not in self._made:
            path = os.path.join(self._directory, f'peer-{number}.img')
            if number == 0:
                workloads.fill(Target([], path), self.size)
            else:
                shutil.copyfile(self.path(0), path)
                with open(path, 'rb') as file:
                    os.fsync(file.fileno())
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            self._made[number] = path
        return self._made[number]


class RawFile:
    def __init__(self, name, images):
        self.name = name
        self._images = images

    def prepare(self):
        self._images.path(0)

    def target(self):
        return Target([], self._images.path(0))

    def pids(self):
        return []

    def after(self):
        return {}

    def commands(self):
        return []

    def start(self):
        pass

    rest = stop = kill = start


class Peer:
    """One or more programs; clients connect to the last one."""

    def __init__(self, name, directory, images):
        self.name = name
        self._directory, self._images = directory, images
        self._ports = [harness.free_port(), harness.free_port()]
        self._programs = []

    def prepare(self):
        raise NotImplementedError

    def start(self):
        for program in self._programs:
            program.start()

    def target(self, connections=1):
        return Target([f'nbd://127.0.0.1:{self._ports[0]}/vol0'] * connections)

    def pids(self):
        return [program.process.pid for program in self._programs]

    def after(self):
        for program in self._programs:
            program.check()
        return {}

    def rest(self):
        pass

    def stop(self):
        for program in reversed(self._programs):
            program.stop()

    def kill(self):
        for program in self._programs:
            program.kill()

    def commands(self):
        return [' '.join(program.command) for program in self._programs]

    def _add(self, role, command, port):
        self._programs.append(Program(self._directory, f'{self.name}-{role}', command, lambda: serves_nbd(port)))


class Memory(Peer):
    """Keeps nothing when it ends."""

    def prepare(self):
        self._add('server', ['nbdkit', '--foreground', '--ipaddr=127.0.0.1', f'--port={self._ports[0]}', 'memory', str(self._images.size)], self._ports[0])

    def start(self):
        super().start()
        workloads.fill(self.target(), self._images.size)


class OneCopy(Peer):
    aio = 'io_uring'

    def prepare(self):
        self._add('server', ['qemu-nbd', '--format=raw', '--persistent', '--shared=0', '--export-name=vol0', '--bind=127.0.0.1', f'--port={self._ports[0]}',
                             '--cache=none', f'--aio={self.aio}', self._images.path(0)], self._ports[0])


class TwoCopies(Peer):
    """A storage daemon with each copy; the first one is the second's NBD client, and serves."""
    aio = 'io_uring'
    export_node = 'both'

    def prepare(self):
        front, link = self._ports
        self._add('second', self._daemon(link, 'copy', [self._disk(1)]), link)
        nodes = [self._disk(0), {'driver': 'nbd', 'node-name': 'remote', 'export': 'vol0', 'cache': {'direct': True},
                                 'server': {'type': 'inet', 'host': '127.0.0.1', 'port': str(link)}}]
        self._add('first', self._daemon(front, self.export_node, nodes + self._join(), self._more()), front)

    def _join(self):
        return [{'driver': 'quorum', 'node-name': 'both', 'children': ['copy', 'remote'], 'vote-threshold': 2, 'read-pattern': 'fifo'}]

    def _more(self):
        return []

    def _disk(self, number):
        return {'driver': 'raw', 'node-name': 'copy', 'cache': {'direct': True},
                'file': {'driver': 'file', 'filename': self._images.path(number), 'aio': self.aio, 'cache': {'direct': True}}}

    @staticmethod
    def _daemon(port, node, nodes, more=()):
        command = ['qemu-storage-daemon', *more]
        for description in nodes:
            command += ['--blockdev', json.dumps(description)]
        return [*command, '--nbd-server', f'addr.type=inet,addr.host=127.0.0.1,addr.port={port},max-connections=0',
                '--export', f'type=nbd,id=export0,node-name={node},name=vol0,writable=on']


class Mirrored(TwoCopies):
    export_node = 'copy'

    def start(self):
        super().start()
        with qmp.Qmp(self._socket_path()) as monitor:
            monitor.call('blockdev-mirror', **{'job-id': 'mirror0', 'device': 'copy', 'target': 'remote', 'sync': 'none', 'copy-mode': 'write-blocking'})
            harness.wait_for(lambda: any(job['device'] == 'mirror0' and job['ready'] for job in monitor.call('query-block-jobs')), 'the mirror to be ready')

    def stop(self):
        # Without a job a daemon ends at once.
        with qmp.Qmp(self._socket_path()) as monitor:
            monitor.call('block-job-cancel', device='mirror0')
            harness.wait_for(lambda: not monitor.call('query-block-jobs'), 'the mirror to end')
        super().stop()

    def _socket_path(self):
        return os.path.join(self._directory, 'mirror.qmp')

    def _join(self):
        return []

    def _more(self):
        return ['--chardev', f'socket,id=monitor0,path={self._socket_path()},server=on,wait=off', '--monitor', 'chardev=monitor0']


class OneCopyAio(OneCopy):
    aio = 'native'


class TwoCopiesAio(TwoCopies):
    aio = 'native'


KINDS = {'SX': Memory, 'S1': OneCopy, 'S1n': OneCopyAio, 'S4': TwoCopies, 'S4n': TwoCopiesAio, 'S5': Mirrored}


def make_peer(name, directory, images):
    return RawFile(name, images) if name == 'S0' else KINDS[name](name, directory, images)
