#!/usr/bin/python3
"""openapi.json: that it is sound in itself, and that a running pair answers every call, good and bad, as it says."""
import http.client
import json
import re
import socket

import jsonschema

from described import METHODS, Description
from harness import Pair, Script, wait_for

# What a healthy pair cannot be brought to: unit tests have these.
NOT_PROVOKED = {'500', '501', '503'}


def walk(value, at=''):
    yield at, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from walk(inner, f'{at}/{key}')
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from walk(inner, f'{at}/{number}')


def operations(document):
    for path, item in document['paths'].items():
        for method, operation in item.items():
            if method in METHODS:
                yield path, method, operation, item


def check_document(script, document):
    with script.test('it is OpenAPI 3.1 with a title, a version, and paths'):
        assert re.fullmatch(r'3\.1\.\d+', document['openapi']) and document['info']['title'] and document['info']['version']
        assert set(document) == {'openapi', 'info', 'servers', 'paths', 'components'}, set(document)
        assert all(path.startswith('/') for path in document['paths'])
    with script.test('everything that it refers to is there, and nothing is there for nothing'):
        refs = {value['$ref'] for _, value in walk(document) if isinstance(value, dict) and isinstance(value.get('$ref'), str)}
        there = {f'#/components/{kind}/{name}' for kind, items in document['components'].items() for name in items}
        assert refs <= there, refs - there
        # Said for every call at once, in words.
        assert there - refs == {f'#/components/responses/{name}' for name in ('MethodNotAllowed', 'HeaderTooLarge')}, there - refs
    with script.test('every schema is one of JSON Schema 2020-12'):
        for name, schema in document['components']['schemas'].items():
            jsonschema.Draft202012Validator.check_schema(schema)
            required = [(at, value) for at, value in walk(schema, name) if isinstance(value, dict) and isinstance(value.get('required'), list)]
            for at, value in required:
                assert set(value['required']) <= set(value['properties']), at
    with script.test('every operation has an id of its own, words, and answers with words and one kind of content'):
        description = Description(document)
        ids = [operation['operationId'] for _, _, operation, _ in operations(document)]
        assert len(ids) == len(set(ids)), ids
        for path, method, operation, item in operations(document):
            where = f'{method} {path}'
            assert operation['summary'], where
            names = {description.resolve(parameter)['name'] for parameter in item.get('parameters', [])}
            assert names == set(re.findall(r'\{(\w+)\}', path)), where
            assert 'default' in operation['responses'], where
            for status, answer in operation['responses'].items():
                assert re.fullmatch(r'[2-5]\d\d|default', status), (where, status)
                answer = description.resolve(answer)
                assert answer['description'] and len(answer['content']) == 1, (where, status)
                for media in answer['content'].values():
                    jsonschema.Draft202012Validator.check_schema(media['schema'])
            if method == 'post':
                assert operation['requestBody']['content']['application/json']['schema'], where


class Caller:
    """Makes calls, and holds every answer against the description."""

    def __init__(self, pair, description):
        self.pair, self.description = pair, description

    def __call__(self, method, target, body=None, expect=200, code=None, node=None, headers=None):
        node = node or self.pair.primary
        connection = http.client.HTTPConnection(node.ip, node.admin_port, timeout=120)
        try:
            connection.request(method, target, body, headers or {})
            reply = connection.getresponse()
            # A stream does not end: its beginning will do.
            text = reply.read1(1000) if reply.headers['Content-Type'] == 'text/event-stream' else reply.read()
        finally:
            connection.close()
        assert reply.status == expect, (method, target, body, reply.status, text)
        self.description.check_answer(method, target, reply.status, reply.headers, text)
        if code:
            assert json.loads(text)['error']['code'] == code, (method, target, text)
        return text


def check_reads(script, call, replica):
    with script.test('every GET of both nodes is as described'):
        for node in (call.pair.primary, replica):
            for target in ('/', '/openapi.json', '/metrics', '/healthz', '/v1/node', '/v1/nodes', '/v1/events', '/v1/volumes', '/v1/volumes/vol0', '/v1/volumes/vol0/why',
                           '/v1/volumes/vol0/verify'):
                call('GET', target, node=node)
    with script.test('a GET that cannot be answered is as described'):
        for target in ('', '/why', '/verify'):
            call('GET', '/v1/volumes/none' + target, expect=404, code='not_found')
            call('GET', '/v1/volumes/%ff' + target, expect=404, code='not_found')
        for path, method, _, _ in operations(call.description.document):
            target = path.format(name='vol0', replica='n2')
            if method == 'get':
                # Of a path that cannot be read nobody can say which one it is.
                answer = call('GET', '/%zz', expect=400, code='bad_request')
                call.description.check_answer('GET', target, 400, {'Content-Type': 'application/json'}, answer)
            call('PATCH', target, expect=405, code='method_not_allowed')
        call('GET', '/v2', expect=404, code='not_found')
    with script.test('an event stream too many is as described'):
        held = []
        for _ in range(16):
            client = socket.create_connection((call.pair.primary.ip, call.pair.primary.admin_port), timeout=60)
            client.sendall(b'GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n')
            held.append(client)
        answers = [client.recv(12) for client in held]
        assert all(answer == b'HTTP/1.1 200' for answer in answers) or b'HTTP/1.1 503' in answers, answers
        call('GET', '/v1/events', expect=503, code='busy')
        for client in held:
            client.close()


