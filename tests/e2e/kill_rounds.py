#!/usr/bin/python3
# run-seconds: 900
"""kill -9 of the primary, of the replica or of both at random moments under writes with FUA and
flushes: every acknowledged write is there afterwards, on the primary and, once promoted, on the
replica's own copy; no block holds anything but its last acknowledged write or one in flight."""
import os
import random
import time

from harness import Pair, Script, wait_for
from registers import Registers

ROUNDS = int(os.environ.get('RINGBOLT_KILL_ROUNDS', '50'))
SEED = int(os.environ.get('RINGBOLT_SEED', str(random.SystemRandom().randrange(1 << 32))))


def promote_replica(pair):
    """The primary is dead: its replica takes over under the next epoch, the old one becomes replica."""
    if pair.replica.process is not None:
        pair.replica.kill()
    pair.primary, pair.replica = pair.replica, pair.primary
    pair.epoch += 1
    pair.configure()


def counts(log):
    """Whether the replica was in the in-sync set at the end of this part of the primary's log."""
    return log.rfind('leaves the in-sync set') <= log.rfind('is in sync at')


with Script() as script:
    print(f'# seed {SEED}')
    rng = random.Random(SEED)
    pair = Pair(script, size='16MiB', wal_size='8MiB', options={'replication.timeout': '2s'})
    registers = Registers(blocks=1024, seed=SEED)
    kills = dict.fromkeys(['primary', 'replica', 'both'], 0)
    promoted = 0
    with script.test(f'{ROUNDS} rounds of kill -9 lose nothing', seconds=60 + 10 * ROUNDS):
        pair.start()
        for number in range(ROUNDS):
            victim = rng.choice(list(kills))
            kills[victim] += 1
            before = len(pair.primary.log_text())
            acknowledged = registers.acknowledged
            join = registers.load(pair.uri)
            wait_for(lambda: registers.acknowledged > acknowledged, 'a client to get something done')
            time.sleep(rng.uniform(0, 0.8))   # the moment of the crash is the point, not a wait
            if victim == 'replica':
                pair.replica.kill()
                time.sleep(rng.uniform(0, 0.3))
                pair.replica.start()
                pair.wait_healthy()
            pair.primary.kill()
            if victim == 'both':
                pair.replica.kill()
            join()
            # Half of the time the replica's own copy has to answer for everything that was acknowledged.
            if rng.random() < 0.5 and counts(pair.primary.log_text()[before:]):
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
        print(f'# {registers.acknowledged} blocks acknowledged, {promoted} promotions, {kills}')
    with script.test('after a clean stop both images hold what was acknowledged'):
        pair.stop()
        for node in pair.nodes:
            registers.check_image(node.image_path())
