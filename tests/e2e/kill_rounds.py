#!/usr/bin/python3
"""kill -9 of the primary, of the replica or of both at random moments under writes with FUA and
flushes: every acknowledged write is there afterwards, on the primary and, once promoted, on the
replica's own copy; no block holds anything but its last acknowledged write or one in flight."""
import os
import random
import sys
import time

from harness import Pair, Script
from registers import Registers

ROUNDS = int(os.environ.get('RINGBOLT_KILL_ROUNDS', '50'))
SEED = int(os.environ.get('RINGBOLT_SEED', str(random.SystemRandom().randrange(1 << 32))))


def images_equal(pair):
    with open(pair.primary.image_path(), 'rb') as a, open(pair.replica.image_path(), 'rb') as b:
        return a.read() == b.read()


def promote_replica(pair):
    """The primary is dead: its replica takes over under the next epoch, the old one becomes replica."""
    pair.replica.kill()
    pair.primary, pair.replica = pair.replica, pair.primary
    pair.epoch += 1
    pair.configure()


with Script() as script:
    print(f'# seed {SEED}')
    rng = random.Random(SEED)
    pair = Pair(script, size='16MiB', wal_size='8MiB', options={'replication.timeout': '2s'})
    registers = Registers(blocks=1024, seed=SEED)
    promoted = 0
    with script.test(f'{ROUNDS} rounds of kill -9 lose nothing'):
        pair.start()
        for number in range(ROUNDS):
            victim = rng.choice(['primary', 'replica', 'both', 'primary then promote'])
            before = len(pair.primary.log_text())
            join = registers.load(pair.uri)
            time.sleep(rng.uniform(0.05, 0.8))   # the moment of the crash is the point, not a wait
            if victim == 'replica':
                pair.replica.kill()
                time.sleep(rng.uniform(0, 0.3))
                pair.replica.start()
                pair.wait_healthy()
                pair.primary.kill()
                join()
                pair.primary.start()
            else:
                pair.primary.kill()
                if victim == 'both':
                    pair.replica.kill()
                join()
                left_the_set = 'leaves the in-sync set' in pair.primary.log_text()[before:]
                if victim == 'primary then promote' and not left_the_set:
                    promote_replica(pair)
                    promoted += 1
                for node in (pair.replica, pair.primary):
                    if node.process is None:
                        node.start()
            pair.wait_healthy()
            try:
                registers.check(pair.uri)
            except AssertionError as error:
                raise AssertionError(f'round {number}, victim {victim}: {error}') from None
        assert registers.acknowledged > ROUNDS, 'the clients got nothing done'
        print(f'# {registers.acknowledged} blocks acknowledged, {promoted} promotions')
    with script.test('after a clean stop both images are equal'):
        pair.stop()
        assert images_equal(pair)
