#!/usr/bin/python3
# run-under: asan
"""Volumes that come and go while the daemon runs: created, given roles, replicated, written, deleted; there again after a
restart, whole or not at all after a kill -9 at any moment; and all that is refused, with its reason."""
import json
import os
import random
import threading
import time

import nbd

from harness import Script, ctl, wait_for

MIB = 1 << 20
SIZE, WAL = '16MiB', '8MiB'


def connect(uri):
    client = nbd.NBD()
    client.connect_uri(uri)
    return client


def in_background(function):
    thread = threading.Thread(target=function)
    thread.start()
    return thread


def create(node, name, *more, expect=0):
    result = ctl(node, 'volume', 'create', name, '--size', SIZE, '--wal-size', WAL, *more, check=False)
    assert result.returncode == expect, (name, more, result.returncode, result.out, result.err)
    return result.err


def delete(node, name, expect=0):
    result = ctl(node, 'volume', 'delete', name, '--yes', check=False)
    assert result.returncode == expect, (name, result.returncode, result.out, result.err)
    return result.out if expect == 0 else result.err


def assign(node, name, role, epoch, *more):
    ctl(node, 'assign', name, '--role', role, '--epoch', str(epoch), *more)


def names(node):
    return [volume['name'] for volume in node.get('/v1/volumes')[1]]


def directory(node, name):
    return os.path.join(node.data_directory, 'volumes', name)


def check_life(script, n1, n2):
    with script.test('a volume is created on both nodes, without a role, and listed'):
        for node in (n2, n1):
            create(node, 'vol1')
            volume = node.volume('vol1')
            assert volume['role'] == 'none' and volume['size'] == 16 * MIB and volume['mode'] == 'allocated_only', volume
            assert names(node) == ['vol0', 'vol1'], names(node)
        assert n1.get('/v1/node')[1]['volumes'] == 2
    with script.test('it gets roles, is replicated, and clients write to it'):
        assign(n2, 'vol1', 'replica', 1)
        assign(n1, 'vol1', 'primary', 1, '--replica', f'{n2.name}={n2.replication_address}')
        n1.wait_mode(name='vol1')
        client = connect(n1.uri('vol1'))
        client.pwrite(b'a' * 4096, 8192)
        client.flush()
        client.shutdown()
    with script.test('with a role it is not deleted, and the reason is said'):
        for node, role in ((n1, 'primary'), (n2, 'replica')):
            assert f'role {role}' in delete(node, 'vol1', expect=1)
            status, reply = node.get('/v1/volumes/vol1', 'DELETE')
            assert status == 409 and reply['error']['code'] == 'refused', (status, reply)
    with script.test('after a restart, and after a kill -9, it is there with its role and its data'):
        for end in (n1.stop, n1.kill):
            end()
            n1.start()
            n1.wait_mode(name='vol1')
            client = connect(n1.uri('vol1'))
            assert client.pread(4096, 8192) == b'a' * 4096
            client.shutdown()
        assert n2.volume('vol1')['role'] == 'replica'
    with script.test('a name in the configuration file, too: the daemon does not start and says where both are'):
        n1.stop()
        n1.volumes.append({'name': 'vol1', 'size': SIZE, 'wal_size': WAL})
        n1.start(wait=False)
        n1.wait_exit(1)
        said = n1.log_text()
        assert n1.config_path in said.splitlines()[-1] and os.path.join(directory(n1, 'vol1'), 'volume.json') in said.splitlines()[-1], said
        n1.volumes.pop()
        n1.start()
        n1.wait_mode(name='vol1')
    with script.test('without a role it is deleted, with its files, and may be created again, empty'):
        for node in (n1, n2):
            assign(node, 'vol1', 'none', 2)
            delete(node, 'vol1')
            assert names(node) == ['vol0'] and not os.path.exists(directory(node, 'vol1'))
            assert node.get('/v1/volumes/vol1')[0] == 404
        create(n1, 'vol1')
        assign(n1, 'vol1', 'primary', 1)
        n1.wait_mode(name='vol1')
        client = connect(n1.uri('vol1'))
        assert client.pread(4096, 8192) == bytes(4096)
        client.shutdown()
        wait_for(lambda: n1.volume('vol1')['clients'] == 0, 'the client to be gone')
        assign(n1, 'vol1', 'none', 2)
        delete(n1, 'vol1')
        n1.stop()
        n1.start()
        assert names(n1) == ['vol0']


