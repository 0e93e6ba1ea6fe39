"""Blocks as registers: clients write unique values, and after a crash every block must hold its last
acknowledged value or one that was in flight. Used by the crash scripts; needs the system's `nbd`."""
import random
import struct
import threading

import nbd

BLOCK = 4096
_HEAD = struct.Struct('<8sQQ')


def block_of(number, value):
    """The bytes of block `number` holding `value`, the same tag in every 512-byte sector."""
    return b''.join((_HEAD.pack(b'RBREGIST', number, value) + bytes([s])).ljust(512, b'.') for s in range(8))


def value_of(number, data):
    """The value that a block holds; raises if its sectors do not agree or are another block's."""
    if data == bytes(BLOCK):
        return 0
    magic, block, value = _HEAD.unpack_from(data)
    if magic != b'RBREGIST' or block != number or data != block_of(number, value):
        raise AssertionError(f'block {number} is torn, mixed or foreign: {data[:32]!r}')
    return value


class Registers:
    """The model: per block the values that it may hold."""

    def __init__(self, blocks, seed):
        self.blocks = blocks
        self.allowed = [{0} for _ in range(blocks)]
        self.random = random.Random(seed)
        self.next_value = 1
        self.acknowledged = 0
        self._lock = threading.Lock()

    def _take_values(self, count):
        with self._lock:
            first = self.next_value
            self.next_value += count
            return first

    def load(self, uri, workers=8):
        """Starts writers, each on blocks of its own; they end when their server does. Returns a
        function that waits for them."""
        share = self.blocks // workers
        threads = [threading.Thread(target=self._write, args=(uri, worker * share, share, self.random.random()))
                   for worker in range(workers)]
        for thread in threads:
            thread.start()

        def join():
            for thread in threads:
                thread.join(120)
                assert not thread.is_alive(), 'a client hangs although its server is gone'
        return join

    def _write(self, uri, first_block, share, seed):
        rng = random.Random(seed)
        try:
            handle = nbd.NBD()
            handle.connect_uri(uri)
            while True:
                self.write_some(handle, rng, first_block, share)
        except nbd.Error:
            return

    def write_some(self, handle, rng, first_block, share):
        """One write to some of the blocks, which no other thread writes, and perhaps a flush."""
        count = rng.choice([1, 1, 1, 2, 5, 16])
        block = first_block + rng.randrange(share - count + 1)
        values = [self._take_values(1) for _ in range(count)]
        data = b''.join(block_of(block + i, value) for i, value in enumerate(values))
        for i, value in enumerate(values):
            self.allowed[block + i].add(value)     # in flight: may be there or not
        flags = nbd.CMD_FLAG_FUA if rng.random() < 0.3 else 0
        handle.pwrite(data, block * BLOCK, flags)
        for i, value in enumerate(values):
            self.allowed[block + i] = {value}      # acknowledged: only this one
        self.acknowledged += count
        if rng.random() < 0.1:
            handle.flush()

    def check(self, uri):
        """Reads every block; what it holds is from now on the only value that it may hold."""
        handle = nbd.NBD()
        handle.connect_uri(uri)
        for number in range(self.blocks):
            value = value_of(number, bytes(handle.pread(BLOCK, number * BLOCK)))
            if value not in self.allowed[number]:
                raise AssertionError(f'block {number} holds {value}, allowed are {sorted(self.allowed[number])}')
            self.allowed[number] = {value}
        handle.shutdown()
