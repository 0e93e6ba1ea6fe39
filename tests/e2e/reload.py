#!/usr/bin/python3
"""The configuration file is read again under load: what changes while daemons run, what waits for a restart, a file with a
mistake, a replica that has moved; and nothing that was acknowledged is lost."""
import json
import re
import signal
import socket

from harness import Pair, Script, ctl, free_port, run
from rebuilding import clients_of

GREETING = b'NBDMAGICIHAVEOPT'


def reload(node):
    """Reloads by ringboltctl; {name of the key: (from, to)} of what is applied, and {name: why} of what is not."""
    node.write_config()
    report = json.loads(ctl(node, '--json', 'reload').out)
    assert report['file'] == node.config_path, report

    def name(change):
        return ' '.join(part for part in (change['key'], change['volume'], change['replica']) if part)
    return ({name(change): (change['from'], change['to']) for change in report['applied']},
            {name(change): change['why'] for change in report['pending']})


def is_served(node):
    """Whether one more NBD client is greeted."""
    with socket.create_connection((node.ip, node.nbd_port), timeout=60) as client:
        received = b''
        while len(received) < len(GREETING) and (part := client.recv(100)):
            received += part
        return received.startswith(GREETING)


def check_keys(script, pair, clients):
    node = pair.primary
    with script.test('several keys at once: what can change is in force, what cannot is named'):
        assert ' debug ' not in node.log_text()
        node.options.update({'rebuild.rate_max': '20MiB', 'rebuild.chunk': '64KiB', 'rebuild.in_flight': 2, 'rebuild.parallel': 3, 'node.spin': '1us',
                             'replication.timeout': '3s', 'replication.wal_retain': '60%', 'log.level': 'debug', 'nbd.stall_timeout': '40s',
                             'node.shards': 1, 'node.memory': '96MiB'})
        applied, pending = reload(node)
        assert applied == {'rebuild.rate_max': ('"0"', '"20MiB"'), 'rebuild.chunk': ('"1MiB"', '"64KiB"'), 'rebuild.in_flight': ('4', '2'),
                           'rebuild.parallel': ('2', '3'), 'node.spin': ('"20us"', '"1us"'), 'replication.timeout': ('"5s"', '"3s"'),
                           'replication.wal_retain': ('"50%"', '"60%"'), 'log.level': ('"info"', '"debug"'),
                           'nbd.stall_timeout': ('"30s"', '"40s"')}, applied
        assert pending == {'node.shards': 'needs a restart', 'node.memory': 'needs a restart'}, pending
        node.wait_log('reload: needs a restart: node.shards, node.memory')
        node.wait_log('reload: rebuild.rate_max is now "20MiB" (was "0") | key=rebuild.rate_max')
    with script.test('a second reload changes nothing, and names again what waits; the table does, too, with exit code 0'):
        assert reload(node) == ({}, pending)
        table = ctl(node, 'reload').out
        assert re.search(r'^KEY +OF +BEFORE +NOW +STATE\nnode.shards +- +2 +1 +needs a restart\nnode.memory ', table), table
        del node.options['node.memory']
        node.options.update({'node.shards': 2, 'node.memory': '64MiB'})
        assert reload(node) == ({}, {})
        assert ctl(node, 'reload').out == f'{node.config_path} has nothing new\n'
    with script.test('the limit of clients is in force, for those that come'):
        clients.go_on()
        node.options['nbd.max_connections'] = 1
        reload(node)
        assert not is_served(node)
        clients.go_on()  # those that are there stay
        del node.options['nbd.max_connections']
        reload(node)
        assert is_served(node)
    with script.test('the log level is in force, and back'):
        said = node.log_text()
        pair.replica.kill()
        node.wait_volume(lambda volume: not volume['replicas'][0]['in_sync'], 'the replica to be lost')
        assert ' debug ' in node.log_text()[len(said):]
        node.options['log.level'] = 'info'
        reload(node)
        said = node.log_text()
        pair.replica.start()
        pair.wait_healthy()
        assert ' debug ' not in node.log_text()[len(said):]


