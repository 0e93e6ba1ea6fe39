#!/usr/bin/python3
"""A replica that only a full copy brings back: it is rebuilt by itself, or when an operator says so, while clients
write. It does not count meanwhile, whoever dies at whatever moment. In the end both images hold the same bytes, and
nothing that was acknowledged is lost.

  rebuild.py                12 rounds of kill -9 in the middle of a rebuild
  rebuild.py --rounds 100
"""
import argparse
import collections
import json
import os
import random
import shutil
import time

import harness
from harness import Pair, Script, ctl, wait_for
from moving import SEED
from rebuilding import MIB, REGISTERS, clients_of, damage_log, fill, is_rebuilding, order, outrun, session_of, set_rate, stop_and_compare
from registers import Registers


def slow_pair(script, names, rate='16MiB', size='64MiB', **options):
    """`rate`: of rebuilds, so that one can be looked at."""
    pair = Pair(script, size=size, wal_size='16MiB', names=names, options={'rebuild.rate_max': rate, **options})
    pair.start()
    return pair


def wait_rebuilding(pair, beyond=0):
    """Until a rebuild goes on whose base lane has passed that many bytes."""
    return pair.primary.wait_volume(
        lambda v: is_rebuilding(v) and session_of(v)['base_bytes_done'] + session_of(v)['base_bytes_skipped'] > beyond,
        f'a rebuild that has passed {beyond} bytes')


def shown(pair):
    return json.loads(ctl(pair.primary, 'volume', 'show', 'vol0', '--json').out)


def check_progress(pair, clients):
    """What is told of a rebuild from its beginning to its end: it moves, it adds up, and the replica does not count."""
    size = pair.primary.volume()['size']
    wait_rebuilding(pair)
    seen = []
    while is_rebuilding(volume := shown(pair)):
        replica, session = volume['replicas'][0], session_of(volume)
        seen.append(session)
        assert not replica['in_sync'] and not volume['healthy'] and volume['mode'] == 'degraded', volume
        assert session['base_bytes_total'] == size, session
        assert session['base_bytes_done'] + session['base_bytes_skipped'] <= size, session
        clients.go_on(50)
        if len(seen) == 10:
            text = ' '.join(ctl(pair.primary, 'volume', 'show', 'vol0').out.split())
            assert 'rebuild running' in text and 'MiB of 64.0 MiB' in text, text
    first, last = seen[0], seen[-1]
    assert len({s['id'] for s in seen}) == 1, seen
    assert first['base_bytes_done'] < size // 2 < last['base_bytes_done'] + last['base_bytes_skipped'], (first, last)
    positions = [s['base_bytes_done'] for s in seen]
    assert positions == sorted(positions) and len(set(positions)) > 5, positions
    told = [s for s in seen if s['base_bytes_per_second'] and s['seconds_left'] is not None]
    # The rate is capped at 16 MiB/s, and the machine may be slower.
    assert told and all(s['base_bytes_per_second'] < 32 * MIB for s in told), seen
    return first['id']


def check_fell_out(script):
    pair = slow_pair(script, ('a1', 'a2'))
    fill(pair)
    clients = clients_of(pair)
    with script.test('a replica that fell out of the WAL is rebuilt while clients write; its progress is told'):
        pair.replica.kill()
        pair.primary.wait_volume(lambda v: not v['replicas'][0]['in_sync'], 'the replica to leave the in-sync set')
        outrun(pair)
        pair.replica.start()
        session = check_progress(pair, clients)
    with script.test('then it is in sync, in the very session'):
        volume = pair.wait_healthy()
        assert session_of(volume)['kind'] == 'keepup' and session_of(volume)['id'] == session, volume
        assert 'is rebuilt at Lsn' in pair.primary.log_text(), pair.primary.log_tail()
        clients.go_on()
    with script.test('both images hold the same, and nothing acknowledged is lost'):
        clients.stop()
        stop_and_compare(script, pair, clients.registers)


def check_orders(script):
    pair = slow_pair(script, ('b1', 'b2'))
    fill(pair)
    clients = clients_of(pair)
    before = session_of(pair.primary.volume())['id']
    with script.test('ringboltctl rebuild --wait of a healthy replica: it is copied anew and in sync when that returns'):
        said = ctl(pair.primary, 'rebuild', 'vol0', 'b2', '--wait').out
        assert 'b2 is in sync' in said and '%' in said, said
        volume = pair.primary.volume()
        assert volume['replicas'][0]['in_sync'] and session_of(volume)['id'] > before, volume
        assert pair.primary.log_text().count('is rebuilt at Lsn') == 1, pair.primary.log_tail()
        clients.go_on()
    with script.test('rebuild cancel ends it, and none begins until one is asked for'):
        ctl(pair.primary, 'rebuild', 'vol0', 'b2')
        wait_rebuilding(pair, MIB)
        ctl(pair.primary, 'rebuild', 'cancel', 'vol0', 'b2')
        volume = pair.primary.wait_mode('needs_rebuild')
        assert not volume['replicas'][0]['in_sync'] and volume['replicas'][0]['rebuild_order'] == 'cancelled', volume
        clients.go_on(500)
        pair.replica.stop()
        pair.replica.start()
        pair.primary.wait_mode('needs_rebuild')
        clients.go_on(500)
        assert not is_rebuilding(pair.primary.volume()), pair.primary.volume()
        assert 'cancelled' in ctl(pair.primary, 'why', 'vol0').out
    with script.test('asked for again it is done'):
        set_rate(pair.primary, '0')
        ctl(pair.primary, 'rebuild', 'vol0', 'b2', '--wait')
        pair.wait_healthy()
        clients.go_on()
    with script.test('both images hold the same after these, and nothing acknowledged is lost'):
        clients.stop()
        stop_and_compare(script, pair, clients.registers)


