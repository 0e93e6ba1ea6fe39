#!/usr/bin/python3
"""Daemons that register with a real etcd of three members: members that fail, a leader that is killed, compaction, an etcd that is
wholly gone; daemons that are killed, stopped for longer than their lease, or have an id that is taken; TLS and passwords."""
import json
import os
import urllib.request

import etcd
from harness import BUILD, Script, ctl, run, wait_for

CLUSTER = 'test'
PREFIX = f'/ringbolt/{CLUSTER}/nodes/'
VOLUME = {'name': 'vol0', 'size': '16MiB', 'role': 'primary'}


def make_node(script, name, store, **options):
    options = {'node.host': f'host-{name}', 'coordinator.endpoints': store.urls, 'coordinator.cluster': CLUSTER, 'coordinator.lease': '3s', **options}
    return script.node(name, [VOLUME], options)


def view(node):
    """What GET /v1/nodes says: how the node stands, and the ids of the nodes that it sees."""
    status, body = node.try_get('/v1/nodes')
    if status != 200:
        return {}, []
    return body['coordinator'], [one['id'] for one in body['nodes']]


def wait_registered(node):
    def registered():
        coordinator, _ = view(node)
        return coordinator and coordinator['registration'] == 'registered' and coordinator['lease']['valid'] and coordinator
    return wait_for(registered, f'{node.name} to be registered')


def wait_seen(nodes, ids):
    for node in nodes:
        wait_for(lambda node=node: view(node)[1] == ids and view(node)[0]['nodes_current'], f'{node.name} to see {ids}')


def is_serving(node):
    return run(['nbdinfo', '--size', node.uri()]).out.strip() == str(16 << 20)


def wait_answering(node, endpoints=None):
    def answering():
        coordinator, _ = view(node)
        return coordinator['answering'] and (endpoints is None or coordinator['endpoint'] in endpoints)
    wait_for(answering, f'{node.name}: the coordinator to answer')


def metrics(node):
    with urllib.request.urlopen(f'http://{node.admin_address}/metrics', timeout=60) as reply:
        return reply.read().decode()


def check_registration(script, store, nodes):
    ids = [node.name for node in nodes]
    with script.test('three daemons register and see each other, with what they say of themselves'):
        for node in nodes:
            node.start()
        for node in nodes:
            wait_registered(node)
        wait_seen(nodes, ids)
        _, body = nodes[0].get('/v1/nodes')
        mine = body['nodes'][0]
        assert mine['this_node'] and not body['nodes'][1]['this_node'], body
        assert (mine['host'], mine['zone']) == ('host-n1', 'z1') and mine['replication'] == nodes[0].replication_address, mine
        assert mine['nbd'] == [f'127.0.0.1:{nodes[0].nbd_port}'] and mine['admin'] == nodes[0].admin_address, mine
        assert mine['capacity_bytes'] >= mine['free_bytes'] > 0, mine
    with script.test('ringboltctl node list and the metrics say the same'):
        out = ctl(nodes[0], 'node', 'list').out
        assert all(name in out for name in ids) and 'n1 is registered, its lease is valid' in out, out
        assert json.loads(ctl(nodes[0], '--json', 'node', 'list').out)['coordinator']['cluster'] == CLUSTER
        text = metrics(nodes[0])
        assert 'ringbolt_coordinator_up 1\n' in text and 'ringbolt_coordinator_lease_valid 1\n' in text and 'ringbolt_coordinator_nodes 3\n' in text, text[-2000:]
    with script.test('nothing is written while nothing changes'):
        before, leases = store.revision(), [view(node)[0]['lease']['id'] for node in nodes]
        for node in nodes:  # several renewals later
            left = [0.0]

            def renewed(node=node, left=left):
                now = view(node)[0]['lease']['seconds_left'] or 0.0
                grown, left[0] = now > left[0], now
                return grown
            for _ in range(4):
                wait_for(renewed, 'the lease to be renewed')
        assert store.revision() == before and [view(node)[0]['lease']['id'] for node in nodes] == leases
    with script.test('a zone that changes at a reload is told'):
        nodes[0].options['node.zone'] = 'z9'
        nodes[0].write_config()
        ctl(nodes[0], 'reload')
        wait_for(lambda: [one['zone'] for one in nodes[2].get('/v1/nodes')[1]['nodes']] == ['z9', 'z2', 'z3'], 'the zone to be seen')


