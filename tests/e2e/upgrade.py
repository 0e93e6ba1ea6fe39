#!/usr/bin/python3
"""Upgrade by restart, under load: the replica's daemon, then the primary's, stopped cleanly and started again, also from another
file at the same path. Clients that reconnect, one of libnbd's and qemu's own, see a pause and no error; nothing acknowledged is
lost; a start after a clean stop has nothing to replay, and the replica comes back without a rebuild."""
import os
import random
import re
import shutil
import socket
import threading

import nbd

import harness
from harness import Failure, Pair, Script, wait_for
from registers import BLOCK, Registers

ROUNDS = int(os.environ.get('RINGBOLT_UPGRADE_ROUNDS', '3'))
SEED = int(os.environ.get('RINGBOLT_SEED', str(random.SystemRandom().randrange(1 << 32))))
SHARE = 128   # blocks of one client: half a MiB, more than a piece of a read
STOPPED = re.compile(r'was stopped cleanly, log from Lsn \d+ to (\d+), checkpoint at (\d+), (\d+) blocks to copy')


class Reconnecting:
    """libnbd as a client uses it that shall outlive its server: a request that the end of a connection leaves unanswered is sent
    again on the next one. An answer is final, also if it is an error."""

    def __init__(self, uri, ended):
        self.uri, self.ended = uri, ended
        self.handle = None
        self.connections = 0
        self.refusals = set()   # how connecting failed

    def do(self, operation):
        while True:
            handle = self.handle or self._connect()
            try:
                return operation(handle)
            except nbd.Error as error:
                if not (handle.aio_is_dead() or handle.aio_is_closed()):
                    raise Failure(f'the answer was an error: {error}') from None
                self.handle = None

    def _connect(self):
        def connected():
            handle = nbd.NBD()
            try:
                handle.connect_uri(self.uri)
            except nbd.Error as error:
                self.refusals.add(error.string)
                return None
            return handle
        self.handle = wait_for(connected, 'a server to connect to', every=0.02)
        self.connections += 1
        return self.handle

    def pwrite(self, *arguments):
        self.do(lambda handle: handle.pwrite(*arguments))

    def pread(self, *arguments):
        return self.do(lambda handle: handle.pread(*arguments))

    def flush(self):
        self.do(lambda handle: handle.flush())


class Plain:
    """For qemu's daemon, which is not restarted: every error, and every end of the connection, is one too many."""

    def __init__(self, uri):
        self.handle = nbd.NBD()
        self.handle.connect_uri(uri)
        self.pwrite, self.pread, self.flush = self.handle.pwrite, self.handle.pread, self.handle.flush


class Load:
    """Threads, each with a connection and blocks of its own, that write and read back until they are told to end."""

    def __init__(self, registers):
        self.registers = registers
        self.done = []          # per client: how often it has read back what it wrote
        self.errors = []
        self.ended = threading.Event()
        self._threads = []

    def add(self, client):
        number = len(self.done)
        self.done.append(0)
        self._threads.append(threading.Thread(target=self._work, args=(client, number), daemon=True))

    def start(self):
        for thread in self._threads:
            thread.start()

    def _work(self, client, number):
        rng, first = random.Random(SEED + number), number * SHARE
        try:
            while not self.ended.is_set():
                for _ in range(20):
                    self.registers.write_some(client, rng, first, SHARE)
                data = bytes(client.pread(SHARE * BLOCK, first * BLOCK))
                for block in range(SHARE):
                    self.registers.check_block(first + block, data[block * BLOCK:(block + 1) * BLOCK])
                self.done[number] += 1
        except Exception as error:   # raised again by check()
            self.errors.append(f'client {number}: {error}')

    def check(self):
        if self.errors:
            raise Failure('\n'.join(self.errors))

    def go_on(self, count=2):
        """Returns when every client has read back its blocks so many more times."""
        goal = [done + count for done in self.done]

        def reached():
            self.check()
            return all(done >= wanted for done, wanted in zip(self.done, goal))
        wait_for(reached, f'all clients to get on, from {self.done}')

    def end(self):
        self.ended.set()
        for thread in self._threads:
            thread.join(harness.WAIT_SECONDS)
            assert not thread.is_alive(), 'a client hangs'
        self.check()