def check_refusals(script, node):
    def refused(body, status, code, words):
        got, reply = node.get('/v1/volumes', 'POST', json.dumps(body))
        assert got == status and reply['error']['code'] == code and words in reply['error']['message'], (body, got, reply)
    with script.test('what cannot be meant is refused with what is wrong and where'):
        refused({'name': 'a/b', 'size': SIZE}, 400, 'invalid', 'name: ')
        refused({'name': 'v', 'size': '1'}, 400, 'invalid', 'size: ')
        refused({'name': 'v', 'size': SIZE, 'path': 'here'}, 400, 'invalid', 'path: ')
        refused({'name': 'v', 'size': SIZE, 'path': '/nonexistent/v'}, 400, 'invalid', '/nonexistent/v')
        refused({'name': 'v', 'size': SIZE, 'path': script.directory}, 400, 'invalid', 'is a directory')
        refused({'name': 'v', 'size': SIZE, 'path': directory(node, 'v') + '/x'}, 400, 'invalid', 'leave it out')
        refused({'name': 'v', 'size': SIZE, 'path': '/dev/null'}, 400, 'invalid', '/dev/null')
        astray = script.path('astray')
        os.symlink(script.path('nothing'), astray)
        for key in ('path', 'wal_path'):
            refused({'name': 'v', 'size': SIZE, key: astray}, 400, 'invalid', f'{astray}: is a symbolic link')
        assert node.get('/healthz')[0] == 200
        os.remove(astray)
    with script.test('what is there already is refused: names, files of volumes, data, files of an earlier volume'):
        refused({'name': 'vol0', 'size': SIZE}, 409, 'exists', node.config_path)
        refused({'name': 'v', 'size': SIZE, 'path': node.image_path()}, 409, 'exists', 'volume "vol0"')
        image = script.path('data')
        with open(image, 'wb') as file:
            file.write(b'somebody\'s'.ljust(4096))
        refused({'name': 'v', 'size': SIZE, 'path': image}, 400, 'invalid', 'holds data')
        with open(image, 'rb') as file:
            assert file.read().startswith(b'somebody\'s')
        os.makedirs(directory(node, 'w'))
        with open(os.path.join(directory(node, 'w'), 'superblock'), 'wb') as file:
            file.write(b'x')
        refused({'name': 'w', 'size': SIZE}, 409, 'exists', os.path.join(directory(node, 'w'), 'superblock'))
        assert os.listdir(directory(node, 'w')) == ['superblock'] and not os.path.exists(directory(node, 'v'))
        os.remove(os.path.join(directory(node, 'w'), 'superblock'))
        assert names(node) == ['vol0']
    with script.test('files and links that were there before stay, files that were made for it go'):
        image, link, log = script.path('image'), script.path('link'), script.path('log')
        with open(image, 'wb') as file:
            file.truncate(16 * MIB)
        os.symlink(image, link)
        create(node, 'v', '--path', image, '--wal-path', log)
        refused({'name': 'w', 'size': SIZE, 'path': link}, 409, 'exists', 'volume "v"')
        assert image in delete(node, 'v')
        assert os.path.getsize(image) == 16 * MIB and not os.path.exists(log)
    with script.test('a volume of the configuration file, and one that is not there, are not deleted'):
        assert node.config_path in delete(node, 'vol0', expect=1)
        assert 'no volume' in delete(node, 'v', expect=1)
    with script.test('memory for one more is not there: refused with how much is needed, and the daemon goes on'):
        made = 0
        while 'no memory' not in (said := create(node, f'm{made}', expect=(0 if made < 31 else 1))):
            made += 1
        assert made == 31 and '80MiB' in said, (made, said)
        node.stop()
        node.start()
        assert len(names(node)) == 32
        for number in range(made):
            delete(node, f'm{number}')
        assert names(node) == ['vol0']


def check_clients(script, node):
    with script.test('with a client it is not deleted; a client that comes late is turned away'):
        create(node, 'v')
        assign(node, 'v', 'primary', 1)
        node.wait_mode(name='v')
        client = connect(node.uri('v'))
        assert 'client' in delete(node, 'v', expect=1)
        assign(node, 'v', 'none', 2)  # sends it away
        wait_for(lambda: node.volume('v')['clients'] == 0, 'the client to be gone')
        del client
        delete(node, 'v')
        try:
            connect(node.uri('v'))
        except nbd.Error:
            pass
        else:
            raise AssertionError('a volume that is deleted takes clients')