def check_blank(script):
    pair = slow_pair(script, ('c1', 'c2'), rate='0')
    outrun(pair)
    clients = clients_of(pair)
    with script.test('a replica whose disks are new is rebuilt'):
        pair.replica.kill()
        shutil.rmtree(pair.replica.data_directory)
        os.unlink(pair.replica.image_path())
        clients.go_on()
        pair.replica.start()
        pair.wait_healthy()
        assert 'is rebuilt at Lsn' in pair.primary.log_text(), pair.primary.log_tail()
        clients.go_on()
    with script.test('a replica whose log is damaged starts, says so, and is rebuilt'):
        pair.wait_healthy()
        clients.go_on(1000)
        boundary = pair.replica.volume()['boundary']
        pair.replica.kill()
        rebuilt = pair.primary.log_text().count('is rebuilt at Lsn')
        damage_log(pair.replica, boundary['wal_tail'], boundary['durable_lsn'])
        pair.replica.start()
        pair.replica.wait_log('the log is damaged, this copy must be rebuilt')
        pair.wait_healthy()
        assert pair.primary.log_text().count('is rebuilt at Lsn') == rebuilt + 1, pair.primary.log_tail()
        clients.go_on()
    with script.test('both images hold the same after that, and nothing acknowledged is lost'):
        clients.stop()
        stop_and_compare(script, pair, clients.registers)
    with script.test('a primary whose log is damaged is not taken for a copy to be made anew'):
        pair.start()
        fill(pair, range(4, 6))
        boundary = pair.primary.volume()['boundary']
        for node in pair.nodes:
            node.kill()
        damage_log(pair.primary, boundary['wal_tail'], boundary['durable_lsn'])
        pair.primary.start()
        volume = pair.primary.volume()
        assert volume['role'] == 'primary' and volume['mode'] == 'degraded' and 'had been flushed' in volume['reason'], volume
        assert 'the volume is not served' in pair.primary.log_text(), pair.primary.log_tail()
        pair.primary.stop()


def check_kills(script, rounds):
    pair = slow_pair(script, ('d1', 'd2'), rate='24MiB', size='32MiB', **{'replication.timeout': '2s'})
    fill(pair)
    registers = Registers(REGISTERS, SEED)
    rng = random.Random(SEED)
    seconds = 32 / 24   # that a rebuild takes at least
    when = collections.Counter()
    with script.test(f'kill -9 of replica or primary in {rounds} rebuilds under load: always two equal copies, nothing lost',
                     seconds=60 + 40 * rounds):
        for number in range(rounds):
            victim = pair.replica if rng.random() < 0.5 else pair.primary
            name = 'replica' if victim is pair.replica else 'primary'
            try:
                when[f'{name}, {kill_round(pair, registers, rng, victim, seconds)}'] += 1
            except Exception as error:
                raise harness.Failure(f'round {number}, victim {name}: {error}') from error
        print(f'# {registers.acknowledged} blocks acknowledged, killed were: {dict(sorted(when.items()))}')
    pair.stop()


def phase(pair):
    """Of the rebuild, as it is killed."""
    session = session_of(pair.primary.volume())
    if session.get('kind') != 'rebuild':
        return 'before or after'
    if session['phase'] != 'running':
        return session['phase']
    return f'at {int(4 * (session["base_bytes_done"] + session["base_bytes_skipped"]) / session["base_bytes_total"])}/4'


def kill_round(pair, registers, rng, victim, seconds):
    """Returns at which moment of the rebuild the victim was killed."""
    join = registers.load(pair.uri)
    acknowledged = registers.acknowledged
    wait_for(lambda: registers.acknowledged > acknowledged, 'clients to get something done')
    order(pair.primary, pair.replica)
    time.sleep(rng.uniform(0, seconds * 1.1))   # the moment of the crash is the point, not a wait
    moment = phase(pair)
    victim.kill()
    if victim is pair.primary:
        join()
    time.sleep(rng.uniform(0, 0.3))
    victim.start()
    if victim is pair.primary:
        join = registers.load(pair.uri)
    pair.wait_healthy()
    # Under load, which ends with the primary: what was under way may be there or not, the same on both.
    pair.stop_and_compare()
    join()
    for node in pair.nodes:
        registers.check_image(node.image_path())
    pair.start()
    registers.check(pair.uri)
    return moment


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=12)
    rounds = parser.parse_args().rounds
    with Script() as script:
        print(f'# seed {SEED}')
        check_fell_out(script)
        check_orders(script)
        check_blank(script)
        check_kills(script, rounds)


main()