def check_members(script, store, nodes):
    ids = [node.name for node in nodes]
    with script.test('the member in use is killed: another one is used, and the registration stays'):
        leases = [view(node)[0]['lease']['id'] for node in nodes]
        member = next(m for m in store.members if m.url == view(nodes[0])[0]['endpoint'])
        member.kill()
        others = [m.url for m in store.members if m is not member]
        for node in nodes:
            wait_answering(node, others)
            wait_registered(node)
        assert [view(node)[0]['lease']['id'] for node in nodes] == leases
        member.start()
        store.wait_healthy()
    with script.test('the leader is killed, and later one is stopped: the others lead, and all are registered'):
        for end, again in (('kill', 'start'), ('pause', 'resume')):
            leader = wait_for(store.leader, 'a leader')
            getattr(leader, end)()
            others = [m.url for m in store.members if m is not leader]
            for node in nodes:
                wait_answering(node, others)
                wait_registered(node)
            getattr(leader, again)()
            store.wait_healthy()
        wait_seen(nodes, ids)
    with script.test('compaction while the nodes are watched: what comes after it is seen'):
        for i in range(5):
            store.ctl('put', f'{PREFIX}x', str(i))
            store.ctl('compact', str(store.revision()))
        store.ctl('put', f'{PREFIX}n4', json.dumps({'id': 'n4', 'incarnation': 'i', 'registration': 'r'}))
        wait_seen(nodes, ids + ['n4'])
        store.ctl('del', f'{PREFIX}n4')
        store.ctl('del', f'{PREFIX}x')
        wait_seen(nodes, ids)


def check_gone(script, store, nodes):
    with script.test('etcd is wholly gone: the daemons serve and say so; it is back: they are registered again'):
        store.kill()
        for node in nodes:
            wait_for(lambda node=node: not view(node)[0]['answering'] and not view(node)[0]['lease']['valid'], 'the lease to be over')
            assert is_serving(node) and node.get('/healthz')[0] == 200
            assert 'does not answer' in ctl(node, 'node', 'list').out
            assert 'ringbolt_coordinator_up 0\n' in metrics(node)
        for member in store.members:
            member.start()
        store.wait_healthy()
        for node in nodes:
            wait_registered(node)
        wait_seen(nodes, [node.name for node in nodes])
    with script.test('the log says what changed, and not how often it was tried'):
        for node in nodes:
            assert len([line for line in node.log_text().splitlines() if 'coordinator' in line]) < 40, node.log_text()


def check_daemons(script, store, nodes):
    ids = [node.name for node in nodes]
    with script.test('a daemon is killed: its registration ends with its lease'):
        nodes[1].kill()
        wait_seen([nodes[0]], ['n1', 'n3'])
        nodes[1].start()
        wait_registered(nodes[1])
        wait_seen(nodes, ids)
    with script.test('a daemon is killed and started at once: it takes its own registration over, whose lease still lives'):
        long = make_node(script, 'n5', store, **{'coordinator.lease': '600s'})
        long.start()
        old = wait_registered(long)['lease']['id']
        wait_seen([long], ids + ['n5'])
        first = next(one for one in long.get('/v1/nodes')[1]['nodes'] if one['id'] == 'n5')
        long.kill()
        long.start()
        assert wait_registered(long)['lease']['id'] != old
        wait_for(lambda: any(one['id'] == 'n5' and one['incarnation'] != first['incarnation'] for one in nodes[0].get('/v1/nodes')[1]['nodes']), 'the new start')
        long.stop()
        wait_seen(nodes, ids)
    with script.test('a daemon that is stopped for longer than its lease sees at once that it is gone, and registers again'):
        node = nodes[2]
        lease = view(node)[0]['lease']['id']
        node.pause()
        wait_seen(nodes[:2], ['n1', 'n2'])
        node.resume()
        coordinator = wait_registered(node)
        assert coordinator['lease']['id'] != lease
        assert 'was not renewed in time' in node.log_text(), node.log_tail()
        wait_seen(nodes, ids)
    with script.test('a second daemon with an id that is in use is refused, says why, and serves'):
        other = make_node(script, 'n9', store, **{'node.id': 'n1', 'node.host': 'elsewhere'})
        other.start()
        wait_for(lambda: view(other)[0]['registration'] == 'refused', 'the refusal')
        reason = view(other)[0]['reason']
        assert 'n1' in reason and 'host-n1' in reason and nodes[0].admin_address in reason, reason
        assert is_serving(other) and 'n1 is refused' in ctl(other, 'node', 'list').out
        assert view(nodes[0])[0]['registration'] == 'registered'
    with script.test('it has the id once the first one is gone'):
        nodes[0].stop()
        wait_registered(other)
        other.stop()
        nodes[0].start()
        wait_registered(nodes[0])
    with script.test('a clean stop ends the registration at once'):
        nodes[1].stop()
        assert f'{PREFIX}n2' not in store.ctl('get', '--prefix', PREFIX, '--keys-only').out
        assert nodes[1].log_text().splitlines()[-1].endswith('stopped')


