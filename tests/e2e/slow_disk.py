"""A disk that takes its time, for a WAL: what a daemon has given to it is then still under way when the daemon is
killed, and is lost. On a fast disk every write that was begun lands, also after its process's end.

    with SlowDisk(script, 'name', 8 << 20, '5ms') as disk:
        node.volumes[0]['wal_path'] = disk.path

It is nbdkit's delay filter behind nbdfuse, so it needs root and /dev/fuse: SlowDisk.possible() tells.
"""
import os

from harness import run, wait_for


class SlowDisk:
    def __init__(self, script, name, size_bytes, delay):
        self._directory = script.path(name)
        self.path = os.path.join(self._directory, 'disk')
        self._size = size_bytes
        os.mkdir(self._directory)
        data = script.path(name + '.data')
        with open(data, 'wb') as file:
            file.truncate(size_bytes)
        self._server = script.spawn(['nbdfuse', self.path, '--command', 'nbdkit', '-s', '--filter=delay', 'file', data,
                                     f'wdelay={delay}'])

    @staticmethod
    def possible():
        return os.geteuid() == 0 and os.path.exists('/dev/fuse')

    def __enter__(self):
        def mounted():
            assert self._server.poll() is None, 'nbdfuse has ended'
            return os.path.exists(self.path) and os.path.getsize(self.path) == self._size
        wait_for(mounted, 'the slow disk to be mounted')
        return self

    def __exit__(self, *_):
        # Lazily: after a failed test a daemon has it open still.
        run(['fusermount3', '-u', '-z', self._directory])
