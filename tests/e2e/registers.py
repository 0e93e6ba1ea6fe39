"""Blocks as registers: clients write unique values and read them back, and after a crash every block must
hold its last acknowledged value or one that was in flight. Used by the crash scripts; needs the
system's `nbd`."""
import random
import struct
import threading

import nbd

BLOCK = 4096
DEPTH = 6  # requests that each client keeps in flight
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
        self.wrong = []
        self._lock = threading.Lock()

    def load(self, uri, workers=8):
        """Starts clients, each on blocks of its own; they end when their server does. Returns a
        function that waits for them and raises if one read what it must not."""
        share = self.blocks // workers
        threads = [threading.Thread(target=_Client(self, uri, worker * share, share, self.random.random()).run)
                   for worker in range(workers)]
        for thread in threads:
            thread.start()

        def join():
            for thread in threads:
                thread.join(120)
                assert not thread.is_alive(), 'a client hangs although its server is gone'
            assert not self.wrong, self.wrong
        return join

    def write_some(self, handle, rng, first_block, share):
        """One write to some of the blocks, which no other thread writes, and perhaps a flush."""
        count = rng.choice([1, 1, 1, 2, 5, 16])
        block = first_block + rng.randrange(share - count + 1)
        blocks = range(block, block + count)
        values, data = self.begin_write(blocks)
        handle.pwrite(data, block * BLOCK, nbd.CMD_FLAG_FUA if rng.random() < 0.3 else 0)
        self.end_write(blocks, values)
        if rng.random() < 0.1:
            handle.flush()

    def begin_write(self, blocks):
        """New values for the blocks and the bytes to write. From here on they may be there or not."""
        with self._lock:
            first = self.next_value
            self.next_value += len(blocks)
        values = range(first, first + len(blocks))
        for block, value in zip(blocks, values):
            self.allowed[block].add(value)
        return values, b''.join(block_of(block, value) for block, value in zip(blocks, values))

    def end_write(self, blocks, values):
        """The write was acknowledged: only its values may be there."""
        for block, value in zip(blocks, values):
            self.allowed[block] = {value}
        with self._lock:
            self.acknowledged += len(blocks)

    def check(self, uri):
        """Reads every block; what it holds is from now on the only value that it may hold."""
        self.check_blocks(uri, range(self.blocks))

    def check_blocks(self, uri, blocks):
        """The same for some of them."""
        handle = nbd.NBD()
        handle.connect_uri(uri)
        for number in blocks:
            value = self.check_block(number, bytes(handle.pread(BLOCK, number * BLOCK)))
            self.allowed[number] = {value}
        handle.shutdown()

    def check_image(self, path):
        """The same for a base image, after a clean stop."""
        with open(path, 'rb') as image:
            for number in range(self.blocks):
                self.check_block(number, image.read(BLOCK))

    def check_block(self, number, data):
        value = value_of(number, data)
        if value not in self.allowed[number]:
            raise AssertionError(f'block {number} holds {value}, allowed are {sorted(self.allowed[number])}')
        return value


class _Client:
    """One connection that keeps several requests in flight, never two of them on one block: then what a
    block may hold is its last acknowledged value, and the one of the write under way."""

    def __init__(self, registers, uri, first_block, share, seed):
        self.registers, self.uri = registers, uri
        self.first, self.share = first_block, share
        self.random = random.Random(seed)
        self.busy = set()
        self.open = 0
        # By size, used again and again: libnbd's Python module never lets go of a buffer that it was given.
        self.buffers = {}

    def run(self):
        try:
            handle = nbd.NBD()
            handle.connect_uri(self.uri)
            while True:
                while self.open < DEPTH and not self.registers.wrong:
                    self.issue(handle)
                handle.poll(-1)
        except nbd.Error:
            return  # the server is gone; what was in flight may have happened or not

    def choose(self, count):
        """`count` adjacent blocks without a request under way; None if the first try finds none."""
        first = self.first + self.random.randrange(self.share - count + 1)
        blocks = range(first, first + count)
        return None if self.busy.intersection(blocks) else blocks

    def issue(self, handle):
        kind = self.random.random()
        if kind < 0.05:
            self.open += 1
            handle.aio_flush(completion=self.answered)
            return
        blocks = self.choose(self.random.choice([1, 1, 1, 2, 5, 16]))
        if blocks is None:
            return
        self.busy.update(blocks)
        self.open += 1
        if kind < 0.3:
            buffer = self.take_buffer(len(blocks) * BLOCK)
            handle.aio_pread(buffer, blocks[0] * BLOCK,
                             completion=lambda error: self.read_done(error, blocks, buffer))
            return
        values, data = self.registers.begin_write(blocks)
        flags = nbd.CMD_FLAG_FUA if self.random.random() < 0.3 else 0
        buffer = self.take_buffer(len(data))
        buffer[:] = data
        handle.aio_pwrite(buffer, blocks[0] * BLOCK, flags=flags,
                          completion=lambda error: self.write_done(error, blocks, values, buffer))

    def take_buffer(self, size):
        free = self.buffers.setdefault(size, [])
        return free.pop() if free else bytearray(size)

    def give_back(self, buffer):
        self.buffers[len(buffer)].append(buffer)

    def answered(self, _error):
        self.open -= 1
        return 1

    def write_done(self, error, blocks, values, buffer):
        self.give_back(buffer)
        if error.value == 0:
            self.registers.end_write(blocks, values)
            self.busy.difference_update(blocks)
        # After an error the blocks stay busy: a write of unknown outcome is never followed by another.
        return self.answered(error)

    def read_done(self, error, blocks, buffer):
        if error.value == 0:
            data = bytes(buffer)
            try:
                for i, block in enumerate(blocks):
                    self.registers.check_block(block, data[i * BLOCK:(i + 1) * BLOCK])
            except AssertionError as wrong:
                self.registers.wrong.append(f'read under load: {wrong}')
            self.busy.difference_update(blocks)
        self.give_back(buffer)
        return self.answered(error)