def check_security(script):
    store = etcd.Etcd(script, 'secure', tls=True)
    store.start()
    good, bad = script.path('password'), script.path('wrong-password')
    for path, password in ((good, 'secret'), (bad, 'guess')):
        with open(path, 'w') as file:
            file.write(password + '\n')
    for command in (['user', 'add', 'root:top'], ['user', 'grant-role', 'root', 'root'], ['role', 'add', 'ringbolt'],
                    ['role', 'grant-permission', 'ringbolt', '--prefix=true', 'readwrite', '/ringbolt/test/'], ['user', 'add', 'node:secret'],
                    ['user', 'grant-role', 'node', 'ringbolt'], ['auth', 'enable']):
        store.ctl(*command)
    store.arguments = ['--user', 'root:top']
    access = {'coordinator.ca_file': store.certificate, 'coordinator.user': 'node'}
    with script.test('TLS, a user and a password'):
        node = make_node(script, 's1', store, **access, **{'coordinator.password_file': good})
        node.start()
        wait_registered(node)
        wait_seen([node], ['s1'])
    with script.test('a token that etcd does not know any more is renewed'):
        store.members[0].kill()
        store.members[0].start()
        store.wait_healthy()
        wait_registered(node)
        wait_seen([node], ['s1'])
        node.stop()
    for name, options, words in (
            ('a wrong password', {'coordinator.password_file': bad}, 'authentication failed'),
            ('a certificate that is not trusted', {'coordinator.password_file': good, 'coordinator.ca_file': None}, 'certificate verify failed'),
            ('a certificate of another host', {'coordinator.password_file': good, 'coordinator.endpoints': [store.urls[0].replace('127.0.0.1', 'localhost')]},
             'certificate verify failed')):
        with script.test(f'{name} is said in words, and the daemon serves'):
            options = {key: value for key, value in {**access, **options}.items() if value is not None}
            node = make_node(script, 's2', store, **options)
            node.start()
            wait_for(lambda: words in view(node)[0]['reason'], words)
            assert is_serving(node) and not view(node)[0]['lease']['valid']
            node.stop()
            assert all(password not in node.log_text() for password in ('secret', 'guess')), node.log_text()
    with script.test('a password file that is missing ends the start with one line that names it'):
        node = make_node(script, 's3', store, **access, **{'coordinator.password_file': '/nonexistent'})
        node.start(wait=False)
        node.wait_exit(1)
        assert node.log_text().splitlines()[-1] == 'ringboltd: coordinator: password_file /nonexistent cannot be read', node.log_tail()


with Script() as script:
    why = etcd.missing()
    if why:
        script.skip('daemons register with etcd', why)
    else:
        store = etcd.Etcd(script, 'etcd', members=3)
        nodes = [make_node(script, f'n{i}', store, **{'node.zone': f'z{i}'}) for i in (1, 2, 3)]
        store.start()
        check_registration(script, store, nodes)
        check_members(script, store, nodes)
        check_gone(script, store, nodes)
        check_daemons(script, store, nodes)
        with script.test('the client does on etcd what the model of it does, also with a first member that does not answer'):
            run([os.path.join(BUILD, 'tests', 'ringbolt-coord-tests'), '[.etcd]'],
                environment={'RINGBOLT_ETCD': ' '.join(['http://127.0.0.1:1', store.urls[0]])})
        for node in nodes:
            if node.process is not None:
                node.stop()
        store.kill()
        check_security(script)
