#!/usr/bin/python3
"""The log under trouble and of hostile peers and clients: as JSON every line is an object with its fields, as text every
line is one that the daemon wrote."""
import json
import re
import socket
import struct

from harness import RINGBOLTD, Pair, Script, run, wait_for
from rebuilding import clients_of, order

NUMBERS = {'shard', 'session', 'epoch', 'lsn', 'left_out'}
TEXTS = {'volume', 'replica', 'peer', 'client', 'key'}
# What a peer may call itself: printable UTF-8, to whoever takes neither lines, fields nor directions of writing from it.
NAME = 'n"9\\ | lsn=9 \u2028{"level":"error"}\u202e'
SHOWN = 'n"9\\ | lsn=9 \\xe2\\x80\\xa8{"level":"error"}\\xe2\\x80\\xae'
FORGED = b'x\n2026-01-01T00:00:00.000+00:00 error   forged\n{}\xff\x1b[2J\x00'
TEXT_LINE = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d (debug  |info   |warning|error  ) \S.*')


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def hello(node_id, replica_id):
    """A primary's first message, as src/repl/wire.h has it."""
    def text(value):
        return struct.pack('<H', len(value)) + value
    payload = text(b'vol0') + text(node_id) + text(replica_id) + struct.pack('<QQHHQB', 1, 64 << 20, 1, 1, 0, 1)
    header = struct.pack('<IHH16sQQQIII', 0x31524252, 1, 1, b'\1' * 16, 1, 0, 1, len(payload), crc32c(payload), 0)
    return header + struct.pack('<I', crc32c(header)) + payload


def send(port, data):
    """Sends it and waits until the daemon hangs up, and so has read and judged it."""
    with socket.create_connection(('127.0.0.1', port), timeout=60) as sock:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(4096):
                pass
        except OSError:
            pass  # it was faster


def be_hostile(node):
    send(node.replication_port, hello(NAME.encode(), b'n8'))
    send(node.replication_port, hello(FORGED, b'n8'))
    send(node.nbd_port, struct.pack('>IQII', 1, 0x49484156454F5054, 7, 4 + len(FORGED)) + struct.pack('>I', len(FORGED)) + FORGED)
    send(node.nbd_port, struct.pack('>IQII', 1, 0x49484156454F5054, 1, len(FORGED)) + FORGED)
    send(node.nbd_port, FORGED * 10)
    send(node.admin_port, b'GET /v1/volumes/' + FORGED + b' HTTP/1.1\r\n\r\n')


def objects(text):
    """What the lines of a log say: each is an object with what every line has."""
    lines = text.split('\n')
    assert lines.pop() == '', 'the last line is whole'
    said = []
    for line in lines:
        one = json.loads(line)
        assert isinstance(one, dict) and list(one)[:3] == ['time', 'level', 'message'], line
        assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z', one['time']), line
        assert one['level'] in ('debug', 'info', 'warn', 'error') and one['message'], line
        fields = {key: value for key, value in one.items() if key not in ('time', 'level', 'message')}
        assert fields.keys() <= NUMBERS | TEXTS, line
        assert all(isinstance(value, int if key in NUMBERS else str) for key, value in fields.items()), line
        said.append(one)
    return said


def find(said, words, **fields):
    """The first line with these words; it has these fields, of any value if it is given as `int`."""
    found = [one for one in said if words in one['message']]
    assert found, (words, [one['message'] for one in said])
    for key, value in fields.items():
        assert isinstance(found[0].get(key), int) if value is int else found[0].get(key) == value, (key, found[0])
    return found[0]


def make_trouble(pair):
    """A replica that is killed, comes back and is rebuilt, and hostile bytes at each port of both nodes."""
    pair.start()
    clients = clients_of(pair)
    pair.replica.kill()
    pair.primary.wait_volume(lambda volume: not volume['replicas'][0]['in_sync'], 'the replica to leave the set')
    pair.replica.start()
    pair.wait_healthy()
    rebuilt = pair.primary.log_text().count('is rebuilt at Lsn')
    order(pair.primary, pair.replica)
    wait_for(lambda: pair.primary.log_text().count('is rebuilt at Lsn') > rebuilt, 'the rebuild to end')
    pair.wait_healthy()
    for node in pair.nodes:
        be_hostile(node)
    clients.go_on()
    clients.stop()
    pair.stop()


