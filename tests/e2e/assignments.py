#!/usr/bin/python3
"""Assignments at run time, through ringboltctl, under load and without a restart: roles move, replicas come
and go, epochs rise, orders are repeated, stale ones and unsafe ones are refused. Clients follow the volume;
no acknowledged write is ever missing."""
import json

from harness import Script
from moving import SEED, Clients, images_equal, order, post, replicas, sessions, state, wait_in_sync


def make_nodes(script, prefix, count, durability='sync_all'):
    """The first is primary with the second as its replica, by their files; a third one has no role."""
    options = {'replication.timeout': '2s', 'replication.wal_retain': '90%'}
    nodes = [script.node(f'{prefix}{i + 1}', options=options) for i in range(count)]
    volume = {'name': 'vol0', 'size': '16MiB', 'wal_size': '128MiB', 'durability': durability, 'epoch': 1}
    for node, role in zip(nodes, ['primary', 'replica', 'none']):
        node.volumes = [{**volume, 'role': role}]
    nodes[0].volumes[0]['replicas'] = [(nodes[1].name, nodes[1].replication_address)]
    for node in reversed(nodes):
        node.start()
    wait_in_sync(nodes[0], nodes[1])
    return nodes


def check_refusals(script, node):
    with script.test('an order that cannot be meant is refused by the API with what is wrong and where'):
        for body, status, words in (
                ('', 400, 'empty'), ('{', 400, 'not JSON'), ('{"role": "primary"}', 400, 'epoch'),
                ('{"role": "leader", "epoch": 2}', 400, 'leader'), ('{"role": "primary", "epcoh": 2}', 400, '"epoch"'),
                ('{"role": "primary", "epoch": 0}', 400, 'from 1'), ('{"role": "primary", "epoch": 2, "force": true}', 400, 'promote'),
                (json.dumps({'role': 'primary', 'epoch': 2, 'replicas': [{'id': node.name, 'address': '127.0.0.1:1'}]}), 400,
                 'this node'),
                (' ' * 100_000, 413, 'larger')):
            got, reply = post(node, body)
            assert got == status and words in reply['error']['message'], (body[:80], got, reply)
        assert post(node, '{"role": "primary", "epoch": 2}', 'none')[0] == 404
        assert node.get('/v1/volumes/vol0/assignment')[0] == 405
        assert state(node) == ('primary', 1)
    with script.test('ringboltctl: usage 2, unknown volume 1'):
        order(node, 'assign', 'vol0', '--role', 'leader', '--epoch', '2', expect=2)
        order(node, 'promote', 'vol0', expect=2)
        order(node, 'assign', 'none', '--role', 'replica', '--epoch', '2', expect=1)
        order(node, 'why', 'none', expect=1)
        assert state(node) == ('primary', 1)


def check_three(script):
    n1, n2, n3 = make_nodes(script, 'a', 3)
    check_refusals(script, n1)
    clients = Clients([n1, n2, n3])
    clients.start()
    with script.test('a replica is added under load, with a higher epoch'):
        clients.go_on()
        order(n3, 'assign', 'vol0', '--role', 'replica', '--epoch', '2')
        order(n1, 'assign', 'vol0', '--role', 'primary', '--epoch', '2', *replicas(n2, n3))
        volume = wait_in_sync(n1, n2, n3)
        assert volume['epoch'] == 2, volume
        assert state(n2) == ('replica', 2) and state(n3) == ('replica', 2)
        clients.go_on()
    with script.test('the same assignment again changes nothing: same sessions, same in-sync set'):
        before = sessions(n1)
        assert all(before.values()), before
        for _ in range(10):
            order(n1, 'assign', 'vol0', '--role', 'primary', '--epoch', '2', *replicas(n2, n3))
            order(n1, 'assign', 'vol0', '--role', 'primary', '--epoch', '2')
            order(n3, 'assign', 'vol0', '--role', 'replica', '--epoch', '2')
            volume = n1.volume()
            assert sessions(n1) == before and volume['healthy'], volume
        clients.go_on()
        assert sessions(n1) == before
    with script.test('a stale epoch is refused with exit code 1, and the current one is named'):
        for node, role in ((n1, 'primary'), (n1, 'replica'), (n2, 'primary'), (n3, 'none'), (n3, 'primary')):
            said = order(node, 'assign', 'vol0', '--role', role, '--epoch', '1', expect=1)
            assert '2' in said and 'next: ' in said, said
        status, reply = post(n1, '{"role": "primary", "epoch": 1}')
        assert status == 409 and reply['error']['code'] == 'stale_epoch' and '2' in reply['error']['message'], (status, reply)
        assert state(n1) == ('primary', 2) and sessions(n1) == before
        clients.go_on()
    with script.test('a new role needs a higher epoch'):
        order(n1, 'assign', 'vol0', '--role', 'replica', '--epoch', '2', expect=1)
        order(n2, 'promote', 'vol0', '--epoch', '2', '--force', expect=1)
        assert state(n1) == ('primary', 2) and state(n2) == ('replica', 2)
        clients.go_on()
    with script.test('the epoch is raised under load, replicas follow'):
        order(n1, 'assign', 'vol0', '--role', 'primary', '--epoch', '5')
        volume = wait_in_sync(n1, n2, n3)
        assert volume['epoch'] == 5, volume
        assert state(n2)[1] == 5 and state(n3)[1] == 5
        clients.go_on()
    with script.test('a replica is removed under load: writes do not wait for it, even when it is dead'):
        order(n1, 'assign', 'vol0', '--role', 'primary', '--epoch', '5', *replicas(n2))
        wait_in_sync(n1, n2)
        n3.kill()
        clients.go_on()
    with script.test('it is added again and catches up'):
        n3.start()
        order(n1, 'assign', 'vol0', '--role', 'primary', '--epoch', '5', *replicas(n2, n3))
        wait_in_sync(n1, n2, n3)
        clients.go_on()
    with script.test('the durability is changed under load'):
        order(n1, 'assign', 'vol0', '--role', 'primary', '--epoch', '5', '--durability', 'sync_quorum')
        volume = wait_in_sync(n1, n2, n3)
        assert volume['durability'] == 'sync_quorum', volume
        order(n1, 'assign', 'vol0', '--role', 'primary', '--epoch', '5', '--durability', 'sync_all')
        assert wait_in_sync(n1, n2, n3)['durability'] == 'sync_all'
        clients.go_on()
    with script.test('why tells a chain of facts, volume show what it is made of'):
        status, why = n1.get('/v1/volumes/vol0/why')
        assert status == 200 and why['role'] == 'primary' and why['epoch'] == 5 and why['facts'], why
        assert json.loads(order(n1, 'why', 'vol0', '--json')).keys() == why.keys()
        for words in (['why', 'vol0'], ['volume', 'show', 'vol0'], ['status']):
            text = order(n1, *words)
            assert 'vol0' in text and max(map(len, text.splitlines())) <= 80, text
    with script.test('after a restart the assignment given at run time wins over the file'):
        for node in (n1, n2, n3):
            node.stop()
        for node in (n3, n2, n1):
            node.start()
        volume = wait_in_sync(n1, n2, n3)
        assert volume['epoch'] == 5 and state(n3) == ('replica', 5), volume
        clients.go_on()
    with script.test('nothing acknowledged is missing, and after a clean stop the three images are equal'):
        clients.stop_and_check(n1)
        for node in (n1, n2, n3):
            node.stop()
        assert images_equal(n1, n2, n3)