def check_orders(script, call, replica):
    document, volume = call.description.document, '/v1/volumes/vol0'
    own = [{'id': replica.name, 'address': replica.replication_address}]
    with script.test('an assignment, taken or not, is answered as described'):
        def assign(order, expect=200, code=None, **more):
            if expect == 200:
                call.description.check(order, document['components']['schemas']['AssignmentRequest'], 'the order')
            return call('POST', more.pop('target', volume + '/assignment'), order if isinstance(order, str) else json.dumps(order), expect, code, **more)
        assign({'role': 'primary', 'epoch': 2, 'replicas': own, 'durability': 'sync_all'})
        assign({'role': 'primary', 'epoch': 2, 'replicas': own, 'durability': 'sync_all'})
        assign({'role': 'primary', 'epoch': 1}, 409, 'stale_epoch')
        assign({'role': 'primary', 'epoch': 3, 'promote': True}, 409, 'refused', node=replica)
        assign({'role': 'primary', 'epoch': 3, 'replicas': [{'id': 'n1', 'address': '127.0.0.1:1'}]}, 400, 'invalid')
        for bad in ('', '{', '[]', {'role': 'primary'}, {'role': 'king', 'epoch': 3}, {'role': 'primary', 'epoch': 0}, {'role': 'primary', 'epoch': 3, 'x': 1},
                    {'role': 'replica', 'epoch': 3, 'replicas': own}, {'role': 'primary', 'epoch': 3, 'force': True}):
            assign(bad, 400, 'invalid')
        assign({'role': 'primary', 'epoch': 3}, 404, 'not_found', target='/v1/volumes/none/assignment')
        assign({'role': 'primary', 'epoch': 3}, 403, 'forbidden', headers={'Origin': 'http://elsewhere'})
        assign(' ' * 70_000, 413, 'body_too_large')
        call.pair.wait_healthy()
    with script.test('orders to create and delete volumes are answered as described'):
        target, order = '/v1/volumes', {'name': 'new', 'size': '1MiB', 'wal_size': 8 << 20}
        call.description.check(order, document['components']['schemas']['CreateRequest'], 'the order')
        call('POST', target, json.dumps(order), 201)
        call('POST', target, json.dumps(order), 409, 'exists')
        for bad in ('', '[]', {'name': 'x'}, {'name': 'x', 'size': '1MB'}, {'name': 'x', 'size': 1}, {'name': 'x', 'size': '1MiB', 'path': 'x'}):
            call('POST', target, bad if isinstance(bad, str) else json.dumps(bad), 400, 'invalid')
        call('POST', target, json.dumps(order), 403, 'forbidden', headers={'Origin': 'null'})
        call('POST', target, ' ' * 70_000, 413, 'body_too_large')
        call('DELETE', target + '/new', None, 403, 'forbidden', headers={'Origin': 'null'})
        for bad in ('[]', '{"force": 1}', '{"forced": true}'):
            call('DELETE', target + '/new', bad, 400, 'invalid')
        call('DELETE', target + '/new', '{"force": false}')
        call('DELETE', target + '/new', None, 404, 'not_found')
        call('DELETE', volume, None, 409, 'refused')
        call('DELETE', target + '/new', ' ' * 70_000, 413, 'body_too_large')
    with script.test('orders for a larger size are answered as described'):
        target, order = volume + '/resize', {'size': '20MiB'}
        call.description.check(order, document['components']['schemas']['ResizeRequest'], 'the order')
        assert json.loads(call('POST', target, json.dumps(order)))['size'] == 20 << 20
        call('POST', target, json.dumps({'size': 24 << 20}), 409, 'refused', node=replica)
        for bad in ('', '[]', '{}', {'size': '16MiB'}, {'size': 4097}, {'size': '20MiB', 'x': 1}):
            call('POST', target, bad if isinstance(bad, str) else json.dumps(bad), 400, 'invalid')
        call('POST', '/v1/volumes/none/resize', json.dumps(order), 404, 'not_found')
        call('POST', target, json.dumps(order), 403, 'forbidden', headers={'Origin': 'null'})
        call('POST', target, ' ' * 70_000, 413, 'body_too_large')
    with script.test('orders for rebuilds are answered as described'):
        target, order = volume + '/rebuild', json.dumps({'replica': replica.name})
        for method, path, body, ok in (('POST', target, order, 202), ('DELETE', f'{target}/{replica.name}', None, 200)):
            call(method, path, body, ok)
            call(method, path, body, 409, 'refused', node=replica)
            call(method, path, body, 403, 'forbidden', headers={'Origin': 'null'})
            call(method, path.replace('vol0', 'none'), body, 404, 'not_found')
            call(method, path, ' ' * 70_000, 413, 'body_too_large')
        call('DELETE', f'{target}/n9', None, 404, 'not_found')
        call('DELETE', f'{target}/%ff', None, 404, 'not_found')
        call('POST', target, '{}', 400, 'invalid')
        call('POST', target, order, 202)
        wait_for(lambda: call.pair.primary.volume()['replicas'][0]['rebuild_order'] is None, 'the rebuild to begin')
        call.pair.wait_healthy()
    with script.test('comparisons are answered as described, from their beginning to their end'):
        target = volume + '/verify'
        call('POST', target, '{}', 202)
        wait_for(lambda: json.loads(call('GET', target))['replicas'][0]['state'] == 'completed', 'the end of the comparison')
        call('POST', target, json.dumps({'replica': replica.name}), 202)
        call('POST', target, json.dumps({'replica': 'n9'}), 404, 'not_found')
        call('POST', target, '{}', 409, 'refused', node=replica)
        call('POST', target, '[]', 400, 'invalid')
        call('POST', target, '{}', 403, 'forbidden', headers={'Origin': 'http://127.0.0.1'})
        call('POST', target, ' ' * 70_000, 413, 'body_too_large')
    with script.test('reloads are answered as described, of a file with changes and of one with a mistake'):
        node, target = call.pair.primary, '/v1/node/reload'
        assert json.loads(call('POST', target))['applied'] == []
        node.options.update({'node.memory': '96MiB', 'node.spin': '1us'})
        node.write_config()
        report = json.loads(call('POST', target, '{}'))
        assert [change['key'] for change in report['applied']] == ['node.spin'] and report['pending'][0]['key'] == 'node.memory', report
        with open(node.config_path, 'a') as file:
            file.write('nonsense = 1\n')
        call('POST', target, '{}', 409, 'invalid_config')
        node.write_config()
        call('POST', target, '[]', 400, 'invalid')
        call('POST', target, '{}', 403, 'forbidden', headers={'Origin': 'null'})
        call('POST', target, ' ' * 70_000, 413, 'body_too_large')
    with script.test('bytes that are no request are answered as described'):
        with socket.create_connection((call.pair.primary.ip, call.pair.primary.admin_port), timeout=60) as client:
            client.sendall(b'GET / HTTP/1.1\r\nX: ' + b'a' * 200_000 + b'\r\n\r\n')
            received = b''
            while part := client.recv(65536):
                received += part
        assert received.startswith(b'HTTP/1.1 431 '), received[:60]
        call.description.check_answer('GET', '/', 431, {'Content-Type': 'application/json'}, received.split(b'\r\n\r\n', 1)[1])
        answer = call('DELETE', '/%zz', expect=400, code='bad_request')
        call.description.check_answer('DELETE', volume, 400, {'Content-Type': 'application/json'}, answer)
        call.description.check_answer('DELETE', f'{volume}/rebuild/n2', 400, {'Content-Type': 'application/json'}, answer)


