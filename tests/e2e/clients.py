#!/usr/bin/python3
# run-under: asan
"""Real NBD clients against a replicated volume: libnbd, nbdcopy, qemu, fio, a file system image.

  clients.py               starts a pair
  clients.py --uri URI     against any server; the export's content is overwritten
"""
import os
import sys

import nbd

from harness import WAIT_SECONDS, Failure, Pair, Script, run

MIB = 1 << 20


def connect(uri):
    client = nbd.NBD()
    client.connect_uri(uri)
    return client


def qemu_io(uri, *commands):
    arguments = [part for command in commands for part in ('-c', command)]
    result = run(['qemu-io', '-f', 'raw', uri, *arguments])
    # qemu-io reports a pattern mismatch and most errors in words only.
    for word in ('failed', 'error', 'mismatch'):
        if word in (result.out + result.err).lower():
            raise Failure(f'{commands}:\n{result.out}\n{result.err}')


def check_info(script, uri, size):
    with script.test('nbdinfo describes the export'):
        assert int(run(['nbdinfo', '--size', uri]).out) == size
        run(['nbdinfo', uri])
        for ability in ('flush', 'fua', 'zero', 'trim', 'multi-conn'):
            run(['nbdinfo', '--can', ability, uri])
        assert run(['nbdinfo', '--is', 'read-only', uri], check=False).returncode != 0
    with script.test('nbdinfo --list names the export'):
        server = uri[:uri.rindex('/')] + '/'
        assert uri.rsplit('/', 1)[1] in run(['nbdinfo', '--list', '--no-content', server]).out


def check_copies(script, uri, size):
    image, back = script.path('image'), script.path('back')
    with open(image, 'wb') as file:
        file.write(os.urandom(16 * MIB))
        file.seek(24 * MIB)
        file.write(os.urandom(MIB + 4096))
        file.truncate(size)
    with script.test('nbdcopy in over four connections and out again is identical'):
        run(['nbdcopy', '--connections=4', '--requests=16', '--flush', image, uri])
        run(['nbdcopy', uri, back])
        run(['cmp', image, back])
    with script.test('qemu-img compares equal, and unequal when a byte differs'):
        run(['qemu-img', 'compare', '-f', 'raw', '-F', 'raw', image, uri])
        with open(back, 'r+b') as file:
            file.seek(5 * MIB)
            byte = file.read(1)
            file.seek(5 * MIB)
            file.write(bytes([byte[0] ^ 1]))
        result = run(['qemu-img', 'compare', '-f', 'raw', '-F', 'raw', back, uri], check=False)
        assert result.returncode == 1, result.returncode
    with script.test('qemu-img convert out to qcow2 and in again is identical'):
        qcow2 = script.path('image.qcow2')
        run(['qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', uri, qcow2])
        run(['qemu-img', 'check', qcow2])
        qemu_io(uri, f'write -P 0xee 0 {size // 4}')
        run(['qemu-img', 'convert', '-n', '-f', 'qcow2', '-O', 'raw', qcow2, uri])
        run(['qemu-img', 'compare', '-f', 'raw', '-F', 'raw', image, uri])


def check_offsets(script, uri, size):
    with script.test('requests that are not block-aligned change exactly their bytes'):
        qemu_io(uri, 'write -P 1 0 16k', 'write -P 7 513 1023', 'read -P 7 513 1023',
                'read -P 1 0 513', 'read -P 1 1536 14848')
        qemu_io(uri, 'write -P 2 4095 2', 'read -P 2 4095 2', 'read -P 1 4094 1', 'read -P 1 4097 1')
        qemu_io(uri, f'write -P 3 {size - 513} 513', f'read -P 3 {size - 513} 513')
    with script.test('odd requests of every kind agree with a model'):
        client = connect(uri)
        window = 64 * 4096
        client.pwrite(bytes(window), 0)
        model = bytearray(window)
        state = 12345
        for step in range(600):
            # A fixed pseudo-random sequence: the same requests in every run.
            state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
            offset = (state >> 20) % (window - 1)
            length = 1 + (state >> 40) % min(20000, window - offset)
            if step % 5 == 4:
                client.zero(length, offset)
                model[offset:offset + length] = bytes(length)
            else:
                data = bytes([step % 255 + 1]) * length
                client.pwrite(data, offset, nbd.CMD_FLAG_FUA if step % 7 == 0 else 0)
                model[offset:offset + length] = data
            assert client.pread(length, offset) == data if step % 5 != 4 else True
        assert client.pread(window, 0) == model
        client.shutdown()


