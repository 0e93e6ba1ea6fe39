#!/usr/bin/python3
"""A replica that hangs (SIGSTOP) holds writers up within bounds, is dropped from the in-sync set once,
costs the primary no memory, and comes back by itself: by catch-up if the WAL still has what it missed, else by a rebuild."""
import threading
import time

import nbd

from harness import Failure, Pair, Script, wait_for


SLOTS = 64


class Writer(threading.Thread):
    """Writes on and on; `count` says how far it got, `content` what must be there from offset 0 on."""

    def __init__(self, uri, bytes_each):
        super().__init__(daemon=True)
        self.count, self.ended, self.error = 0, False, None
        self.content = bytearray(SLOTS * bytes_each)
        self._uri, self._bytes = uri, bytes_each

    def run(self):
        try:
            handle = nbd.NBD()
            handle.connect_uri(self._uri)
            while not self.ended:
                data = bytes([self.count % 251]) * self._bytes
                offset = self.count % SLOTS * self._bytes
                handle.pwrite(data, offset)
                self.content[offset:offset + self._bytes] = data
                self.count += 1
        except nbd.Error as error:
            self.error = error


def drops(pair):
    return pair.primary.log_text().count('leaves the in-sync set')


with Script() as script:
    pair = Pair(script, size='64MiB', wal_size='32MiB', options={'replication.timeout': '1s'})
    pair.start()
    writer = Writer(pair.uri, 4096)
    writer.start()
    with script.test('a hung replica is dropped once and writes go on'):
        wait_for(lambda: writer.count > 100, 'writes')
        rss = pair.primary.rss_bytes()
        pair.replica.pause()
        pair.primary.wait_volume(lambda v: not v['replicas'][0]['in_sync'], 'the replica to be dropped')
        count = writer.count
        wait_for(lambda: writer.count > count + 500, 'writes to go on without the replica')
        assert drops(pair) == 1, pair.primary.log_tail()
        grown = pair.primary.rss_bytes() - rss
        assert grown < 96 << 20, f'the primary grew by {grown} bytes'
    with script.test('it comes back by catch-up and counts again'):
        pair.replica.resume()
        pair.wait_healthy()
        assert drops(pair) == 1, pair.primary.log_tail()
    with script.test('then its copy holds all that was written, also without it'):
        writer.ended = True
        writer.join(60)
        pair.stop_and_compare()
        with open(pair.replica.image_path(), 'rb') as image:
            assert image.read(len(writer.content)) == writer.content
        if writer.error is not None:
            raise Failure(f'writer: {writer.error}')
        pair.start()
        writer = Writer(pair.uri, 4096)
        writer.start()
        wait_for(lambda: writer.count > 100, 'writes')
    with script.test('one that misses more than the WAL holds is rebuilt, and writes go on'):
        pair.replica.pause()
        pair.primary.wait_volume(lambda v: not v['replicas'][0]['in_sync'], 'the replica to be dropped')
        tail = pair.primary.volume()['boundary']['wal_head'] + 1
        bulk = Writer(pair.uri, 1 << 20)
        bulk.start()
        pair.primary.wait_volume(lambda v: v['boundary']['wal_tail'] > tail, 'the WAL to be reused')
        bulk.ended = True
        bulk.join(60)
        pair.replica.resume()
        pair.primary.wait_log('replica n2 needs a rebuild: records that it misses are no longer in the WAL')
        count = writer.count
        wait_for(lambda: writer.count > count + 100, 'writes to go on')
        pair.wait_healthy()
        assert 'replica n2 is rebuilt at Lsn' in pair.primary.log_text(), pair.primary.log_tail()
    writer.ended = True
    writer.join(60)
    with script.test('no client saw an error'):
        if writer.error is not None:
            raise Failure(f'writer: {writer.error}')
    with script.test('both stop cleanly, with equal images'):
        pair.stop_and_compare()
