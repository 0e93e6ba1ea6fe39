#!/usr/bin/python3
"""ext4 on a volume, and kill -9 of its primary while programs write files with fsync: afterwards, on the
restarted primary as on a promoted replica, the file system mounts, every fsynced file is whole, and e2fsck
finds nothing (after the journal was replayed, which is the mount's business).

A volume becomes a file by nbdfuse, and the file a block device by the loop driver. Needs root, /dev/fuse and
loop devices. All mounts are in a mount namespace of the script's own, and end with it, however it ends.
"""
import ctypes
import os
import random
import shutil
import threading
import zlib

from harness import Failure, Pair, Script, run, wait_for

ROUNDS = ('restart', 'promote', 'restart')
WRITERS = 4
FILES = 60  # complete at least in a round, before the primary is killed
SEED = int(os.environ.get('RINGBOLT_SEED', str(random.SystemRandom().randrange(1 << 32))))
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000


def missing():
    """What this machine lacks, in words; empty if nothing."""
    if os.geteuid() != 0:
        return 'mounting needs root'
    for tool in ('nbdfuse', 'fusermount3', 'mkfs.ext4'):
        if not shutil.which(tool, path='/usr/sbin:/usr/bin:/sbin:/bin'):
            return f'{tool} is missing'
    try:
        os.close(os.open('/dev/fuse', os.O_RDWR))
    except OSError as error:
        return f'/dev/fuse: {error.strerror}'
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0 or libc.mount(b'none', b'/', None, MS_REC | MS_PRIVATE, None) != 0:
        return f'a mount namespace: {os.strerror(ctypes.get_errno())}'
    free = run(['losetup', '--find'], check=False)
    return '' if free.returncode == 0 else f'no loop device: {free.err.strip()}'


def content(name):
    """What the file of that name holds, whole."""
    rng = random.Random(zlib.crc32(name.encode()))
    return rng.randbytes(rng.choice([1, 700, 4096, 30000, 150000]))


class FileSystem:
    """The volume, mounted for as long as its server lives."""

    def __init__(self, script, uri):
        self.image_directory, self.directory = script.path('fuse'), script.path('mnt')
        for directory in (self.image_directory, self.directory):
            os.makedirs(directory, exist_ok=True)
        self.image = os.path.join(self.image_directory, 'image')
        with open(script.path('nbdfuse.log'), 'ab') as log:  # it has a line for everything that fails
            self.server = script.spawn(['nbdfuse', self.image, uri], stderr=log)
        wait_for(self._ready, 'nbdfuse to show the volume')

    def _ready(self):
        if self.server.poll() is not None:
            raise Failure(f'nbdfuse ended with exit code {self.server.returncode}')
        return os.path.exists(self.image)

    def mount(self):
        # The loop device goes with the mount. Errors end in a file system that is only read any more.
        run(['mount', '-t', 'ext4', '-o', 'loop,errors=remount-ro', self.image, self.directory])

    def unmount(self):
        run(['umount', self.directory])

    def close(self):
        run(['fusermount3', '-u', self.image_directory])
        self.server.wait(60)


class Writers:
    """Threads that make files until the file system fails under them. `complete`: what must not get lost."""

    def __init__(self, directory, label):
        self.directory, self.complete, self.wrong = directory, [], []
        self.threads = [threading.Thread(target=self._run, args=(f'{label}-{i}',)) for i in range(WRITERS)]
        for thread in self.threads:
            thread.start()

    def _run(self, label):
        number = 0
        try:
            while True:
                self._make(f'{label}-{number}')
                number += 1
        except OSError:
            return  # the server is gone; what was under way may be there or not
        except Exception as error:  # a thread's end says nothing to anybody else
            self.wrong.append(error)

    def _make(self, name):
        """As programs do: a new file beside the place, flushed, renamed, and the name flushed."""
        made, path = os.path.join(self.directory, name + '.new'), os.path.join(self.directory, name)
        with open(made, 'wb', buffering=0) as file:
            data = content(name)
            while data:  # a write that an error ends may have done a part
                data = data[file.write(data):]
            os.fsync(file.fileno())
        os.rename(made, path)
        directory = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        self.complete.append(name)

    def join(self):
        for thread in self.threads:
            thread.join(120)
            assert not thread.is_alive(), 'a program hangs although the server is gone'
        assert not self.wrong, self.wrong


def check_files(directory, complete):
    for name in complete:
        with open(os.path.join(directory, name), 'rb') as file:
            found = file.read()
        wanted = content(name)
        if found != wanted:
            same = next((i for i, (a, b) in enumerate(zip(found, wanted)) if a != b), min(len(found), len(wanted)))
            raise Failure(f'{name}: {len(found)} bytes of {len(wanted)}, the first wrong one at {same}')


def crash(script, pair, complete, number, how):
    """One life of the file system, from its mount to the check of what the crash left."""
    system = FileSystem(script, pair.uri)
    system.mount()
    writers = Writers(system.directory, str(number))
    wait_for(lambda: len(writers.complete) >= FILES or writers.wrong, f'{FILES} files')
    pair.primary.kill()
    writers.join()
    system.unmount()
    system.close()
    complete += writers.complete
    if how == 'promote':
        pair.replica.kill()
        pair.primary, pair.replica = pair.replica, pair.primary
        pair.epoch += 1
        pair.configure()
    for node in (pair.replica, pair.primary):
        if node.process is None:
            node.start()
    pair.wait_healthy()
    system = FileSystem(script, pair.uri)
    system.mount()  # replays the journal
    check_files(system.directory, complete)
    system.unmount()
    check = run(['e2fsck', '-f', '-n', system.image], check=False)
    system.close()
    if check.returncode != 0:
        raise Failure(f'e2fsck: {check.out[-2000:]}{check.err[-500:]}')


with Script() as main:
    lacking = missing()
    if lacking:
        main.skip('ext4 on a volume survives kill -9', lacking)
    else:
        print(f'# seed {SEED}')
        pair = Pair(main, size='128MiB', wal_size='16MiB', options={'replication.timeout': '2s'})
        complete = []
        with main.test('a file system is made'):
            pair.start()
            system = FileSystem(main, pair.uri)
            run(['mkfs.ext4', '-q', '-F', system.image])
            system.close()
        for number, how in enumerate(ROUNDS):
            with main.test(f'kill -9 of the primary under a file system, then {how}: no fsynced file is lost'):
                crash(main, pair, complete, number, how)
        print(f'# {len(complete)} files')
        with main.test('after a clean stop both copies hold the same'):
            pair.stop_and_compare()
