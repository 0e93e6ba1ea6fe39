#!/usr/bin/python3
# run-under: asan
"""The admin API of a running pair, and ringboltctl on top of it: names, types, codes."""
import json
import socket

from harness import RINGBOLTCTL, Pair, Script, ctl, free_port, run

NUMBER = (int,)
MAYBE = (int, type(None))
SESSION = {'id': MAYBE, 'kind': str, 'phase': str, 'base_lsn': MAYBE, 'target_lsn': MAYBE,
           'achieved_lsn': MAYBE, 'base_bytes_total': NUMBER, 'base_bytes_done': NUMBER,
           'base_bytes_skipped': NUMBER, 'base_bytes_per_second': MAYBE, 'seconds_left': MAYBE,
           'losing_ground': bool, 'reason': str}
REPLICA = {'id': str, 'address': str, 'connected': bool, 'in_sync': bool, 'rebuild_order': (str, type(None)),
           'session': SESSION,
           'written_lsn': MAYBE, 'durable_lsn': MAYBE, 'lag_bytes': MAYBE}
VOLUME = {'name': str, 'uuid': str, 'size': NUMBER, 'block_size': NUMBER, 'role': str, 'epoch': NUMBER,
          'durability': str, 'mode': str, 'reason': str, 'healthy': bool,
          'boundary': {name: MAYBE for name in (
              'wal_tail', 'wal_head', 'written_lsn', 'durable_lsn', 'committed_lsn',
              'checkpoint_lsn', 'target_lsn', 'achieved_lsn')},
          'wal': {'capacity_bytes': NUMBER, 'used_bytes': NUMBER},
          'readiness': {name: bool for name in (
              'assigned', 'role_applied', 'receiver_ready', 'shipper_configured',
              'shipper_connected')},
          'clients': NUMBER, 'replicas': [REPLICA],
          'alarms': [{'code': str, 'replica': (str, type(None)), 'message': str}]}
NODE = {'id': str, 'version': str, 'kernel': str, 'shards': NUMBER, 'memory_limit_bytes': NUMBER,
        'memory_used_bytes': NUMBER, 'uptime_seconds': NUMBER, 'volumes': NUMBER,
        'connections': NUMBER}
WHY = {'name': str, 'role': str, 'epoch': NUMBER, 'mode': str, 'reason': str, 'healthy': bool, 'facts': [str]}


def check_shape(value, shape, where=''):
    if isinstance(shape, dict):
        if where.endswith('.session') and value is None:
            return
        assert isinstance(value, dict), (where, value)
        assert set(shape) <= set(value), (where, set(shape) - set(value))
        for key, inner in shape.items():
            check_shape(value[key], inner, f'{where}.{key}')
    elif isinstance(shape, list):
        assert isinstance(value, list), (where, value)
        for element in value:
            check_shape(element, shape[0], f'{where}[]')
    else:
        assert isinstance(value, shape), (where, value)
        assert shape not in (NUMBER, MAYBE) or not isinstance(value, bool), (where, value)


def raw(node, data):
    """Everything that comes back for `data` until the server closes."""
    with socket.create_connection(('127.0.0.1', node.admin_port), timeout=60) as client:
        client.sendall(data)
        received = b''
        while part := client.recv(65536):
            received += part
        return received


def check_api(script, pair):
    primary, replica = pair.primary, pair.replica
    with script.test('a volume has the fields and types of the interface'):
        for node, role in ((primary, 'primary'), (replica, 'replica')):
            volume = node.volume()
            check_shape(volume, VOLUME)
            assert volume['role'] == role and volume['name'] == 'vol0' and volume['epoch'] == 1
            assert volume['size'] == 64 << 20 and volume['block_size'] == 4096
    with script.test('the primary knows its replica, in sync and in keepup'):
        described = primary.volume()['replicas']
        assert [r['id'] for r in described] == ['n2']
        assert described[0]['address'] == replica.replication_address
        assert described[0]['connected'] and described[0]['in_sync']
        assert described[0]['session']['kind'] == 'keepup', described
    with script.test('both copies have one identity'):
        assert primary.volume()['uuid'] == replica.volume()['uuid']
    with script.test('the list of volumes is an array of the same objects'):
        status, volumes = primary.get('/v1/volumes')
        assert status == 200 and len(volumes) == 1
        check_shape(volumes, [VOLUME])
    with script.test('why has the fields and types of the interface'):
        status, why = primary.get('/v1/volumes/vol0/why')
        assert status == 200 and why['name'] == 'vol0' and why['role'] == 'primary', why
        check_shape(why, WHY)
    with script.test('the node describes itself'):
        status, node = primary.get('/v1/node')
        assert status == 200 and node['id'] == 'n1' and node['volumes'] == 1
        check_shape(node, NODE)
    with script.test('health is 200 on both'):
        assert primary.get('/healthz')[0] == replica.get('/healthz')[0] == 200


