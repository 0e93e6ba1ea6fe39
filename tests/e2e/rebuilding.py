"""What the scripts share that rebuild replicas: load beside a known content, what the primary says of a rebuild, a
log that is damaged on purpose."""
import os
import random
import signal
import struct

import nbd

from harness import Failure, run, wait_for
from moving import SEED, Clients
from registers import Registers

MIB = 1 << 20
REGISTERS = 1024   # the first 4 MiB of a volume are clients' registers, the rest is content


def session_of(volume):
    return volume['replicas'][0]['session'] or {}


def is_rebuilding(volume):
    """A rebuild goes on: it has begun and not ended."""
    session = session_of(volume)
    return session.get('kind') == 'rebuild' and session['phase'] in ('accepted', 'running', 'base_complete')


def set_rate(node, rate):
    """Changes the cap of the rebuilds that a running node feeds; '0': none."""
    node.options['rebuild.rate_max'] = rate
    node.write_config()
    said = node.log_text().count('rebuild.rate_max is now')
    node.send(signal.SIGHUP)
    wait_for(lambda: node.log_text().count('rebuild.rate_max is now') > said, f'{node.name} to know its new rate')


def order(node, replica, method='POST'):
    """Orders a rebuild of the replica, or (DELETE) that there be none."""
    target = '/v1/volumes/vol0/rebuild' + ('' if method == 'POST' else f'/{replica.name}')
    status, body = node.get(target, method, f'{{"replica": "{replica.name}"}}' if method == 'POST' else None)
    if status not in (200, 202):
        raise Failure(f'{node.name}: {method} rebuild: {status} {body}')
    return body


def fill(pair, megabytes=range(4, 1 << 30, 2)):
    """Random bytes in every other MiB behind the registers: the rest are holes, in which a block is written here and there."""
    rng = random.Random(SEED)
    handle = nbd.NBD()
    handle.connect_uri(pair.uri)
    size = handle.get_size()
    for number in megabytes:
        if (number + 1) * MIB > size:
            break
        handle.pwrite(rng.randbytes(MIB), number * MIB)
        if (number + 2) * MIB <= size and number % 8 == 0:
            handle.pwrite(rng.randbytes(4096), (number + 1) * MIB + 4096 * rng.randrange(256))
    handle.flush()
    handle.shutdown()


def outrun(pair):
    """Returns when the log has lost a record that a replica that is away now does not have."""
    beyond = pair.primary.volume()['boundary']['wal_head']

    def lost():
        fill(pair)
        return pair.primary.volume()['boundary']['wal_tail'] > beyond
    wait_for(lost, 'the WAL to be used again', every=0)


def clients_of(pair, registers=None):
    clients = Clients([pair.primary], registers=registers or Registers(REGISTERS, SEED))
    clients.start()
    clients.go_on()
    return clients


def stop_and_compare(script, pair, registers):
    """No client writes any more: both images hold every byte that clients read, and nothing acknowledged is lost."""
    content = script.path('content')
    run(['nbdcopy', pair.uri, content])
    registers.check(pair.uri)
    pair.stop_and_compare(content)
    for node in pair.nodes:
        registers.check_image(node.image_path())
    os.unlink(content)


def wal_path(node):
    return os.path.join(node.data_directory, 'volumes', 'vol0', 'wal')


def frames(path):
    """Of a log: the place of each frame header in it, and its first Lsn; also of frames of earlier laps."""
    with open(path, 'rb') as file:
        data = file.read()
    found = []
    at = data.find(b'RBWALFR1')
    while at >= 0:
        if at % 4096 == 0:
            flags, records = struct.unpack_from('<HH', data, at + 10)
            if not flags & 1:
                found.append((struct.unpack_from('<Q', data, at + 48)[0], records, at))
        at = data.find(b'RBWALFR1', at + 1)
    return found


def damage_log(node, first, last):
    """Flips bytes in a frame in the middle of Lsns first..last, which are flushed. The node does not run."""
    path = wal_path(node)
    inside = sorted(frame for frame in frames(path) if first < frame[0] and frame[0] + frame[1] - 1 < last)
    if not inside:
        raise Failure(f'no frame of Lsn {first} to {last} in {path}')
    at = inside[len(inside) // 2][2]
    with open(path, 'r+b') as file:
        file.seek(at + 32)   # what its checksum covers
        byte = file.read(16)
        file.seek(at + 32)
        file.write(bytes(b ^ 0x55 for b in byte))
    return inside[len(inside) // 2][0]
