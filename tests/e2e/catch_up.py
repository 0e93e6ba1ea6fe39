#!/usr/bin/python3
"""A replica that was away comes back: while writes go on it gets exactly what it missed, from the WAL, and is in sync
again; one that missed more than the WAL holds is rebuilt, is not counted until then, and nobody waits for it. What
ringboltctl tells at each step is checked.

  catch_up.py               it stays away until some MiB have been written
  catch_up.py --away 30     it stays away for 30 s, with a WAL that holds all of that
"""
import argparse
import json
import re
import time

import nbd

from gate import Gate
from harness import Pair, Script, ctl, wait_for
from moving import SEED, Clients
from rebuilding import set_rate

MIB = 1 << 20
AWAY_BLOCKS = 2048   # that many are written meanwhile


class Told:
    """What a person, or a program, is told about the volume by ringboltctl."""

    def __init__(self, node):
        self.volume = json.loads(ctl(node, 'volume', 'show', 'vol0', '--json').out)
        self.replica = self.volume['replicas'][0]
        self.session = self.replica['session']
        self.show, self.why, self.status = (' '.join(ctl(node, *words).out.split()) for words in (
            ('volume', 'show', 'vol0'), ('why', 'vol0'), ('status',)))

    def expect(self, mode, reason, connected, in_sync, session):
        """`session`: kind and phase. The words say the same as the JSON does."""
        seen = self.volume
        assert (seen['mode'], seen['healthy']) == (mode, mode == 'publish_healthy'), seen
        assert seen['reason'].startswith(reason) and bool(seen['reason']) == bool(reason), seen
        assert (self.replica['connected'], self.replica['in_sync']) == (connected, in_sync), seen
        assert (self.session['kind'], self.session['phase']) == session, seen
        assert f'mode {mode}' in self.show and mode in self.status, (self.show, self.status)
        assert ' '.join(session) in self.show and ' '.join(session) in self.status, (self.show, self.status)
        assert f'so the mode is {mode}' in self.why, self.why
        assert ('replica n2: in the in-sync set' if in_sync else 'replica n2: not in the in-sync set') in self.why, self.why


def start_gated(pair):
    """Starts the pair with a gate between the two."""
    gate = Gate(pair.replica.replication_port)
    pair.primary.volumes[0]['replicas'] = [(pair.replica.name, gate.address)]
    pair.start()
    return gate


def wait_out(pair):
    return pair.primary.wait_volume(lambda v: not v['replicas'][0]['in_sync'], 'the replica to leave the in-sync set')


def drops(pair):
    return pair.primary.log_text().count('leaves the in-sync set')


def check_in_sync(pair):
    told = Told(pair.primary)
    told.expect('publish_healthy', '', True, True, ('keepup', 'running'))
    assert 0 <= told.replica['lag_bytes'] < 8 * MIB and told.replica['written_lsn'] > 0, told.replica
    assert 'in sync, written' in told.show, told.show
    return told


def check_away(pair):
    told = Told(pair.primary)
    told.expect('degraded', 'awaiting_shipper_connected: replica n2', False, False, ('keepup', 'failed'))
    assert told.session['reason'] and told.replica['lag_bytes'] is None, told.replica
    assert 'cut off' in told.show and 'see that n2 runs there and can be reached' in told.show, told.show
    assert 'replica n2: not connected' in told.why and 'no acknowledgement that Lsn' in told.why, told.why


def check_catching_up(pair):
    """While the gate is shut; returns the session."""
    def catching_up(volume):
        session = volume['replicas'][0]['session']
        # Some of it has arrived.
        return session and session['kind'] == 'catchup' and session['phase'] == 'running' and \
            volume['replicas'][0]['written_lsn'] > session['base_lsn']
    pair.primary.wait_volume(catching_up, 'a catch-up that has begun')
    told = Told(pair.primary)
    told.expect('degraded', 'recovery_in_progress: replica n2', True, False, ('catchup', 'running'))
    session = told.session
    # It begins where the replica's own log ended when it came back.
    recovered = re.findall(r'log from Lsn \d+ to (\d+)', pair.replica.log_text())
    assert session['base_lsn'] == int(recovered[-1]), (session, recovered[-1])
    assert session['base_lsn'] < told.replica['written_lsn'] < session['target_lsn'], told.replica
    assert told.volume['boundary']['target_lsn'] == session['target_lsn'] and session['achieved_lsn'] is None, told.volume
    assert told.replica['lag_bytes'] > AWAY_BLOCKS * 4096 // 2, told.replica
    assert re.search(r'catchup running \d+%', told.show) and 'connected' in told.show, told.show
    assert f'catchup, running, from Lsn {session["base_lsn"]}, target {session["target_lsn"]}, not proven yet' in told.why, told.why
    return session


