#!/usr/bin/python3
# run-under: asan
"""After a clean stop, in either order, both base images hold exactly what clients wrote."""
import random

import nbd

from harness import Pair, Script, run

SIZE = 64 << 20
SEED = 20240611


def write_some(uri, model, rng):
    """Writes, zeroes and trims, mostly small, some large, some not block-aligned."""
    client = nbd.NBD()
    client.connect_uri(uri)
    for _ in range(400):
        length = rng.choice((512, 1023, 4096, 4096, 8192, 65536, 1 << 20))
        offset = rng.randrange(SIZE - length)
        if rng.random() < 0.7:
            offset -= offset % 4096
            length += -length % 4096
            length = min(length, SIZE - offset)
        kind = rng.random()
        if kind < 0.8:
            data = rng.randbytes(length)
            client.pwrite(data, offset)
        else:
            data = bytes(length)
            if kind < 0.9:
                client.zero(length, offset)
            else:
                # What a trim leaves is defined for whole blocks; they read as zeros.
                offset -= offset % 4096
                length += -length % 4096
                length = min(length, SIZE - offset)
                data = bytes(length)
                client.trim(length, offset)
        model[offset:offset + length] = data
    if rng.random() < 0.5:
        client.flush()
    client.shutdown()


def check_images(pair, model, script):
    expected = script.path('expected')
    with open(expected, 'wb') as file:
        file.write(model)
    for node in (pair.primary, pair.replica):
        run(['cmp', f'--bytes={SIZE}', expected, node.image_path()])


with Script() as main:
    pair = Pair(main, size='64MiB')
    rng = random.Random(SEED)
    model = bytearray(SIZE)
    for round_number, replica_first in enumerate((False, True, False)):
        order = 'replica first' if replica_first else 'primary first'
        with main.test(f'round {round_number}, {order}: both images equal what was written'):
            pair.start()
            write_some(pair.uri, model, rng)
            pair.stop(replica_first)
            check_images(pair, model, main)
    with main.test('after a swap of the roles the new primary serves and replicates the same data'):
        pair.epoch += 1
        pair.primary, pair.replica = pair.replica, pair.primary
        pair.configure()
        pair.start()
        copy = main.path('copy')
        run(['nbdcopy', pair.uri, copy])
        run(['cmp', copy, main.path('expected')])
        write_some(pair.uri, model, rng)
        pair.stop()
        check_images(pair, model, main)
