#!/usr/bin/python3
"""ringboltctl doctor and bench on real daemons: what is found of ports, daemon, configuration and disks, and what is refused.
Nothing that takes time is held against a number."""
import json
import os
import socket
import subprocess

from harness import RINGBOLTCTL, Pair, Script, ctl, end_with_parent, free_port, run

DOCTOR = [RINGBOLTCTL, '--json', 'doctor']


def examine(*arguments):
    """Exit code and findings by (subject, check)."""
    result = run([*DOCTOR, *arguments], check=False)
    assert not result.err, result.err
    report = json.loads(result.out)
    findings = {(one['subject'], one['check']): one for one in report['findings']}
    assert len(findings) == len(report['findings']), report
    counts = {state: sum(one['state'] == state for one in findings.values()) for state in ('problem', 'warning', 'ok', 'unknown')}
    assert (report['problems'], report['warnings'], report['ok'], report['unknown']) == tuple(counts.values()), report
    assert result.returncode == (1 if counts['problem'] else 0), (result.returncode, report)
    for one in findings.values():
        assert one['found'] and (one['remedy'] is not None) == (one['state'] in ('warning', 'problem')), one
    return result.returncode, findings


def check_doctor(script, node):
    ports = {f'{key} {address}' for key, address in (('nbd.listen', f'127.0.0.1:{node.nbd_port}'),
                                                     ('replication.listen', node.replication_address), ('admin.listen', node.admin_address))}
    with script.test('doctor: of a running daemon the configuration, its ports and its version are right'):
        _, found = examine('--config', node.config_path)
        assert found[('configuration', 'config')]['state'] == 'ok', found
        for port in ports:
            assert found[(port, 'port')]['state'] == 'ok' and f'ringboltd, pid {node.pid}' in found[(port, 'port')]['found'], found
        daemon = found[(f'daemon {node.admin_address}', 'daemon')]
        assert daemon['state'] == 'ok' and 'node n1' in daemon['found'], daemon
        assert f'pid {node.pid}' in found[('host', 'locked_memory')]['found'], found
    with script.test('doctor: the kernel, the file system and the device of the data are told'):
        checks = {check: one for (subject, check), one in found.items()}
        # Where these tests run all of this works, or the daemon would not.
        for check in ('kernel', 'io_uring', 'direct_io', 'file_system', 'space', 'processors', 'tcp_congestion', 'time'):
            assert check in checks, (check, found)
        for check in ('kernel', 'io_uring', 'direct_io'):
            assert checks[check]['state'] == 'ok', checks[check]
        assert any(subject.startswith(('device ', 'path ')) for subject, _ in found), found
    with script.test('doctor: as text it fits 80 columns, and has no colours where nobody looks'):
        text = run([RINGBOLTCTL, 'doctor', '--config', node.config_path], check=False).out
        assert max(map(len, text.splitlines())) <= 80 and '\x1b' not in text and ' unknown' in text.splitlines()[-1], text
    with script.test('doctor: another node than the configuration has is a problem'):
        with open(node.config_path) as file, open(script.path('other.toml'), 'w') as other:
            other.write(file.read().replace('id = "n1"', 'id = "n7"', 1))
        code, found = examine('--config', script.path('other.toml'))
        daemon = found[(f'daemon {node.admin_address}', 'daemon')]
        assert code == 1 and daemon['state'] == 'problem' and 'n7' in daemon['found'], found
    with script.test('doctor: a configuration that is wrong is a problem, with its line'):
        with open(script.path('bad.toml'), 'w') as file:
            file.write('[node]\nid = "n1"\ndata_dir = "/x"\ncolour = 1\n')
        code, found = examine('--config', script.path('bad.toml'))
        config = found[('configuration', 'config')]
        assert code == 1 and config['state'] == 'problem' and 'bad.toml:4' in config['found'], config
        code, found = examine('--config', script.path('none.toml'))
        assert code == 1 and found[('configuration', 'config')]['state'] == 'problem', found
    with script.test('doctor: a path in memory is a problem, one that cannot be looked at is unknown'):
        code, found = examine('--path', '/dev/shm/ringbolt')
        assert code == 1 and found[('file system /dev/shm', 'file_system')]['state'] == 'problem', found
        code, found = examine('--path', '/dev/null')
        assert found[('path /dev/null', 'path')]['state'] == 'unknown', found


def check_without_daemon(script):
    port = free_port()
    path = script.path('taken.toml')
    with open(path, 'w') as file:
        file.write(f'[node]\nid = "n1"\ndata_dir = "{script.directory}/data"\nmemory = "16MiB"\n[nbd]\nlisten = ["127.0.0.1:{port}"]\n'
                   f'[replication]\nlisten = "127.0.0.1:{free_port()}"\n[admin]\nlisten = "127.0.0.1:{free_port()}"\n')
    with script.test('doctor: without a daemon its ports are free, and its version is unknown'):
        _, found = examine('--config', path)
        assert found[(f'nbd.listen 127.0.0.1:{port}', 'port')]['state'] == 'ok', found
        daemon = next(one for (subject, check), one in found.items() if check == 'daemon')
        assert daemon['state'] == 'unknown' and 'refused' in daemon['found'], daemon
        assert not os.path.exists(os.path.join(script.directory, 'data'))
    with script.test('doctor: a port that another program holds is a problem, and the program named'), socket.socket() as held:
        held.bind(('127.0.0.1', port))
        held.listen()
        code, found = examine('--config', path)
        one = found[(f'nbd.listen 127.0.0.1:{port}', 'port')]
        assert code == 1 and one['state'] == 'problem' and f'pid {os.getpid()}' in one['found'], one
    with script.test('doctor: what it tries leaves nothing behind'):
        os.mkdir(script.path('empty'))
        examine('--path', script.path('empty'))
        assert os.listdir(script.path('empty')) == []