def main():
    with Script() as script:
        pair = Pair(script, size='16MiB')
        pair.start()
        document = pair.primary.get('/openapi.json')[1]
        check_document(script, document)
        description = Description(document)
        call = Caller(pair, description)
        check_reads(script, call, pair.replica)
        check_orders(script, call, pair.replica)
        with script.test('every answer that is described has been seen, but for those that a healthy pair does not give'):
            described = {(method.upper(), path, status) for path, method, operation, _ in operations(document)
                         for status in operation['responses'] if status not in NOT_PROVOKED | {'default'}}
            described.add(('GET', '/v1/events', '503'))
            assert described <= description.seen, sorted(described - description.seen)
        with script.test('what is described as wrong is found to be wrong'):
            good = pair.primary.volume()
            for change in ({'mode': 'splendid'}, {'size': -1}, {'epoch': '1'}, {'replicas': [{}]}, {'more': 1}):
                try:
                    description.check({**good, **change}, {'$ref': '#/components/schemas/Volume'}, 'a volume')
                except AssertionError:
                    continue
                raise AssertionError(f'{change} is taken for a volume')
            try:
                description.check_event('alarm', {'code': 'fire', 'replica': None, 'message': '', 'volume': None, 'active': True, 'time_ms': 1})
            except AssertionError:
                pass
            else:
                raise AssertionError('an alarm of no kind is taken for one')
        pair.stop()


main()