def check_failed(script, node):
    with script.test('one that cannot be opened is shown as failed, and the others are served'):
        path = script.path('lost')
        create(node, 'v', '--path', path)
        node.stop()
        os.rename(path, path + '.away')
        node.start()
        node.wait_mode()
        volume = node.volume('v')
        assert any(alarm['code'] == 'copy_failed' and path in alarm['message'] for alarm in volume['alarms']), volume
        said = delete(node, 'v', expect=1)
        assert 'not open' in said and 'force' in said, said
        node.stop()
        os.rename(path + '.away', path)
        node.start()
        assert node.volume('v')['alarms'] == []
        delete(node, 'v')
        assert not os.path.exists(path)
    with script.test('one that cannot be opened is deleted by force, but for files at given paths: what is there may be another\'s'):
        image, log = script.path('image of v'), script.path('log of v')
        create(node, 'v', '--path', image, '--wal-path', log)
        assign(node, 'v', 'primary', 1)
        node.stop()
        os.rename(log, log + '.away')
        with open(log, 'wb') as file:
            file.write(b'another\'s')
        node.start()
        node.wait_mode()
        assert any(alarm['code'] == 'copy_failed' and log in alarm['message'] for alarm in node.volume('v')['alarms']), node.volume('v')
        result = ctl(node, 'volume', 'delete', 'v', '--yes', '--force')
        assert f'{image} stays' in result.out and f'{log} stays' in result.out, result.out
        assert names(node) == ['vol0'] and not os.path.exists(directory(node, 'v'))
        with open(log, 'rb') as file:
            assert file.read() == b'another\'s'
        assert os.path.getsize(image) > 0
        create(node, 'v')  # the name is free again
        node.stop()
        node.start()
        node.wait_mode()
        assert names(node) == ['vol0', 'v'] and node.volume('v')['alarms'] == []
    with script.test('force is no way round a role or a client'):
        assign(node, 'v', 'primary', 1)
        result = ctl(node, 'volume', 'delete', 'v', '--yes', '--force', check=False)
        assert result.returncode == 1 and 'role primary' in result.err, (result.returncode, result.err)
        assign(node, 'v', 'none', 2)
        delete(node, 'v')
    with script.test('an earlier volume that cannot be removed: one of its name in the configuration is not opened, else what is left would take it along'):
        create(node, 'v')
        node.stop()
        log = os.path.join(directory(node, 'v'), 'wal')
        record = os.path.join(directory(node, 'v'), 'deleted.json')
        os.rename(os.path.join(directory(node, 'v'), 'volume.json'), record)  # as a crash in its deletion leaves it
        os.remove(log)
        os.mkdir(log)  # nothing that can be removed like a file
        node.volumes.append({'name': 'v', 'size': SIZE, 'wal_size': WAL})
        node.start(wait=False)
        node.wait_exit(1)
        said = node.log_text().splitlines()[-1]
        assert node.config_path in said and record in said, said
        os.rmdir(log)
        node.start()
        node.wait_mode()
        assert not os.path.exists(record) and node.volume('v')['alarms'] == []
        node.stop()
        node.volumes.pop()
        for name in os.listdir(directory(node, 'v')):
            os.remove(os.path.join(directory(node, 'v'), name))
        node.start()
        node.wait_mode()


def check_kills(script, node):
    with script.test('kill -9 at any moment: what was created is there, what was deleted is not, and nothing is half there'):
        chance = random.Random(7)
        known, counter = set(), 0
        for _ in range(12):
            ended = False
            deadline = time.monotonic() + chance.uniform(0.0, 0.5)

            def kill_when_due():
                if time.monotonic() < deadline:
                    return False
                node.kill()
                return True
            unsure = None
            while not ended:
                if known and chance.random() < 0.5:
                    unsure = chance.choice(sorted(known))
                    order = ('DELETE', f'/v1/volumes/{unsure}', None)
                else:
                    counter += 1
                    unsure = f'k{counter}'
                    order = ('POST', '/v1/volumes', json.dumps({'name': unsure, 'size': SIZE, 'wal_size': WAL}))
                # The kill comes while the order is being carried out, or between two of them.
                answers = []
                killer = in_background(lambda: answers.append(node.try_get(order[1], order[0], order[2])))
                while killer.is_alive() and not ended:
                    ended = kill_when_due()
                    killer.join(0.001)
                killer.join()
                status = answers[0][0]
                if status == 201:
                    known.add(unsure)
                elif status == 200:
                    known.discard(unsure)
                else:
                    assert status is None and ended, (order, answers)
                    break
                unsure = None
                ended = ended or kill_when_due()
            node.start()
            there = set(names(node)) - {'vol0'}
            assert there - {unsure} == known - {unsure}, (unsure, known, there)
            known = there
            on_disk = set(os.listdir(os.path.join(node.data_directory, 'volumes'))) - {'vol0'}
            for name in on_disk - there:
                assert os.listdir(directory(node, name)) == [], (name, os.listdir(directory(node, name)))
            for name in there:
                assert sorted(os.listdir(directory(node, name))) == ['base', 'superblock', 'volume.json', 'wal'], name
                assert node.volume(name)['alarms'] == []
        for name in known:
            delete(node, name)
        assert names(node) == ['vol0']


with Script() as main:
    nodes = [main.node(name, [{'name': 'vol0', 'size': SIZE, 'wal_size': WAL, 'role': 'primary'}]) for name in ('n1', 'n2')]
    for each in nodes:
        each.start()
    check_life(main, *nodes)
    nodes[1].stop()
    check_refusals(main, nodes[0])
    check_clients(main, nodes[0])
    check_failed(main, nodes[0])
    check_kills(main, nodes[0])
    nodes[0].stop()
