"""The servers that are compared. Only one runs at a time: each is started for a measurement and ended
after it, its volume stays. NAME is over TCP on loopback, NAME-unix over a Unix socket."""
import os
import signal
import socket
import subprocess

import workloads
from workloads import harness

SHIPPED = {
    'ringbolt': 'a pair, sync_all: every reply stands for two copies',
    'ringbolt-unix': 'the same pair, the client over a Unix socket',
    'qemu-nbd': 'one copy, O_DIRECT',
    'qemu-nbd-unix': 'one copy, O_DIRECT, over a Unix socket',
    'nbdkit-memory': 'no disk, no copy: the ceiling of client and protocol',
    'nbdkit-memory-unix': 'the same over a Unix socket',
}


class Frame:
    """What harness.Pair needs of a test script."""

    def __init__(self, directory):
        self.directory = directory
        self.nodes = []

    def node(self, name, options=None):
        node = harness.Node(name, self.directory, options=options)
        node.socket_path = os.path.join(self.directory, f'{name}.sock')
        node.options['nbd.listen'] = [f'127.0.0.1:{node.nbd_port}', f'unix:{node.socket_path}']
        self.nodes.append(node)
        return node


class RingboltPair:
    """Primary and replica of one volume on this machine. Shared by both transports."""

    def __init__(self, directory, size, options):
        self.frame = Frame(directory)
        self.settings = {'node.shards': options.shards, 'node.memory': options.memory}
        self.pair = harness.Pair(self.frame, size=f'{size}B', durability=options.durability,
                                 options=self.settings, wal_size=options.wal_size)
        self.filled = False

    def uri(self, unix):
        return f'nbd+unix:///vol0?socket={self.pair.primary.socket_path}' if unix else self.pair.uri

    def start(self):
        """Also waits until what an earlier run left in the logs is copied as far as it will be."""
        self.pair.start()
        seen = []

        def settled():
            seen.append([(volume['boundary']['checkpoint_lsn'], volume['wal']['used_bytes'])
                         for volume in (node.volume() for node in self.frame.nodes)])
            return len(seen) > 1 and seen[-1] == seen[-2]
        harness.wait_for(settled, 'the checkpoints to rest', every=0.3)

    def pids(self):
        return [node.pid for node in self.frame.nodes]

    def after(self):
        """How much of the work was still to be done when the client ended."""
        volume = self.pair.primary.volume()
        if not volume['healthy']:
            raise harness.Failure('the pair is not healthy after the run: '
                                  f'{volume["mode"]}, {volume["reason"]}')
        return {'wal_used_bytes': volume['wal']['used_bytes']}

    def stop(self):
        self.pair.stop()

    def kill(self):
        for node in self.frame.nodes:
            if node.process is not None:
                node.kill()

    def describe(self):
        return {'durability': self.pair.durability, 'wal_size': self.pair.wal_size, **self.settings}


class Program:
    """A server that is one program in the foreground. `commands(program)`: what to try, in this
    order; the first that serves is kept."""

    def __init__(self, directory, name, commands):
        self.directory, self.name, self.commands = directory, name, commands
        self.socket_path = os.path.join(directory, f'{name}.sock')
        self.port = harness.free_port()
        self.unix = False
        self.kept = None
        self.process = None
        self.filled = False

    def uri(self, unix):
        return f'nbd+unix:///?socket={self.socket_path}' if unix else f'nbd://127.0.0.1:{self.port}/'

    def start(self):
        assert self.process is None
        commands = self.commands(self)
        failures = []
        for index, command in enumerate(commands):
            if self.kept not in (None, index):
                continue
            if os.path.exists(self.socket_path):
                os.unlink(self.socket_path)
            with open(os.path.join(self.directory, f'{self.name}.log'), 'w+b') as log:
                self.process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                    env={**os.environ, 'PATH': harness.CLIENT_PATH},
                    preexec_fn=harness.end_with_parent)
                if harness.wait_for(self._state, f'{self.name} to serve or to end') == 'serves':
                    self.kept = index
                    return
                log.seek(0)
                failures.append(f'{" ".join(command)}: exit code {self.process.returncode}: '
                                f'{log.read(500).decode(errors="replace")}')
            self.process = None
        raise harness.Failure('\n'.join(failures))

    def _state(self):
        if self.process.poll() is not None:
            return 'ended'
        family = socket.AF_UNIX if self.unix else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.settimeout(5)
            try:
                probe.connect(self.socket_path if self.unix else ('127.0.0.1', self.port))
                return 'serves' if probe.recv(8) == b'NBDMAGIC' else None
            except OSError:
                return None

    def pids(self):
        return [self.process.pid]

    def after(self):
        if self.process.poll() is not None:
            raise harness.Failure(f'{self.name} ended during the run')
        return {}

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=harness.WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise harness.Failure(f'{self.name} did not end') from None
        self.process = None

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def describe(self):
        return {'command': None if self.kept is None else ' '.join(self.commands(self)[self.kept])}


def qemu_nbd(directory, size):
    image = os.path.join(directory, 'qemu-nbd.img')
    with open(image, 'xb') as file:
        os.posix_fallocate(file.fileno(), 0, size)

    def commands(program):
        where = ['-k', program.socket_path] if program.unix else \
            ['-b', '127.0.0.1', '-p', str(program.port)]
        return [['qemu-nbd', '-f', 'raw', '-t', '-e', '0', '--cache=none', f'--aio={aio}', *where,
                 image]
                for aio in ('io_uring', 'native', 'threads')]

    return Program(directory, 'qemu-nbd', commands)


class NbdkitMemory(Program):
    """Keeps nothing when it ends, so it runs from the first use on (and costs nothing while idle)."""

    def __init__(self, directory, name, size):
        def commands(program):
            where = ['-U', program.socket_path] if program.unix else \
                ['-i', '127.0.0.1', '-p', str(program.port)]
            return [['nbdkit', '-f', *where, 'memory', str(size)]]
        super().__init__(directory, name, commands)

    def start(self):
        if self.process is None:
            super().start()

    def stop(self):
        pass


class System:
    """A name of SHIPPED: a server and a transport."""

    def __init__(self, name, server):
        self.name, self.server = name, server
        self.unix = name.endswith('-unix')

    @property
    def uri(self):
        return self.server.uri(self.unix)

    def start(self, size):
        self.server.unix = self.unix
        self.server.start()
        if not self.server.filled:
            workloads.prefill(self.uri, size)
            self.server.filled = True


def make_systems(names, directory, size, options):
    """The systems of these names; both transports of one share the server and its volume."""
    servers = {}
    result = []
    for name in names:
        kind = name.removesuffix('-unix')
        key = name if kind == 'nbdkit-memory' else kind
        if key not in servers:
            servers[key] = {'ringbolt': lambda: RingboltPair(directory, size, options),
                            'qemu-nbd': lambda: qemu_nbd(directory, size),
                            'nbdkit-memory': lambda: NbdkitMemory(directory, key, size)}[kind]()
        result.append(System(name, servers[key]))
    return result
