#!/usr/bin/python3
"""An operator's comparison of copies on real daemons: no false alarm under load, and what was changed behind a
replica's back is found, named, and repaired by a rebuild."""
import json

from harness import RINGBOLTCTL, Pair, Script, ctl, free_port, run
from rebuilding import MIB, clients_of, fill, stop_and_compare


def verify(node, *options, expect=0):
    result = ctl(node, 'verify', 'vol0', *options, check=False)
    assert result.returncode == expect, (result.returncode, result.out, result.err)
    return result


def of_api(node, method='GET', body=None):
    return node.get('/v1/volumes/vol0/verify', method, body)


def check_load(script, pair, clients):
    with script.test('verify of a healthy replica under load: equal, 20 times, with records written meanwhile'):
        for _ in range(20):
            head = pair.primary.volume()['boundary']['wal_head']
            said = verify(pair.primary).out
            assert 'n2: equal: ' in said, said
            one = of_api(pair.primary)[1]['replicas'][0]
            assert one['state'] == 'completed' and one['bytes_differing'] == 0 and one['differing'] == [], one
            assert one['bytes_compared'] + one['bytes_in_log'] == one['bytes_total'] == 64 * MIB, one
            assert head <= one['first_lsn'] <= one['last_lsn'], (head, one)
            clients.go_on(20)
    with script.test('and under fio with 4k random writes over all of it, as fast as they go'):
        # Its own volume content: no client checks what lies behind the registers.
        fio = script.spawn(['fio', '--name=w', '--ioengine=nbd', f'--uri={pair.uri}', '--rw=randwrite', '--bs=4k', '--iodepth=32', '--offset=8M',
                            '--size=56M', '--time_based', '--runtime=600', '--output=/dev/null'])
        before = pair.primary.volume()['boundary']['wal_head']
        pair.primary.wait_volume(lambda v: v['boundary']['wal_head'] > before + 1000, 'fio to write')
        for _ in range(10):
            said = verify(pair.primary, '--replica', 'n2').out
            assert 'n2: equal: ' in said, said
        assert fio.poll() is None, 'fio has ended'
        fio.terminate()
        fio.wait()
        pair.wait_healthy()


def check_answers(script, pair):
    def refused(answer, status, code, *words):
        assert answer[0] == status and answer[1]['error']['code'] == code, answer
        assert all(word in answer[1]['error']['message'] for word in words), answer
    primary, replica = pair.primary, pair.replica
    with script.test('the API: 202 with what runs, 200 with what came of it, and what cannot be'):
        status, begun = of_api(primary, 'POST', '{"replica": "n2"}')
        assert status == 202 and begun['replicas'][0]['id'] == 'n2', begun
        assert begun['replicas'][0]['state'] in ('running', 'completed'), begun
        status, answer = of_api(primary, 'POST', '{}')
        assert status == 202 or (status, answer['error']['code']) == (503, 'busy'), answer
        refused(of_api(primary, 'POST', '{"replica": "n9"}'), 404, 'not_found', 'n9')
        refused(of_api(primary, 'POST', '{"volume": "n9"}'), 400, 'invalid', 'replica')
        refused(of_api(replica, 'POST', '{}'), 409, 'refused', 'replica here')
        refused(primary.get('/v1/volumes/none/verify', 'POST', '{}'), 404, 'not_found', 'none')
        assert primary.get('/v1/volumes/none/verify')[0] == 404
        assert of_api(replica)[1] == {'name': 'vol0', 'replicas': []}
    with script.test('ringboltctl: --json is the API\'s answer; 1 refused, 3 no answer'):
        def ended():
            return of_api(primary)[1]['replicas'][0]['state'] == 'completed'
        primary.wait_volume(lambda _: ended(), 'the comparison to end')
        shown = json.loads(verify(primary, '--json').out)
        assert shown['replicas'][0]['state'] == 'completed', shown
        assert 'compares copies' in verify(replica, expect=1).err
        result = run([RINGBOLTCTL, '--admin', f'127.0.0.1:{free_port()}', 'verify', 'vol0'], check=False)
        assert result.returncode == 3 and result.err, (result.returncode, result.err)
    with script.test('a replica that is away is not compared, and that is said'):
        replica.stop()
        primary.wait_volume(lambda v: not v['replicas'][0]['connected'], 'the replica to be gone')
        result = verify(primary, expect=1)
        assert 'not in step' in result.err and 'next: ' in result.err, result.err
        replica.start()
        pair.wait_healthy()


def flip(path, offset):
    with open(path, 'r+b') as image:
        image.seek(offset)
        byte = image.read(1)
        image.seek(offset)
        image.write(bytes([byte[0] ^ 0x10]))


def check_damage(script, pair, registers):
    # Bytes of a block that was written, of one that never was, and of the very last block.
    damaged = [30 * MIB + 5 * 4096, 31 * MIB + 4096, 31 * MIB + 2 * 4096, 64 * MIB - 4096]
    with script.test('bytes that were changed in the base image of a replica that was stopped cleanly are found, and nothing else'):
        pair.replica.stop()
        for offset in damaged:
            flip(pair.replica.image_path(), offset + 77)
        pair.replica.start()
        pair.wait_healthy()
        clients = clients_of(pair, registers)
        result = verify(pair.primary, expect=1)
        ranges = of_api(pair.primary)[1]['replicas'][0]['differing']
        assert ranges == [{'offset': damaged[0], 'length': 4096}, {'offset': damaged[1], 'length': 8192},
                          {'offset': damaged[3], 'length': 4096}], ranges
        for one in ranges:
            assert f'from byte {one["offset"]}: {one["length"]} bytes' in result.out, result.out
        assert 'next: ringboltctl rebuild vol0 n2' in result.err, result.err
        assert 'blocks of replica n2 differ' in pair.primary.log_text(), pair.primary.log_tail()
    with script.test('a rebuild repairs them'):
        ctl(pair.primary, 'rebuild', 'vol0', 'n2', '--wait')
        verify(pair.primary)
        clients.go_on()
    with script.test('both images hold the same, and nothing acknowledged is lost'):
        clients.stop()
        stop_and_compare(script, pair, clients.registers)


with Script() as main:
    # A comparison ends with its session: on a machine that is very busy that is to go on.
    the_pair = Pair(main, size='64MiB', wal_size='16MiB', options={'replication.timeout': '60s'})
    the_pair.start()
    fill(the_pair)
    writers = clients_of(the_pair)
    check_load(main, the_pair, writers)
    writers.stop()
    check_answers(main, the_pair)
    the_pair.stop_and_compare()
    the_pair.start()
    check_damage(main, the_pair, writers.registers)
