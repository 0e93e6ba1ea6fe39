#!/usr/bin/python3
"""The event stream of running daemons: what it begins with, a replica's death and return, a rebuild from its beginning to
its end, changes that come faster than looks, many readers, its end. Every event is as openapi.json describes it."""
import json

from described import Description
from event_reader import EventReader, status_of_stream
from harness import Pair, Script, ctl, wait_for
from rebuilding import MIB, clients_of, fill, order, set_rate


def check_beginning(script, pair, description):
    primary = pair.primary
    with script.test('a stream begins with the node and everything as it is'):
        reader = EventReader(primary, description.check_event)
        assert reader.reply.headers['Content-Type'] == 'text/event-stream', reader.reply.headers
        reader.wait('why', lambda data: data['name'] == 'vol0', 'the facts of vol0')
        assert [name for _, name, _ in reader.events[:3]] == ['node', 'volume', 'why'], reader.events
        node, volume, why = (data for _, _, data in reader.events[:3])
        assert node['id'] == primary.get('/v1/node')[1]['id']
        told = {key: value for key, value in volume.items() if key not in ('load', 'time_ms')}
        now = primary.volume()
        # What clients ask for shows as load.
        assert told.keys() == now.keys() - {'requests'} and told['uuid'] == now['uuid'] and told['mode'] == 'publish_healthy', volume
        assert why['facts'] == primary.get('/v1/volumes/vol0/why')[1]['facts'], why
    with script.test('what clients do shows in load, and in positions'):
        clients = clients_of(pair)
        seen = reader.wait('volume', lambda data: data['load'] and data['load']['requests_per_second'] and data['load']['latency_us'],
                           'clients to show')
        load, latency = seen['load'], seen['load']['latency_us']
        assert load['records_per_second'] > 0 and load['log_bytes_per_second'] > 4096, load
        assert 0 < latency['p50'] <= latency['p90'] <= latency['p99'] <= latency['p999'], latency
        clients.stop()
        before = reader.last_id
        reader.wait('volume', lambda data: data['load'] and data['load']['requests_per_second'] == 0 and data['clients'] == 0,
                    'clients to have ended', before)
    with script.test('a volume\'s numbers come at most every quarter of a second'):
        times = [data['time_ms'] for data in reader.named('volume')]
        assert all(later - earlier >= 200 for earlier, later in zip(times[1:], times[2:])), times
    return reader


def check_death(script, pair, reader):
    with script.test('kill -9 of a replica: its connection, the mode and an alarm are told'):
        before = reader.last_id
        pair.replica.kill()
        lost = reader.wait('session', lambda data: not data['connected'], 'the connection to be lost', before)
        assert lost['volume'] == 'vol0' and lost['replica'] == pair.replica.name and lost['before']['connected'], lost
        gone = reader.wait('projection', lambda data: data['mode'] == 'degraded', 'the mode to be degraded', before)
        assert gone['before']['mode'] == 'publish_healthy' and not gone['healthy'] and gone['missed'] == 0, gone
        clients = clients_of(pair)   # then it does not count any more
        alarm = reader.wait('alarm', lambda data: data['active'], 'an alarm', before)
        assert (alarm['code'], alarm['volume'], alarm['replica']) == ('replica_out_of_sync', 'vol0', pair.replica.name), alarm
        clients.stop()
    with script.test('its return: sessions up to keepup, the mode, and the end of the alarm'):
        before = reader.last_id
        pair.replica.start()
        reader.wait('session', lambda data: data['connected'] and data['in_sync'] and data['session']['kind'] == 'keepup', 'keepup', before)
        reader.wait('projection', lambda data: data['healthy'], 'a healthy mode', before)
        over = reader.wait('alarm', lambda data: not data['active'], 'the end of the alarm', before)
        assert over['code'] == 'replica_out_of_sync', over
        # Each is what the one before was changed into.
        changes = reader.named('projection')
        for earlier, later in zip(changes, changes[1:]):
            assert later['before'] == {key: earlier[key] for key in later['before']}, (earlier, later)