def hand_over(old, new, epoch):
    """The old primary is told to be a replica, the other copy is promoted."""
    order(old, 'assign', 'vol0', '--role', 'replica', '--epoch', str(epoch))
    assert state(old) == ('replica', epoch)
    order(new, 'promote', 'vol0', '--epoch', str(epoch), *replicas(old))
    assert state(new) == ('primary', epoch)
    wait_in_sync(new, old)


def check_pair(script):
    n1, n2 = make_nodes(script, 'b', 2)
    clients = Clients([n1, n2])
    clients.start()
    with script.test('a copy is not promoted while its primary serves'):
        clients.go_on()
        before = state(n2)
        said = order(n2, 'promote', 'vol0', '--epoch', '2', *replicas(n1), expect=1)
        assert '--force' in said, said
        assert state(n2) == before and state(n1) == ('primary', 1)
        wait_in_sync(n1, n2)
        clients.go_on()
    with script.test('the role moves by a clean hand-over under load, there and back, ten times'):
        old, new = n1, n2
        for epoch in range(2, 12):
            hand_over(old, new, epoch)
            clients.go_on(100)
            old, new = new, old
        assert state(n1) == ('primary', 11) and state(n2) == ('replica', 11)
    with script.test('after a restart the run-time roles and epoch are there, whatever the files say'):
        hand_over(n1, n2, 12)
        n1.kill()
        n2.stop()
        n1.start()
        n2.start()
        wait_in_sync(n2, n1)
        assert state(n2) == ('primary', 12) and state(n1) == ('replica', 12)
        clients.go_on()
    with script.test('a copy whose primary was killed is promoted with --force only'):
        n2.kill()
        for words in (('promote',), ('assign', '--role', 'primary')):
            said = order(n1, words[0], 'vol0', *words[1:], '--epoch', '13', *replicas(n2), expect=1)
            assert '--force' in said, said
        assert state(n1) == ('replica', 12)
        status, reply = post(n1, '{"role": "primary", "epoch": 13, "promote": true}')
        assert status == 409 and reply['error']['code'] == 'refused', (status, reply)
        order(n1, 'promote', 'vol0', '--epoch', '13', '--force', *replicas(n2))
        assert state(n1) == ('primary', 13)
        clients.go_on()
    with script.test('the old primary comes back with its old epoch, gives way and catches up'):
        n2.start()
        wait_in_sync(n1, n2)
        assert state(n2) == ('replica', 13)
        clients.go_on()
    with script.test('no acknowledged write is missing on either copy'):
        clients.stop_and_check(n1)
        hand_over(n1, n2, 14)
        clients.registers.check(n2.uri())
        clients.start()
        clients.go_on()
    with script.test('a copy that was away while its primary wrote is not promoted without --force'):
        n1.kill()
        n2.wait_volume(lambda volume: not volume['replicas'][0]['in_sync'], 'the dead replica to leave the in-sync set')
        clients.go_on()
        n2.kill()
        n1.start()
        said = order(n1, 'promote', 'vol0', '--epoch', '15', *replicas(n2), expect=1)
        assert '--force' in said, said
        n2.start()
        wait_in_sync(n2, n1)
        assert state(n2) == ('primary', 14)
        clients.go_on()
    with script.test('nothing acknowledged is missing, and after a clean stop the images are equal'):
        clients.stop_and_check(n2)
        n2.stop()
        n1.stop()
        assert images_equal(n1, n2)


with Script() as main:
    print(f'# seed {SEED}')
    check_three(main)
    check_pair(main)