def check_semantics(script, uri, size):
    with script.test('write zeroes and trim read back as zeros, neighbours stay'):
        qemu_io(uri, 'write -P 9 0 1M', 'write -z 64k 64k', 'read -P 0 64k 64k', 'read -P 9 0 64k',
                'read -P 9 128k 64k', 'write -z -u 256k 128k', 'read -P 0 256k 128k',
                'discard 512k 64k', 'read -P 0 512k 64k', 'read -P 9 576k 64k')
    with script.test('a write is seen on another connection at once'):
        one, two = connect(uri), connect(uri)
        for i in range(200):
            data = bytes([i % 251 + 1]) * 4096
            one.pwrite(data, 4096 * (i % 7))
            assert two.pread(4096, 4096 * (i % 7)) == data
        two.flush()
        one.shutdown()
        two.shutdown()
    with script.test('the largest request, 32 MiB, works both ways'):
        if size < 32 * MIB:
            raise Failure('the export is too small for this test')
        client = connect(uri)
        data = os.urandom(MIB) * 32
        client.pwrite(data, size - len(data))
        assert client.pread(len(data), size - len(data)) == data
        client.shutdown()
    with script.test('64 overlapping requests in flight leave one of the written values per block'):
        client = connect(uri)
        errors = []
        buffers = [nbd.Buffer.from_bytearray(bytearray([i + 1]) * 8192) for i in range(64)]
        for i, buffer in enumerate(buffers):
            client.aio_pwrite(buffer, (i % 8) * 4096,
                              completion=lambda error: (errors.append(error.value), 1)[1])
        while len(errors) < 64:
            if client.poll(WAIT_SECONDS * 1000) == 0:
                raise Failure(f'only {len(errors)} of 64 writes were answered')
        assert errors == [0] * 64, errors
        found = client.pread(9 * 4096, 0)
        for block in range(9):
            content = set(found[block * 4096:(block + 1) * 4096])
            allowed = {i + 1 for i in range(64) if i % 8 in (block, block - 1)}
            assert len(content) == 1 and content <= allowed, (block, content)
        client.shutdown()


def check_fio(script, uri):
    # fio's NBD engine spins for ever when its server goes away: run() bounds time and output.
    for name, options in (
            ('4 KiB random writes at depth 32', ['--bs=4k', '--iodepth=32', '--rw=randwrite']),
            ('mixed sizes, unaligned', ['--bsrange=512-64k', '--blockalign=512', '--iodepth=16',
                                        '--rw=randwrite', '--serialize_overlap=1', '--fsync=64']),
            ('four connections', ['--bs=4k', '--iodepth=8', '--rw=randrw', '--numjobs=4',
                                  '--offset_increment=8M'])):
        with script.test(f'fio verifies: {name}'):
            result = run(['fio', '--name=verify', '--ioengine=nbd', f'--uri={uri}', '--size=8M',
                          '--verify=crc32c', '--do_verify=1', '--verify_fatal=1', *options])
            assert 'err= 0' in result.out, result.out[-2000:]


def check_file_system(script, uri):
    with script.test('an ext4 image copied through the volume is sound and keeps its files'):
        tree, image, back = script.path('tree'), script.path('ext4'), script.path('ext4-back')
        os.mkdir(tree)
        content = {f'file{i}': os.urandom(1000 * i) for i in range(1, 40)}
        for name, data in content.items():
            with open(os.path.join(tree, name), 'wb') as file:
                file.write(data)
        run(['mkfs.ext4', '-q', '-F', '-d', tree, image, '32M'])
        run(['nbdcopy', '--flush', image, uri])
        run(['nbdcopy', uri, back])
        with open(back, 'r+b') as file:
            file.truncate(32 * MIB)
        run(['e2fsck', '-f', '-n', back])
        for name, data in content.items():
            out = script.path('extracted')
            run(['debugfs', '-R', f'dump /{name} {out}', back])
            with open(out, 'rb') as file:
                assert file.read() == data, name


def check(script, uri):
    client = connect(uri)
    size = client.get_size()
    client.shutdown()
    check_info(script, uri, size)
    check_copies(script, uri, size)
    check_offsets(script, uri, size)
    check_semantics(script, uri, size)
    check_fio(script, uri)
    check_file_system(script, uri)


with Script() as main:
    if '--uri' in sys.argv:
        check(main, sys.argv[sys.argv.index('--uri') + 1])
    else:
        pair = Pair(main)
        pair.start()
        check(main, pair.uri)
        with main.test('the pair is healthy after all that, and both copies hold the same'):
            pair.wait_healthy()
            content = main.path('content')
            run(['nbdcopy', pair.uri, content])
            pair.stop_and_compare(content)
