"""What the scripts share that move roles between running nodes: clients that follow the volume, orders by
ringboltctl and by the API itself, and what to wait for."""
import json
import os
import random
import threading
import urllib.error
import urllib.request

import nbd

from harness import Failure, ctl, wait_for
from registers import Registers

SEED = int(os.environ.get('RINGBOLT_SEED', str(random.SystemRandom().randrange(1 << 32))))
BLOCKS = 1024


class Clients:
    """Writers that look for the node that serves the volume, and look again when it has moved.

    With `registers` given they write to `blocks` of it, which nobody else may write.
    """

    def __init__(self, nodes, workers=4, registers=None, blocks=range(BLOCKS)):
        self.nodes = nodes
        self.registers = registers or Registers(BLOCKS, SEED)
        self._blocks = blocks
        self._workers = workers
        self._ended = threading.Event()
        self._threads = []
        self._errors = []

    @property
    def acknowledged(self):
        return self.registers.acknowledged

    def start(self):
        share = len(self._blocks) // self._workers
        self._threads = [threading.Thread(target=self._work, args=(self._blocks[worker * share], share, worker), daemon=True)
                         for worker in range(self._workers)]
        for thread in self._threads:
            thread.start()

    def go_on(self, count=200):
        """Returns when that many more blocks have been acknowledged."""
        goal = self.acknowledged + count
        wait_for(lambda: self.acknowledged >= goal or self._errors, 'clients to get on')
        if self._errors:
            raise Failure(f'a client: {self._errors[0]}')

    def stop(self):
        self._ended.set()
        for thread in self._threads:
            thread.join(120)
            if thread.is_alive():
                raise Failure('a client hangs')
        self._ended.clear()

    def stop_and_check(self, node):
        """Ends the writers and reads every block from `node`."""
        self.stop()
        self.registers.check(node.uri())

    def _work(self, first_block, share, worker):
        rng = random.Random(SEED + worker)
        try:
            while not self._ended.is_set():
                handle = self._connect()
                if handle is None:
                    self._ended.wait(0.05)
                    continue
                try:
                    while not self._ended.is_set():
                        self.registers.write_some(handle, rng, first_block, share)
                        # The pace: what a new replica misses is to be in the WAL still.
                        self._ended.wait(0.004)
                    handle.shutdown()
                except nbd.Error:
                    continue   # it has moved, or its node was killed
        except Exception as error:   # reported by go_on()
            self._errors.append(error)

    def _connect(self):
        for node in self.nodes:
            handle = nbd.NBD()
            try:
                handle.connect_uri(node.uri())
                return handle
            except nbd.Error:
                continue
        return None


def order(node, *words, expect=0):
    """Gives an order by ringboltctl and checks the exit code; returns what it said."""
    result = ctl(node, *words, check=False)
    if result.returncode != expect:
        raise Failure(f'{node.name}: ringboltctl {" ".join(words)} ended with {result.returncode}, expected {expect}\n'
                      f'{result.out}\n{result.err}\n{node.log_tail()}')
    assert result.err if expect else not result.err, result.err
    return result.err if expect else result.out


def replicas(*nodes):
    words = []
    for node in nodes:
        words += ['--replica', f'{node.name}={node.replication_address}']
    return words


def post(node, body, volume='vol0'):
    """Status and body of an assignment given to the API itself."""
    request = urllib.request.Request(f'http://{node.admin_address}/v1/volumes/{volume}/assignment', data=body.encode(), method='POST')
    try:
        with urllib.request.urlopen(request, timeout=90) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def state(node):
    volume = node.volume()
    return volume['role'], volume['epoch']


def sessions(node):
    return {replica['id']: replica['session'] and replica['session']['id'] for replica in node.volume()['replicas']}


def wait_in_sync(primary, *expected):
    """Until `primary` is healthy with exactly these replicas, all in the in-sync set."""
    names = sorted(node.name for node in expected)
    return primary.wait_volume(
        lambda volume: volume['role'] == 'primary' and volume['healthy'] and volume['mode'] == 'publish_healthy' and
        sorted(replica['id'] for replica in volume['replicas']) == names and
        all(replica['in_sync'] for replica in volume['replicas']), f'{primary.name}: in sync with {names}')


def images_equal(*nodes):
    images = []
    for node in nodes:
        with open(node.image_path(), 'rb') as file:
            images.append(file.read())
    return all(image == images[0] for image in images)