def check_mistake(script, pair):
    node = pair.primary
    with script.test('a file with a mistake changes nothing, and the answer says where it is and what'):
        node.options['rebuild.rate_max'] = '30MiB'
        node.write_config()
        with open(node.config_path, 'a') as file:
            file.write('nonsense = 1\n')
        with open(node.config_path) as file:
            line = len(file.readlines())
        refused = ctl(node, 'reload', check=False)
        assert refused.returncode == 1 and not refused.out, (refused.returncode, refused.out)
        assert refused.err.startswith(f'ringboltctl: {node.config_path}:{line}: unknown key "nonsense"'), refused.err
        node.wait_log(f'reload: the configuration is not valid, nothing changes: {node.config_path}:{line}: unknown key')
        applied, _ = reload(node)
        assert applied == {'rebuild.rate_max': ('"20MiB"', '"30MiB"')}, applied  # it had not been taken


def check_address(script, pair, clients):
    primary, replica = pair.primary, pair.replica

    def move():
        replica.stop()
        replica.replication_port = free_port()
        replica.start()
        primary.volumes[0]['replicas'] = [(replica.name, replica.replication_address)]

    def wait_there():
        volume = pair.wait_healthy()
        assert volume['replicas'][0]['address'] == replica.replication_address, volume['replicas']
        assert volume['replicas'][0]['session']['kind'] != 'rebuild', volume['replicas']
        clients.go_on()
    for way in ('ringboltctl reload', 'SIGHUP'):
        with script.test(f'{way}: a replica that was started again at another address goes on there, from where it was'):
            before = primary.volumes[0]['replicas'][0][1]
            move()
            if way == 'SIGHUP':
                primary.write_config()
                primary.send(signal.SIGHUP)
            else:
                applied, pending = reload(primary)
                assert applied == {'volume.replica.address vol0 n2': (f'"{before}"', f'"{replica.replication_address}"')} and not pending, (applied, pending)
            wait_there()
    with script.test('an address in an assignment that is not in force waits with it'):
        primary.volumes[0]['epoch'] = 9
        before = primary.volumes[0]['replicas']
        primary.volumes[0]['replicas'] = [(replica.name, '127.0.0.1:1')]
        applied, pending = reload(primary)
        assert not applied and pending == {'volume.epoch vol0': 'needs a restart', 'volume.replica.address vol0 n2': 'needs a restart'}, (applied, pending)
        primary.volumes[0].update({'epoch': 1, 'replicas': before})
        assert reload(primary) == ({}, {})
    with script.test('an assignment given at run time wins: its address counts, not the file\'s, and the answer says so'):
        ctl(primary, 'assign', 'vol0', '--role', 'primary', '--epoch', '1', '--durability', 'sync_quorum')
        before = replica.replication_address
        move()
        applied, pending = reload(primary)
        assert not applied and list(pending) == ['volume.replica.address vol0 n2'], (applied, pending)
        why = 'the assignment given at run time (primary of epoch 1, change 1) is in force'
        assert pending['volume.replica.address vol0 n2'] == why, pending
        assert primary.volume()['replicas'][0]['address'] == before
        primary.wait_log(f'reload: volume.replica.address (vol0, n2) stays "{before}"')
        table = ctl(primary, 'reload').out
        assert 'not in force' in table and 'is in force' in table, table
        ctl(primary, 'assign', 'vol0', '--role', 'primary', '--epoch', '1', '--durability', 'sync_all',
            '--replica', f'{replica.name}={replica.replication_address}')
        wait_there()


with Script() as main:
    both = Pair(main)
    both.start()
    load = clients_of(both)
    check_keys(main, both, load)
    check_mistake(main, both)
    check_address(main, both, load)
    with main.test('nothing that was acknowledged is lost, and both copies are equal'):
        load.stop_and_check(both.primary)
        both.stop()
        for one in both.nodes:
            load.registers.check_image(one.image_path())
        run(['cmp', *(one.image_path() for one in both.nodes)])