def check_json(script):
    pair = Pair(script, options={'replication.timeout': '1s'})
    pair.primary.arguments = ['--log-format', 'json', '--log-level', 'debug']
    pair.replica.options['log.format'] = 'json'
    make_trouble(pair)
    primary, replica = objects(pair.primary.log_text()), objects(pair.replica.log_text())
    with script.test('as JSON every line of a log is an object; --log-format and log.format make it so'):
        assert any(one['level'] == 'debug' for one in primary) and len(replica) > 10
    with script.test('as JSON a line has the volume, replica, session, epoch and Lsn that it is about as fields'):
        find(primary, 'leaves the in-sync set', volume='vol0', replica='n2', level='warn')
        find(primary, 'is in sync at Lsn', volume='vol0', replica='n2', session=int, lsn=int)
        find(primary, 'in session', volume='vol0', replica='n2', session=int, epoch=1, lsn=int)
        find(primary, 'is rebuilt at Lsn', volume='vol0', replica='n2', session=int, lsn=int)
        find(primary, 'mode publish_healthy', volume='vol0', level='info')
        find(replica, 'rebuilds this copy', volume='vol0', peer='n1', session=int, lsn=int)
        assert 'volume vol0' not in find(primary, 'serving clients', volume='vol0', lsn=int)['message']
        stop = find(primary, 'stopping')
        assert 'volume' not in stop, stop
    with script.test('as JSON what a peer or client says is in one string, and its address is a field'):
        for said in (primary, replica):
            refused = find(said, f'call from {SHOWN} refused', volume='vol0', peer=SHOWN)
            assert 'lsn' not in refused and refused['level'] == 'info', refused
            assert find(said, 'node_id has byte 0x0a')['client'].startswith('127.0.0.1:')
            assert find(said, 'closing the NBD client')['client'].startswith('127.0.0.1:')
            assert not any(one['message'].startswith('forged') for one in said)


def check_text(script):
    node = script.node('n4', [{'name': 'vol0', 'size': '64MiB', 'role': 'primary'}])
    node.start()
    node.wait_mode()
    be_hostile(node)
    node.stop()
    with open(node.log_path, 'rb') as file:
        text = file.read().decode()  # UTF-8, whatever came
    with script.test('as text every line begins with its time and level, and fields stand behind the words'):
        for line in text.splitlines():  # also at what only some readers take for the end of a line
            assert TEXT_LINE.fullmatch(line), line
        assert re.search(r'volume vol0: serving clients.* \| epoch=1 lsn=\d+\n', text), text
        quoted = SHOWN.replace(' | ', ' \\x7c ').replace('\\', '\\\\').replace('"', '\\"')
        refused = next(line for line in text.splitlines() if 'refused: this node' in line)
        assert refused.split(' | ')[1:] == [f'peer="{quoted}" epoch=1'], refused
        assert 'forged' not in [line.split()[2] for line in text.splitlines()]


def check_failures(script):
    with script.test('as JSON also why it does not start is an object'):
        node = script.node('n5')
        with socket.socket() as taken:
            taken.bind(('127.0.0.1', 0))
            taken.listen()
            node.admin_port = taken.getsockname()[1]
            node.write_config()
            result = run([RINGBOLTD, '--config', node.config_path, '--log-format', 'json'], check=False)
        assert result.returncode == 1, result.returncode
        find(objects(result.err), f'ringboltd: admin: cannot listen on 127.0.0.1:{node.admin_port}', level='error')
        with open(node.config_path, 'a') as file:
            file.write('nonsense = 1\n')
        result = run([RINGBOLTD, '--config', node.config_path, '--log-format', 'json', '--log-level', 'error'], check=False)
        said = objects(result.err)
        assert result.returncode == 1 and len(said) == 1, result.err
        assert re.match(re.escape(node.config_path) + r':\d+: unknown key "nonsense"', said[0]['message']), said
        checked = run([RINGBOLTD, '--config', node.config_path, '--log-format', 'json', '--check'], check=False)
        assert checked.returncode == 2 and checked.err == said[0]['message'] + '\n', checked.err


with Script() as main:
    check_json(main)
    check_text(main)
    check_failures(main)
