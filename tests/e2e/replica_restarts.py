#!/usr/bin/python3
"""kill -9 of the replica and its restart, again and again while writes go on: the primary notices each time, also
if the replica is back within a moment or dies again before it is in step, and also with no client at all. Then it
is in sync, nothing is lost and both copies are equal."""
import os
import random
import time

from harness import Pair, Script, wait_for
from registers import Registers

ROUNDS = int(os.environ.get('RINGBOLT_KILL_ROUNDS', '100'))
IDLE_ROUNDS = 5
SEED = int(os.environ.get('RINGBOLT_SEED', str(random.SystemRandom().randrange(1 << 32))))


def session(volume):
    """The replica's session, if one is going on, else None."""
    of_replica = volume['replicas'][0]['session']
    return of_replica['id'] if of_replica and of_replica['phase'] == 'running' else None


def restart_noticed(pair):
    """Kills and restarts the replica; returns when another session with it has led to a healthy pair."""
    before = session(pair.wait_healthy())
    pair.replica.kill()
    pair.replica.start()
    pair.primary.wait_volume(lambda v: v['healthy'] and v['replicas'][0]['in_sync'] and session(v) not in (before, None),
                             f'another session than {before}')


def restart_rounds(pair, registers):
    """In a third of the rounds the return is waited for; in the others it dies again before it is ready or in step."""
    rng = random.Random(SEED)
    waits = [('until noticed', 'until ready', 'not at all')[number % 3] for number in range(ROUNDS)]
    rng.shuffle(waits)
    for wait in waits:
        if wait == 'until noticed':
            acknowledged = registers.acknowledged
            restart_noticed(pair)
            wait_for(lambda: registers.acknowledged > acknowledged + 100, 'writes to go on', every=0.005)
            continue
        pair.replica.kill()
        pair.replica.start(wait=wait == 'until ready')
        time.sleep(rng.uniform(0, 0.1))   # the moment of its next death


with Script() as script:
    print(f'# seed {SEED}')
    # What it misses if the rounds take so long that it leaves the set is to be in the WAL still.
    pair = Pair(script, size='16MiB', wal_size='64MiB', options={'replication.wal_retain': '90%'})
    registers = Registers(blocks=1024, seed=SEED)
    pair.start()
    join = registers.load(pair.uri)
    with script.test(f'the replica is killed and restarted {ROUNDS} times while writes go on', seconds=60 + 5 * ROUNDS):
        wait_for(lambda: registers.acknowledged > 100, 'writes')
        restart_rounds(pair, registers)
        log = pair.primary.log_text()
        print(f'# {registers.acknowledged} blocks acknowledged, {log.count(": replica n2 in session ")} sessions, '
              f'the replica left the set {log.count("leaves the in-sync set")} times')
    with script.test('then the pair is healthy and clients get on'):
        pair.wait_healthy()
        acknowledged = registers.acknowledged
        wait_for(lambda: registers.acknowledged > acknowledged + 1000, 'writes to go on')
        assert 'needs a rebuild' not in pair.primary.log_text(), pair.primary.log_tail()
    with script.test('after a clean stop under load both images are equal and hold what was acknowledged'):
        pair.stop_and_compare()
        join()
        for node in pair.nodes:
            registers.check_image(node.image_path())
    pair.start()
    with script.test(f'without any client, too, a restart is noticed ({IDLE_ROUNDS} times)'):
        for _ in range(IDLE_ROUNDS):
            restart_noticed(pair)
    with script.test('the replica, promoted, serves what was acknowledged'):
        pair.swap()
        registers.check(pair.uri)
        pair.stop_and_compare()