def bench(node, *arguments, expect=0):
    """What it printed as JSON, or, if it failed, on stderr."""
    result = ctl(node, '--json', 'bench', *arguments, '--seconds', '0.05', '--nbd', f'127.0.0.1:{node.nbd_port}', check=False)
    assert result.returncode == expect, (result.returncode, result.out, result.err)
    return json.loads(result.out) if expect == 0 else result.err


def names(report, target):
    lines = [row for row in report['rows'] if row['target'].startswith(target)]
    assert all(row['problem'] is None and row['operations'] > 0 and 0 < row['median_us'] <= row['p99_us'] for row in lines), lines
    return [row['name'] for row in lines]


def content(script, pair):
    run(['nbdcopy', pair.uri, script.path('copy')])
    with open(script.path('copy'), 'rb') as file:
        return file.read()


DISK = ['sequential_write', 'sequential_read', 'durable_write', 'random_write', 'random_read']


def check_bench(script, pair):
    primary, replica = pair.primary, pair.replica
    pattern = os.urandom(1 << 20)
    with script.test('bench: disk, network and volume in one table, and what the volume holds stays'):
        run(['nbdcopy', '/dev/stdin', pair.uri], data=pattern)
        os.mkdir(script.path('scratch'))
        report = bench(primary, 'vol0', script.path('scratch'), '--size', '16MiB')
        assert names(report, 'disk ') == DISK and os.listdir(script.path('scratch')) == [], report
        assert names(report, f'network to n2, {replica.replication_address}') == ['round_trip', 'stream'], report
        assert names(report, 'volume vol0') == ['read', 'read_deep', 'flush'], report
        assert [(one['target'], one['what']) for one in report['not_measured']] == [('volume vol0', 'writes')], report
        assert content(script, pair)[:len(pattern)] == pattern
        pair.wait_healthy()
    with script.test('bench: as text it fits 80 columns'):
        text = ctl(primary, 'bench', script.path('scratch'), '--size', '16MiB', '--seconds', '0.05').out
        assert max(map(len, text.splitlines())) <= 80 and 'MEDIAN' in text.splitlines()[0], text
    with script.test('bench: the files of a volume that is served are never touched'):
        image = primary.image_path()
        assert 'exists' in bench(primary, image, expect=1)
        for option in ('--overwrite', '--read-only'):
            assert 'in use' in bench(primary, image, option, expect=1)
    with script.test('bench: a volume that has a client is not written to, and the client named as the reason'):
        with open(script.path('client.py'), 'w') as file:
            file.write(f'import nbd, sys\nh = nbd.NBD()\nh.connect_uri("{pair.uri}")\nsys.stdin.read()\n')
        before = content(script, pair)
        client = subprocess.Popen(['/usr/bin/python3', script.path('client.py')], stdin=subprocess.PIPE, preexec_fn=end_with_parent)
        script.children.append(client)
        primary.wait_volume(lambda volume: volume['clients'] == 1, 'the client to connect')
        assert 'in use by 1 client' in bench(primary, 'vol0', '--overwrite', expect=1)
        assert names(bench(primary, 'vol0'), 'volume ') == ['read', 'read_deep', 'flush']
        client.stdin.close()
        client.wait()
        primary.wait_volume(lambda volume: volume['clients'] == 0, 'the client to go')
        assert content(script, pair) == before
    with script.test('bench: a volume of that name on another daemon is neither written to nor measured, if its NBD address is taken for this one\'s'):
        other = script.node('n3', [{'name': 'vol0', 'size': '16MiB', 'wal_size': '8MiB', 'role': 'primary'}])
        other.start()
        other.wait_mode()
        run(['nbdcopy', '/dev/stdin', other.uri('vol0')], data=pattern)
        for option in ('--overwrite', None):
            arguments = ['bench', 'vol0', '--seconds', '0.05', '--nbd', f'127.0.0.1:{other.nbd_port}', *([option] if option else [])]
            result = ctl(primary, *arguments, check=False)
            assert result.returncode == 1 and 'another daemon' in result.err, (result.returncode, result.out, result.err)
        run(['nbdcopy', other.uri('vol0'), script.path('copy')])
        with open(script.path('copy'), 'rb') as file:
            assert file.read()[:len(pattern)] == pattern
        other.stop()
    with script.test('bench: on demand a volume is written over, its replica with it'):
        report = bench(primary, 'vol0', '--overwrite')
        assert names(report, 'volume ') == ['read', 'read_deep', 'flush', 'durable_write', 'write_deep', 'sequential_write'], report
        assert report['not_measured'] == [], report
        pair.wait_healthy()
    with script.test('bench: what cannot be measured is said, with exit code 1, and the rest measured'):
        result = ctl(primary, 'bench', 'vol0', '--seconds', '0.05', '--nbd', '127.0.0.1:1', check=False)
        assert result.returncode == 1 and 'refused' in result.err and 'answer back' in result.out, (result.out, result.err)
        assert 'only its primary' in bench(replica, 'vol0', expect=1)
        assert 'no volume' in bench(primary, 'none', expect=1)
    with script.test('bench: a replica that is gone is said, by its name'):
        replica.stop()
        result = ctl(primary, 'bench', 'vol0', '--seconds', '0.05', '--nbd', f'127.0.0.1:{primary.nbd_port}', check=False)
        assert result.returncode == 1 and 'network to n2' in result.err and 'flush' in result.out, (result.out, result.err)
        replica.start()
        pair.wait_healthy()


with Script() as main:
    check_without_daemon(main)
    pair = Pair(main)
    pair.start()
    check_doctor(main, pair.primary)
    check_bench(main, pair)
    pair.stop_and_compare()
