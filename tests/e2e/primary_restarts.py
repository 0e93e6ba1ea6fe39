#!/usr/bin/python3
"""kill -9 of the primary with writes in flight, again and again, each time followed by its restart. Its disk is
slow, so records that were in flight have often reached the replica only, whose log is then longer than the
primary's. It cuts them off, one history remains, nothing acknowledged is lost, and in the end both copies are equal."""
import contextlib
import os
import random
import re
import time

from harness import Pair, Script, wait_for
from registers import Registers
from slow_disk import SlowDisk

ROUNDS = int(os.environ.get('RINGBOLT_KILL_ROUNDS', '100'))
SEED = int(os.environ.get('RINGBOLT_SEED', str(random.SystemRandom().randrange(1 << 32))))
WAL_BYTES = 8 << 20
AHEAD_ROUNDS = max(1, ROUNDS // 20)
AHEAD = f'the replica was ahead in at least {AHEAD_ROUNDS} rounds, and cut off what was no part of history'


def cuts(pair):
    """In how many rounds the replica was ahead."""
    return pair.primary.log_text().count('cuts its log after Lsn')


def run_rounds(pair, registers, ahead_rounds):
    """Returns how many rounds there were: more than ROUNDS where the primary's disk, slow against a busy machine no longer,
    was rarely the one that was behind."""
    rng = random.Random(SEED)
    number = 0
    while number < ROUNDS or (cuts(pair) < ahead_rounds and number < 2 * ROUNDS):
        acknowledged = registers.acknowledged
        join = registers.load(pair.uri)
        wait_for(lambda: registers.acknowledged > acknowledged, 'a client to get something done', every=0.005)
        time.sleep(rng.uniform(0, 0.2))   # the moment of the crash is the point, not a wait
        pair.primary.kill()
        join()
        pair.primary.start()
        pair.wait_healthy()
        try:
            registers.check(pair.uri)
        except AssertionError as error:
            raise AssertionError(f'round {number}: {error}') from None
        number += 1
    return number


with Script() as script, contextlib.ExitStack() as stack:
    print(f'# seed {SEED}')
    pair = Pair(script, size='16MiB', wal_size=f'{WAL_BYTES}B')
    slow = SlowDisk.possible()
    if slow:
        pair.primary.volumes[0]['wal_path'] = stack.enter_context(SlowDisk(script, 'slow', WAL_BYTES, '5ms')).path
    registers, rounds = Registers(blocks=512, seed=SEED), 0
    with script.test(f'the primary is killed and restarted {ROUNDS} times under load: nothing is lost', seconds=60 + 5 * ROUNDS):
        pair.start()
        rounds = run_rounds(pair, registers, AHEAD_ROUNDS if slow else 0)
    log, ahead = pair.primary.log_text(), cuts(pair)
    print(f'# {registers.acknowledged} blocks acknowledged, the replica was ahead {ahead} times in {rounds} rounds')
    if slow:
        with script.test(AHEAD):
            assert ahead >= AHEAD_ROUNDS, f'{ahead} times only'
            assert pair.replica.log_text().count('cut its log after Lsn') == ahead
    else:
        script.skip(AHEAD, 'a slow disk needs root and /dev/fuse')
    with script.test('each restart began a term of its own; none cost the replica its place or called for a rebuild'):
        terms = re.findall(r'primary of epoch 1 \(incarnation (\d+)\)', log)
        assert [int(term) for term in terms] == list(range(1, rounds + 2)), terms
        assert 'needs a rebuild' not in log and 'leaves the in-sync set' not in log, pair.primary.log_tail()
    with script.test('after a clean stop both images are equal and hold what was acknowledged'):
        pair.stop_and_compare()
        for node in pair.nodes:
            registers.check_image(node.image_path())
    with script.test('the replica, promoted, serves the same'):
        wal_path = pair.primary.volumes[0].get('wal_path')
        pair.epoch += 1
        pair.primary, pair.replica = pair.replica, pair.primary
        pair.configure()
        if wal_path:
            pair.replica.volumes[0]['wal_path'] = wal_path
        pair.start()
        registers.check(pair.uri)
        pair.stop_and_compare()
