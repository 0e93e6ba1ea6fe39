#!/usr/bin/python3
"""A volume that gets larger while clients go on: who sees which size, what is on both copies, what a restart and the
configuration say to it, replicas that were away or are new, and what is refused."""
import json
import os
import shutil

import nbd

from harness import Pair, Script, ctl, wait_for

MIB = 1 << 20
MADE, GROWN, LAST = 16 * MIB, 48 * MIB, 64 * MIB


def connect(uri):
    client = nbd.NBD()
    client.connect_uri(uri)
    return client


def block(letter):
    return letter * 4096


def resize(node, size, name='vol0', expect=0):
    result = ctl(node, 'volume', 'resize', name, size, check=False)
    assert result.returncode == expect, (name, size, result.returncode, result.out, result.err)
    return result.out if expect == 0 else result.err


def check_size(pair, size):
    for node in pair.nodes:
        assert node.volume()['size'] == size, (node.name, node.volume())


def configure_size(pair, size):
    pair.size = size
    for node in pair.nodes:
        node.volumes[0]['size'] = size


def check_clients(script, pair):
    old = connect(pair.uri)
    old.pwrite(block(b'a'), MADE - 4096)
    with script.test('the answer comes when all copies have the size'):
        said = resize(pair.primary, '48MiB')
        assert f'{GROWN} bytes' in said, said
        check_size(pair, GROWN)
        resize(pair.primary, '48MiB')  # what it has already
    new = connect(pair.uri)
    with script.test('a client that was connected keeps the size it was told, and goes on; one that comes then sees the new one'):
        assert old.get_size() == MADE and new.get_size() == GROWN, (old.get_size(), new.get_size())
        old.pwrite(block(b'b'), 0)
        old.set_strict_mode(old.get_strict_mode() & ~nbd.STRICT_BOUNDS)
        try:
            old.pread(4096, MADE)
        except nbd.Error as error:
            assert error.errnum, error
        else:
            raise AssertionError('read beyond the size that the server had told')
        assert old.pread(4096, 0) == block(b'b') == new.pread(4096, 0)
        assert new.pread(4096, MADE - 4096) == block(b'a')
    with script.test('what is new reads as zeros, and is written like the rest'):
        for offset in (MADE, GROWN - MIB):
            assert new.pread(MIB, offset) == bytes(MIB)
        new.pwrite(block(b'c'), GROWN - 4096)
        new.pwrite(b'd' * 8192, MADE - 4096)
        new.flush()
        assert old.pread(4096, MADE - 4096) == block(b'd')
    for client in (old, new):
        client.shutdown()


def check_content(pair):
    client = connect(pair.uri)
    assert client.get_size() == pair.primary.volume()['size']
    assert client.pread(4096, 0) == block(b'b') and client.pread(8192, MADE - 4096) == b'd' * 8192
    assert client.pread(4096, GROWN - 4096) == block(b'c')
    client.shutdown()


def check_restarts(script, pair):
    with script.test('it is there after a kill -9 and after a stop, whatever of its sizes the configuration says'):
        for size in ('16MiB', '32MiB', '48MiB'):
            for node in pair.nodes:
                node.kill()
            configure_size(pair, size)
            pair.start()
            check_size(pair, GROWN)
            check_content(pair)
        pair.stop_and_compare()
    with script.test('a smaller size than it was made with, and a larger one than it has, are mistakes of the configuration'):
        for size, words in (('12MiB', f'the size on disk is {GROWN}, the configuration says {12 * MIB}'),
                            ('64MiB', f'ringboltctl volume resize does; until then configure {GROWN}')):
            configure_size(pair, size)
            pair.replica.start(wait=False)
            pair.replica.wait_exit(1)
            said = pair.replica.log_text().splitlines()[-1]
            assert words in said and 'superblock' in said, said
        configure_size(pair, '16MiB')
        pair.start()


def check_refusals(script, pair):
    with script.test('what cannot be is refused with what is wrong, and nothing has changed'):
        assert f'volume vol0 has {GROWN} bytes and cannot be made smaller' in resize(pair.primary, '47MiB', expect=1)
        assert 'whole blocks' in resize(pair.primary, str(GROWN + 512), expect=1)
        assert 'out of range' in resize(pair.primary, '17TiB', expect=1)
        assert 'size' in resize(pair.primary, 'more', expect=2)
        assert 'no volume "vol9"' in resize(pair.primary, '64MiB', name='vol9', expect=1)
        said = resize(pair.replica, '64MiB', expect=1)
        assert 'vol0 is replica here; its primary makes it larger' in said and 'next: ringboltctl volume show vol0' in said, said
        for node, body, status, code in ((pair.primary, {'size': '1MiB'}, 400, 'invalid'), (pair.primary, {'size': -1}, 400, 'invalid'),
                                         (pair.primary, {}, 400, 'invalid'), (pair.replica, {'size': '64MiB'}, 409, 'refused')):
            got, reply = node.get('/v1/volumes/vol0/resize', 'POST', json.dumps(body))
            assert got == status and reply['error']['code'] == code, (body, got, reply)
        check_size(pair, GROWN)
        check_content(pair)


def check_away(script, pair):
    with script.test('a replica that is away and counts is waited for; one that does not follows when it is back'):
        pair.replica.kill()
        pair.primary.wait_volume(lambda volume: not volume['replicas'][0]['connected'], 'the replica to be gone')
        assert 'counts for durability and is not connected' in resize(pair.primary, '64MiB', expect=1)
        client = connect(pair.uri)
        client.pwrite(block(b'e'), 4096)  # waits until it does not count any more
        resize(pair.primary, '64MiB')
        client.shutdown()
        client = connect(pair.uri)
        client.pwrite(block(b'f'), LAST - 4096)
        client.shutdown()
        pair.replica.start()
        pair.wait_healthy()
        check_size(pair, LAST)
    with script.test('a new replica that is configured with the old size gets the new one'):
        pair.replica.stop()
        shutil.rmtree(pair.replica.data_directory)
        os.remove(pair.replica.image_path())
        pair.replica.start()
        pair.wait_healthy()
        check_size(pair, LAST)
        check_content(pair)
        pair.stop_and_compare()


def check_created(script, node):
    with script.test('a volume that was created at run time gets larger, too, and has that size after a restart'):
        ctl(node, 'volume', 'create', 'vol1', '--size', '16MiB', '--wal-size', '8MiB')
        assert 'volume vol1 is none here; its primary makes it larger' in resize(node, '32MiB', name='vol1', expect=1)
        ctl(node, 'assign', 'vol1', '--role', 'primary', '--epoch', '1')
        node.wait_mode(name='vol1')
        resize(node, '32MiB', name='vol1')
        node.kill()
        node.start()
        node.wait_mode(name='vol1')
        assert node.volume('vol1')['size'] == 32 * MIB
        client = connect(node.uri('vol1'))
        assert client.get_size() == 32 * MIB and client.pread(MIB, 31 * MIB) == bytes(MIB)
        client.shutdown()
        wait_for(lambda: node.volume('vol1')['clients'] == 0, 'the client to be gone')
        ctl(node, 'assign', 'vol1', '--role', 'none', '--epoch', '2')
        ctl(node, 'volume', 'delete', 'vol1', '--yes')


with Script() as main:
    both = Pair(main, size='16MiB', wal_size='8MiB', options={'replication.timeout': '1s'})
    both.start()
    check_clients(main, both)
    check_restarts(main, both)
    check_refusals(main, both)
    check_away(main, both)
    both.start()
    check_created(main, both.primary)
    both.stop()