def check_rebuild(script, pair, reader):
    with script.test('a rebuild: its phases in order, a map that only fills, and back to keepup in the very session'):
        fill(pair)
        set_rate(pair.primary, '16MiB')   # of 64 MiB: several looks
        before = reader.last_id
        order(pair.primary, pair.replica)
        begun = reader.wait('rebuild', lambda data: True, 'a rebuild', before)
        number = begun['session']
        reader.wait('rebuild', lambda data: data['bytes_passed'] > 20 * MIB, 'a third of it', before)
        set_rate(pair.primary, '0')
        reader.wait('session', lambda data: data['in_sync'] and data['session']['id'] == number and data['session']['kind'] == 'keepup',
                    'the replica to count again', before)
        sessions = [data['session'] for data in reader.named('session', before) if data['session'] and data['session']['id'] == number]
        phases = list(dict.fromkeys((one['kind'], one['phase']) for one in sessions))
        known = [('rebuild', phase) for phase in ('accepted', 'running', 'base_complete', 'completed')] + [('keepup', 'running')]
        assert [phase for phase in known if phase in phases] == phases, phases
        assert ('rebuild', 'running') in phases, phases
        maps = [data for data in reader.named('rebuild', before) if data['session'] == number]
        assert len(maps) > 3, maps
        for one in maps:
            assert len(one['cells']) == 256 and one['bytes_total'] == 64 * MIB, one
            full = len(one['cells']) - one['cells'].count('.') - one['cells'].count('>')
            assert full == one['bytes_passed'] * 256 // one['bytes_total'], one
            assert one['cells'].count('>') <= 1 and '.' not in one['cells'].rstrip('.'), one
        passed = [one['bytes_passed'] for one in maps]
        assert passed == sorted(passed), passed


def check_fast_changes(script, pair, reader):
    with script.test('changes that come faster than looks are told, every one'):
        before = reader.last_id
        words = ['assign', 'vol0', '--role', 'primary', '--replica', f'{pair.replica.name}={pair.replica.replication_address}']
        for epoch in range(2, 10):
            ctl(pair.primary, *words, '--epoch', str(epoch))
        reader.wait('projection', lambda data: data['epoch'] == 9 and data['healthy'], 'the last epoch', before)
        # What the rebuild before it ended with may come later than `before`.
        changes = [one for one in reader.named('projection', before) if one['epoch'] > 1]
        assert all(one['missed'] == 0 for one in changes), changes
        assert sorted({one['epoch'] for one in changes}) == list(range(2, 10)), changes
        assert all(later['before'] == {key: earlier[key] for key in later['before']} for earlier, later in zip(changes, changes[1:])), changes


def check_readers(script, pair, description, first):
    with script.test('sixteen readers are told the same; one more is refused with the reason'):
        readers = [first] + [EventReader(pair.primary, description.check_event) for _ in range(15)]
        for reader in readers:
            reader.wait('why', lambda data: True, 'the facts')
        status, body = pair.primary.get('/v1/events')
        assert status == 503 and body['error']['code'] == 'busy' and '16' in body['error']['message'], body
        before = {reader: reader.last_id for reader in readers}
        ctl(pair.primary, 'rebuild', 'cancel', 'vol0', pair.replica.name)
        told = [reader.wait('session', lambda data: data['rebuild_order'] == 'cancelled', 'the order', before[reader]) for reader in readers]
        assert all(one == told[0] for one in told), told
    with script.test('readers that leave make room'):
        for reader in readers[1:]:
            reader.close()

        wait_for(lambda: status_of_stream(pair.primary) == 200, 'a place')


def check_end(script, pair, reader, description):
    with script.test('a replica tells of itself, too'):
        other = EventReader(pair.replica, description.check_event)
        volume = other.wait('volume', lambda data: True, 'its volume')
        assert volume['role'] == 'replica' and volume['mode'] == 'replica_ready' and volume['replicas'] == [], volume
    with script.test('a clean stop ends streams in order, and says so'):
        pair.stop()
        for one in (reader, other):
            one.wait_end()
            assert one.events[-1][1:] == ('end', {'reason': 'stopping'}), one.events[-1]
    with script.test('after a restart a stream begins anew'):
        pair.start()
        again = EventReader(pair.primary, description.check_event)
        again.wait('why', lambda data: True, 'the facts')
        assert again.events[0][:2] == (1, 'node'), again.events[0]
        again.close()
        pair.stop()


def main():
    with Script() as script:
        pair = Pair(script, size='64MiB', wal_size='16MiB', options={'replication.timeout': '2s'})
        pair.start()
        description = Description(pair.primary.get('/openapi.json')[1])
        reader = check_beginning(script, pair, description)
        check_death(script, pair, reader)
        check_rebuild(script, pair, reader)
        check_fast_changes(script, pair, reader)
        check_readers(script, pair, description, reader)
        check_end(script, pair, reader, description)
        print(f'# {reader.last_id} events: {json.dumps({name: len(reader.named(name)) for name in ("volume", "projection", "session", "alarm", "why", "rebuild")})}')


main()