def check_errors(script, node):
    def is_error(body):
        return isinstance(body['error']['code'], str) and isinstance(body['error']['message'], str)
    with script.test('what is not there is 404 with an error object'):
        for path in ('/index.html', '/v1', '/v1/volumes/none', '/v1/volumes/vol0/none', '/v2/volumes'):
            status, body = node.get(path)
            assert status == 404 and is_error(body), (path, status, body)
    with script.test('a wrong method is 405 with an error object'):
        for path, method in (('/healthz', 'POST'), ('/v1/node', 'POST'), ('/v1/volumes/vol0/why', 'POST'),
                             ('/v1/volumes/vol0/assignment', 'GET'), ('/v1/volumes/vol0/rebuild', 'GET'),
                             ('/v1/volumes/vol0/rebuild', 'DELETE'), ('/v1/volumes/vol0/rebuild/n2', 'POST')):
            status, body = node.get(path, method)
            assert status == 405 and is_error(body), (path, status, body)
    with script.test('bytes that are no HTTP are 400 with an error object'):
        reply = raw(node, b'\x00\x01garbage\r\n\r\n')
        assert reply.startswith(b'HTTP/1.1 400 '), reply
        assert is_error(json.loads(reply.split(b'\r\n\r\n', 1)[1]))
    with script.test('an oversized request is refused and the server goes on'):
        reply = raw(node, b'GET / HTTP/1.1\r\nX: ' + b'a' * 200_000 + b'\r\n\r\n')
        assert reply.startswith(b'HTTP/1.1 431 '), reply[:100]
        assert node.get('/healthz')[0] == 200


def check_rebuild_orders(script, pair):
    def refused(answer, status, code, *words):
        assert answer[0] == status and answer[1]['error']['code'] == code, answer
        assert all(word in answer[1]['error']['message'] for word in words), answer
    target, body = '/v1/volumes/vol0/rebuild', json.dumps({'replica': 'n2'})
    primary, replica = pair.primary, pair.replica
    with script.test('a rebuild of a volume or replica that is not there is 404 and names it'):
        refused(primary.get('/v1/volumes/none/rebuild', 'POST', body), 404, 'not_found', 'none')
        refused(primary.get('/v1/volumes/none/rebuild/n2', 'DELETE'), 404, 'not_found', 'none')
        refused(primary.get(target, 'POST', json.dumps({'replica': 'n9'})), 404, 'not_found', 'n9', 'vol0')
        refused(primary.get(target + '/n9', 'DELETE'), 404, 'not_found', 'n9', 'vol0')
    with script.test('a rebuild ordered of a node that is not the primary is 409'):
        refused(replica.get(target, 'POST', body), 409, 'refused', 'replica here')
        refused(replica.get(target + '/n2', 'DELETE'), 409, 'refused', 'replica here')
    with script.test('an order for a rebuild that cannot be read is 400 and says what is wrong'):
        for bad, word in (('', 'empty'), ('{', 'JSON'), ('{}', 'replica'), ('{"replica": 2}', 'string'), ('{"replika": "n2"}', 'nearest')):
            refused(primary.get(target, 'POST', bad), 400, 'invalid', word)
    with script.test('cancelling a rebuild that does not go on is 200, shows, and changes nothing else'):
        status, volume = primary.get(target + '/n2', 'DELETE')
        check_shape(volume, VOLUME)
        assert status == 200 and volume['replicas'][0]['rebuild_order'] == 'cancelled', volume
        assert volume['healthy'], volume
        assert 'cancelled its rebuild' in ctl(primary, 'why', 'vol0').out
    with script.test('an order for a rebuild is 202 and shows at once'):
        status, volume = primary.get(target, 'POST', body)
        check_shape(volume, VOLUME)
        assert status == 202 and volume['replicas'][0]['rebuild_order'] == 'ordered', volume
        primary.wait_log('replica n2: a rebuild is ordered')
        primary.wait_volume(lambda seen: (seen['replicas'][0]['session'] or {}).get('kind') == 'rebuild'
                            or seen['replicas'][0]['rebuild_order'] is None, 'a rebuild, or its end')


def check_ctl(script, node):
    with script.test('ringboltctl --json prints exactly what the API returned'):
        shown = json.loads(ctl(node, 'volume', 'show', 'vol0', '--json').out)
        check_shape(shown, VOLUME)
        check_shape(json.loads(ctl(node, '--json', 'status').out), [VOLUME])
        assert shown['uuid'] == node.volume()['uuid']
    with script.test('ringboltctl prints tables that fit 80 columns'):
        for arguments in (['status'], ['volume', 'show', 'vol0'], ['why', 'vol0']):
            text = ctl(node, *arguments).out
            assert 'vol0' in text and max(map(len, text.splitlines())) <= 80, text
        assert 'publish_healthy' in ctl(node, 'status').out
    with script.test('ringboltctl takes the address from $RINGBOLT_ADMIN'):
        run([RINGBOLTCTL, 'status'], environment={'RINGBOLT_ADMIN': node.admin_address})
    with script.test('ringboltctl: 1 refused, 2 usage, 3 no answer, each with a reason on stderr'):
        for code, result in (
                (1, ctl(node, 'volume', 'show', 'none', check=False)),
                (2, ctl(node, 'nonsense', check=False)),
                (2, ctl(node, check=False)),
                (3, run([RINGBOLTCTL, '--admin', f'127.0.0.1:{free_port()}', 'status'], check=False))):
            assert result.returncode == code and result.err, (code, result.returncode, result.err)


with Script() as main:
    the_pair = Pair(main)
    the_pair.start()
    check_api(main, the_pair)
    check_errors(main, the_pair.primary)
    check_ctl(main, the_pair.primary)
    check_rebuild_orders(main, the_pair)
    with main.test('both stop cleanly'):
        the_pair.stop()
