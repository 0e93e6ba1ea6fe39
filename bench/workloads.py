"""The workloads, the same for every server. fio makes them where its engines can. Over NBD what has FUA or flushes is ringbolt-nbd-load's:
fio's NBD engine never sends FUA (its --sync changes nothing on the wire), and fio with an asynchronous engine flushes at depth again and
again before it goes on writing, up to once per write where it should be once in 32 (seen with fio 3.33)."""
import os
from typing import NamedTuple

import load_clients
import harness

LOAD_PROGRAM = os.path.join(harness.BUILD, 'bench', 'ringbolt-nbd-load')


class Workload(NamedTuple):
    pattern: str
    block_bytes: int
    depth: int
    flush_every: int = 0  # a flush after every n-th write
    fua: bool = False     # on every write


WORKLOADS = {
    'W1': Workload('randwrite', 4096, 1, flush_every=1),
    'W1F': Workload('randwrite', 4096, 1, fua=True),
    'W2': Workload('randwrite', 4096, 32),
    'W3': Workload('randwrite', 4096, 32, flush_every=32),
    'W4': Workload('randread', 4096, 32),
    'W5': Workload('write', 131072, 8),
    'W5L': Workload('write', 131072, 8),  # as W5, for so long that no log can hide what it costs
    'W6': Workload('randrw', 4096, 32),
    'W7': Workload('randwrite', 4096, 32, fua=True),
}


def describe(name):
    workload = WORKLOADS[name]
    words = {'randwrite': 'random writes', 'randread': 'random reads', 'write': 'sequential writes', 'randrw': 'random, 70 % reads'}[workload.pattern]
    durability = ', FUA each' if workload.fua else {0: '', 1: ', flush after each'}.get(workload.flush_every, f', flush after every {workload.flush_every}')
    return f'{workload.block_bytes >> 10} KiB {words}, depth {workload.depth}{durability}{", sustained" if name == "W5L" else ""}'


class Target(NamedTuple):
    """What a client loads: exports, one connection each (the same may come twice), or a file."""
    uris: list
    file: str = ''


class Load:
    """One workload against one target."""

    def __init__(self, name, target, size, seconds, seed, depth=None, more=()):
        """`size`: bytes of each export; `depth`: of each connection; `more`: further options of fio."""
        workload = WORKLOADS[name]._replace(**({'depth': depth} if depth else {}))
        self.name, self.workload, self.seconds = name, workload, seconds
        self.writes_files = bool(target.file)
        self.is_fio = bool(target.file) or not (workload.fua or workload.flush_every)
        if self.is_fio:
            self.command = fio(target, size, *_pattern(workload), '--time_based', f'--runtime={round(seconds * 1000)}ms', f'--randseed={seed}', '--norandommap',
                               *_durability(workload), *more)
        elif len(target.uris) != 1:
            raise harness.Failure(f'{name}: over several connections at a time it is not to be had')
        else:
            self.command = [LOAD_PROGRAM, target.uris[0], f'--rw={workload.pattern}', f'--bs={workload.block_bytes}', f'--depth={workload.depth}',
                            f'--seconds={seconds}', f'--fua={int(workload.fua)}', f'--flush-every={workload.flush_every}', f'--seed={seed}']

    def start(self):
        return load_clients.Client(self.command, self.seconds, self.writes_files)

    def result(self, client):
        """The figures of a client that start() returned."""
        result = (load_clients.parse_fio if self.is_fio else load_clients.parse_load)(client.text())
        # What was to be measured must have happened.
        if result['operations'] == 0:
            raise harness.Failure(f'{self.name}: nothing was done: {" ".join(self.command)}')
        every = self.workload.flush_every
        if every and abs(result['flushes'] * every - result['operations']) > 0.1 * result['operations'] + 2 * every:
            raise harness.Failure(f'{self.name}: {result["flushes"]} flushes for {result["operations"]} writes')
        if self.workload.fua and not self.is_fio and result['fua_writes'] != result['operations']:
            raise harness.Failure(f'{self.name}: not every write had FUA')
        return result


def fio(target, size, *options):
    """A command with a job for each connection, reported as one. Payloads are not made anew for each write: the client should not spend its time on
    random numbers. They are never zeros."""
    engine = ['--ioengine=io_uring', '--direct=1', f'--filename={target.file}'] if target.file else ['--ioengine=nbd']
    command = ['fio', '--output-format=json', '--group_reporting', '--lat_percentiles=1', '--clat_percentiles=0', '--percentile_list=50:99:99.9',
               f'--size={size}', *engine, *options]
    if target.file:
        return [*command, '--name=bench']
    for number, uri in enumerate(target.uris):
        command += [f'--name=bench{number}', f'--uri={uri}']
    return command


def fill(target, size, *options, seconds=3600):
    """Writes all of it, with random bytes: what is measured never meets blocks that were not written before."""
    load_clients.run(fio(target, size, '--rw=write', '--bs=1M', '--iodepth=8', '--refill_buffers', '--end_fsync=1', *options), seconds, bool(target.file))


def _pattern(workload):
    options = [f'--rw={workload.pattern}', f'--bs={workload.block_bytes}', f'--iodepth={workload.depth}']
    return options + (['--rwmixread=70'] if workload.pattern == 'randrw' else [])


def _durability(workload):
    """Of a file. Linux AIO in fio waits for a flush, so that there is one only."""
    if workload.fua:
        return ['--sync=dsync']
    if workload.flush_every:
        return ['--ioengine=libaio', f'--fdatasync={workload.flush_every}']
    return []