def check_catch_up(script, pair, away):
    gate = start_gated(pair)
    clients = Clients([pair.primary])
    clients.start()
    with script.test('in sync: keepup, healthy, hardly any lag'):
        clients.go_on()
        check_in_sync(pair)
    with script.test('the replica is killed: it leaves the set once, the volume is degraded and says why'):
        pair.replica.kill()
        wait_out(pair)
        check_away(pair)
    with script.test('writes go on without it', seconds=240 + away):
        if away:
            time.sleep(away)
        clients.go_on(AWAY_BLOCKS)
        assert drops(pair) == 1, pair.primary.log_tail()
        check_away(pair)
    session = None
    with script.test('it comes back: it catches up from where its log ended and does not count yet, writes go on'):
        gate.shut_after(MIB)
        pair.replica.start()
        session = check_catching_up(pair)
        clients.go_on()
        assert Told(pair.primary).replica['in_sync'] is False
    gate.open()
    with script.test('the same session becomes keepup, proven beyond its target, and the replica is in sync'):
        pair.wait_healthy()
        told = check_in_sync(pair)
        assert told.session['id'] == session['id'], (told.session, session)
        assert told.session['achieved_lsn'] >= session['target_lsn'], (told.session, session)
        assert f'proven at Lsn {told.session["achieved_lsn"]}' in told.why, told.why
        clients.go_on()
        assert drops(pair) == 1, pair.primary.log_tail()
    with script.test('nothing acknowledged is missing, and after a clean stop the images are equal'):
        clients.stop_and_check(pair.primary)
        pair.stop_and_compare()
        for node in pair.nodes:
            clients.registers.check_image(node.image_path())


def write_until_lost(pair, beyond):
    """Writes until the WAL has given up all up to Lsn `beyond`."""
    handle = nbd.NBD()
    handle.connect_uri(pair.uri)
    data = bytes(range(256)) * (MIB // 256)

    def lost():
        for number in range(32, 64):   # where no other client writes
            handle.pwrite(data, number * MIB)
        return pair.primary.volume()['boundary']['wal_tail'] > beyond
    wait_for(lost, 'the WAL to be used again', every=0)
    handle.shutdown()


def check_rebuilding(pair):
    """While the rate of rebuilds is low."""
    def rebuilding(volume):
        session = volume['replicas'][0]['session']
        return session and session['kind'] == 'rebuild' and session['phase'] == 'running' and session['base_bytes_done'] > 0
    pair.primary.wait_volume(rebuilding, 'a rebuild that has begun')
    told = Told(pair.primary)
    told.expect('degraded', 'recovery_in_progress: replica n2', True, False, ('rebuild', 'running'))
    assert re.search(r'rebuild running \d+%', told.show) and 'connected' in told.show, told.show
    assert f'rebuild, running, from Lsn {told.session["base_lsn"]}' in told.why, told.why


def check_too_far_behind(script, pair):
    pair.start()
    clients = Clients([pair.primary])
    clients.start()
    with script.test('a replica is away until what it misses has left the WAL: no client waits for it'):
        clients.go_on()
        before = drops(pair)
        pair.replica.kill()
        head = wait_out(pair)['boundary']['wal_head']
        write_until_lost(pair, head)
        clients.go_on()
        assert drops(pair) == before + 1, pair.primary.log_tail()
        check_away(pair)
    with script.test('it comes back, is rebuilt by itself and does not count meanwhile'):
        set_rate(pair.primary, '8MiB')
        pair.replica.start()
        pair.primary.wait_log('replica n2 needs a rebuild: records that it misses are no longer in the WAL')
        check_rebuilding(pair)
        clients.go_on(500)
        check_rebuilding(pair)
    with script.test('so it is after its restart'):
        pair.replica.kill()
        pair.primary.wait_mode('degraded')
        pair.replica.start()
        check_rebuilding(pair)
        clients.go_on()
    with script.test('so it is after a restart of the primary, which serves without it'):
        pair.replica.kill()
        pair.primary.kill()
        pair.primary.start()
        clients.go_on()
        pair.replica.start()
        check_rebuilding(pair)
        clients.go_on()
        assert drops(pair) == before + 1, pair.primary.log_tail()
    with script.test('in the end it is in sync'):
        set_rate(pair.primary, '0')
        pair.wait_healthy()
        check_in_sync(pair)
        clients.go_on()
    with script.test('nothing acknowledged is missing, and the images are equal again'):
        clients.stop_and_check(pair.primary)
        pair.stop_and_compare()
        for node in pair.nodes:
            clients.registers.check_image(node.image_path())


parser = argparse.ArgumentParser()
parser.add_argument('--away', type=float, default=0, metavar='SECONDS')
seconds_away = parser.parse_args().away
with Script() as main:
    print(f'# seed {SEED}')
    # The clients write 20 MiB/s at most.
    wal = f'{64 + 32 * int(seconds_away)}MiB'
    the_pair = Pair(main, size='64MiB', wal_size=wal, options={'replication.wal_retain': '90%'})
    check_catch_up(main, the_pair, seconds_away)
    check_too_far_behind(main, the_pair)