def qemu_disk(script, node):
    """A disk of qemu's with `node`'s volume behind it: its NBD client with reconnect-delay, served to us on a socket."""
    path = script.path('qemu.sock')
    volume = {'driver': 'nbd', 'server.type': 'inet', 'server.host': node.ip, 'server.port': node.nbd_port, 'export': 'vol0',
              'reconnect-delay': harness.WAIT_SECONDS}
    qemu = script.spawn(['qemu-nbd', '--persistent', '--shared=0', f'--socket={path}', '--image-opts',
                         'driver=raw,' + ','.join(f'file.{key}={value}' for key, value in volume.items())])

    def listens():
        assert qemu.poll() is None, f'qemu-nbd ended with {qemu.returncode}'
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(path) == 0
    wait_for(listens, 'qemu-nbd to listen')
    return qemu, f'nbd+unix:///?socket={path}'


def restart(node, between=lambda: None):
    node.stop()
    between()
    node.start()


def clean_starts(node):
    """Of each start after a clean stop: the log's end, the checkpoint, and how many blocks were to be copied again."""
    return [tuple(map(int, found)) for found in STOPPED.findall(node.log_text())]


def replace_binary(path):
    """As a package does: another file gets the name, whoever runs the old one keeps it."""
    shutil.copy2(path, f'{path}.new')
    os.rename(f'{path}.new', path)


with Script() as script:
    print(f'# seed {SEED}')
    installed = script.path('ringboltd')
    shutil.copy2(harness.RINGBOLTD, installed)
    harness.RINGBOLTD = installed
    # What the replica misses on a slow machine is to be in the WAL still.
    pair = Pair(script, size='16MiB', wal_size='64MiB', options={'replication.wal_retain': '90%'})
    pair.start()
    registers = Registers(blocks=6 * SHARE, seed=SEED)
    load = Load(registers)
    own = [Reconnecting(pair.uri, load.ended) for _ in range(3)]
    qemu, disk = qemu_disk(script, pair.primary)
    for client in own + [Plain(disk) for _ in range(3)]:
        load.add(client)
    load.start()
    load.go_on()

    with script.test(f'the replica is restarted {ROUNDS} times: clients go on, and it comes back without a rebuild'):
        for _ in range(ROUNDS):
            restart(pair.replica)
            pair.wait_healthy()
            load.go_on()
        assert [client.connections for client in own] == [1, 1, 1], 'a client had to reconnect'
    with script.test(f'the primary is restarted {ROUNDS} times: for libnbd and for qemu that is a pause, not an error'):
        for _ in range(ROUNDS):
            restart(pair.primary)
            pair.wait_healthy()
            load.go_on()
    with script.test('replica, then primary, are started from another file that has taken the place of the one that ran'):
        ran = os.stat(f'/proc/{pair.primary.pid}/exe').st_ino
        replace_binary(installed)
        for node in (pair.replica, pair.primary):
            restart(node)
            pair.wait_healthy()
            load.go_on()
            assert os.stat(f'/proc/{node.pid}/exe').st_ino == os.stat(installed).st_ino != ran
    with script.test('every start after a clean stop found a clean log: the primary\'s is checkpointed to its end, the replica\'s up to what is on both'):
        for node in pair.nodes:
            starts = clean_starts(node)
            assert len(starts) == ROUNDS + 1 and ': recovered, ' not in node.log_text(), starts
            # What clients were still waiting for, one write each at a time, may not stay: a replica does not copy it.
            waited_for = 0 if node is pair.primary else len(load.done) * SHARE
            assert all(end - checkpoint <= waited_for and blocks <= waited_for for end, checkpoint, blocks in starts), (node.name, starts)
        log = pair.primary.log_text()
        assert 'needs a rebuild' not in log and '(rebuild)' not in log, pair.primary.log_tail()
    with script.test('a primary that stops while writes wait for a replica that hangs leaves them unanswered, to be asked again'):
        pair.replica.pause()
        pair.primary.wait_volume(lambda v: v['boundary']['wal_head'] > v['boundary']['committed_lsn'], 'a write that waits')
        restart(pair.primary, between=pair.replica.resume)
        pair.wait_healthy()
        load.go_on()
    with script.test('whoever came while a daemon was starting or stopping was refused or cut off, never told an error'):
        refusals = set().union(*(client.refusals for client in own))
        print(f'# connections of each client: {[client.connections for client in own]}; refusals: {sorted(refusals)}')
        assert all(re.search('[Cc]onnection refused|[Cc]onnection reset|disconnected unexpectedly', words) for words in refusals), refusals
    with script.test('nothing acknowledged is lost, and after a clean stop both images are equal'):
        load.end()
        print(f'# {registers.acknowledged} blocks acknowledged, read back {load.done} times')
        registers.check(disk)
        qemu.terminate()
        qemu.wait(harness.WAIT_SECONDS)
        registers.check(pair.uri)
        pair.stop_and_compare()
        for node in pair.nodes:
            registers.check_image(node.image_path())
