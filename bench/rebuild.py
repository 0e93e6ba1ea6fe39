#!/usr/bin/python3
"""Measures rebuilds of a replica: how fast the base lane is beside what the disk does by itself, and what clients notice.

  bench/rebuild.py                                 a volume of 10 GiB, about 20 minutes
  bench/rebuild.py --size 1GiB --reps 1 --seconds 5 --no-wait
  bench/rebuild.py --json rebuild.json > rebuild.md

bench/README.md says how to read the result.
"""
import argparse
import datetime
import json
import os
import re
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# The harness is told by the environment, so the options that it depends on are read before it.
early = argparse.ArgumentParser(add_help=False)
early.add_argument('--build', default=os.path.join(TOP, 'build'))
os.environ['RINGBOLT_BUILD'] = os.path.abspath(early.parse_known_args()[0].build)

import facts  # noqa: E402
from fio import note, parse_size, save  # noqa: E402
from systems import RingboltPair  # noqa: E402
from workloads import Client, fio_command, harness, run_bounded  # noqa: E402

MIB = 1 << 20
STRIDE = 64 * MIB   # data and holes take turns
LOAD_MAX = 1.5
LIMIT_SECONDS = 3600


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, parents=[early], formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--size', type=parse_size, default=10 << 30, help='of the volume (10GiB): half random data, half holes')
    parser.add_argument('--reps', type=int, default=3, help='of which the median counts')
    parser.add_argument('--seconds', type=int, default=30, help='of a run with clients')
    parser.add_argument('--raw-size', type=parse_size, default=4 << 30, help='of the file for raw reads and writes (4GiB)')
    parser.add_argument('--raw-seconds', type=int, default=10)
    parser.add_argument('--parts', default='idle,clients', help='which of them')
    parser.add_argument('--no-wait', action='store_true', help='also on a busy machine: then it is no measurement')
    parser.add_argument('--data', default='/var/tmp', help='where the volumes are made')
    parser.add_argument('--json', metavar='FILE', help='host, every run, medians')
    parser.add_argument('--durability', default='sync_all')
    parser.add_argument('--wal-size', default='256MiB')
    parser.add_argument('--memory', default='256MiB')
    parser.add_argument('--shards', type=int, default=0, help='of each daemon; 0: one per core')
    options = parser.parse_args()
    if options.reps < 1 or options.seconds < 1 or options.size < 2 * STRIDE or options.size % STRIDE != 0:
        parser.error('--reps, --seconds or --size (whole 64 MiB) is out of range')
    return options


def wait_for_rest(limit=1800):
    """Until the machine has had little to do for a minute; false if that does not come."""
    deadline = time.monotonic() + limit
    since = None
    while time.monotonic() < deadline:
        if os.getloadavg()[0] >= LOAD_MAX:
            since = None
        elif since is None:
            since = time.monotonic()
        elif time.monotonic() - since > 60:
            return True
        time.sleep(2)
    return False


# --- the disk by itself -----------------------------------------------------------------------------------

RAW = {'read': ['read'], 'write': ['write'], 'read and write at once': ['read', 'write']}


def raw_command(directory, jobs, block, options):
    command = ['fio', '--output-format=json', '--ioengine=io_uring', '--direct=1', '--iodepth=8', f'--bs={block}', f'--size={options.raw_size}',
               '--time_based', f'--runtime={options.raw_seconds}', '--refill_buffers', '--allow_file_create=1']
    for job in jobs:
        command += [f'--name={job}', f'--rw={job}', f'--filename={os.path.join(directory, "raw-" + job)}']
    return command


def raw(directory, name, block, options):
    """Bytes per second; of both at once that of the slower one."""
    text = harness.run(raw_command(directory, RAW[name], block, options), options.raw_seconds + 60).out
    jobs = json.loads(text[text.index('{'):])['jobs']
    return min(job[job['jobname']]['bw_bytes'] for job in jobs)


def make_raw_files(directory, options):
    """Written once, so that no block is allocated while it is measured."""
    for name in ('raw-read', 'raw-write'):
        harness.run(['fio', f'--name={name}', '--ioengine=io_uring', '--direct=1', '--rw=write', '--bs=1M', '--iodepth=8', '--refill_buffers',
                     f'--size={options.raw_size}', f'--filename={os.path.join(directory, name)}', '--end_fsync=1', '--output-format=json'], LIMIT_SECONDS)


# --- a rebuild --------------------------------------------------------------------------------------------

def fill(uri, size):
    """Random data in every other stride; the rest are holes."""
    run_bounded(fio_command(uri, '--rw=write', '--bs=1M', '--iodepth=8', f'--size={size}', f'--io_size={size // 2}', '--zonemode=strided',
                            f'--zonesize={STRIDE}', f'--zonerange={STRIDE}', f'--zoneskip={STRIDE}', '--refill_buffers', '--end_fsync=1'), LIMIT_SECONDS)


def allocated(path):
    return os.stat(path).st_blocks * 512


def log_times(node, text):
    """When the lines with `text` were logged."""
    return [datetime.datetime.fromisoformat(line.split()[0]) for line in node.log_text().splitlines() if re.search(text, line)]


class Cores:
    """Of one daemon. Both would pin the thread that has the volume to the machine's first core, which two hosts do not share."""

    def __init__(self, cores):
        self._cores = cores

    def enter(self):
        os.sched_setaffinity(0, self._cores)


def give_cores(pair):
    """Half of the machine's to each daemon, if it has more than one."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return None
    halves = [cores[:len(cores) // 2], cores[len(cores) // 2:]]
    for node, half in zip(pair.nodes, halves):
        node._host = Cores(half)
    return halves


class Rebuilds:
    """Of the pair's replica."""

    def __init__(self, server):
        self.pair = server.pair
        self.begun = len(log_times(self.pair.primary, r'\(rebuild\) from Lsn'))
        self.ended = len(log_times(self.pair.primary, 'is rebuilt at Lsn'))

    def order(self):
        status, body = self.pair.primary.get('/v1/volumes/vol0/rebuild', 'POST', json.dumps({'replica': self.pair.replica.name}))
        if status != 202:
            raise harness.Failure(f'the order for a rebuild: {status} {body}')

    def blank(self):
        """New disks for the replica; it is rebuilt by itself."""
        self.pair.replica.stop()
        shutil.rmtree(self.pair.replica.data_directory)
        os.unlink(self.pair.replica.image_path())
        self.pair.replica.start()

    def wait(self):
        """Until the next one has ended and the pair is healthy; the seconds that it took, its last flush and proof included."""
        self.ended += 1
        primary = self.pair.primary
        primary.wait_volume(lambda v: len(log_times(primary, 'is rebuilt at Lsn')) >= self.ended and v['healthy'], 'the rebuild to end', seconds=LIMIT_SECONDS)
        end = log_times(primary, 'is rebuilt at Lsn')[self.ended - 1]
        begin = max(when for when in log_times(primary, r'\(rebuild\) from Lsn') if when <= end)
        return (end - begin).total_seconds()


def measure_idle(server, directory, options, report):
    pair = server.pair
    data = allocated(pair.primary.image_path())
    make_raw_files(directory, options)
    rebuilds = Rebuilds(server)
    for repetition in range(1, options.reps + 1):
        runs = {}
        for block in ('256k', '1M'):
            for name in RAW:
                runs[f'raw {name}, {block}'] = {'bytes_per_second': raw(directory, name, block, options)}
        for name, begin in (('rebuild, new disk', rebuilds.blank), ('rebuild, over an old copy', rebuilds.order)):
            pids = server.pids()
            cpu = facts.process_cpu_seconds([pair.primary.pid])
            begin()
            seconds = rebuilds.wait()
            runs[name] = {'bytes_per_second': options.size / seconds, 'data_bytes_per_second': data / seconds, 'seconds': seconds,
                          'primary_cpu_cores': (facts.process_cpu_seconds([pair.primary.pid]) - cpu) / seconds, 'servers': len(pids)}
        for name, run in runs.items():
            report['runs'].append({'part': 'idle', 'name': name, 'repetition': repetition, **run})
            note(f'{repetition}/{options.reps} {name:32} {run["bytes_per_second"] / MIB:8.0f} MiB/s')
        keep(options, report)
    for name in ('raw-read', 'raw-write'):
        os.unlink(os.path.join(directory, name))
    report['data_bytes'] = data


# --- what clients notice ----------------------------------------------------------------------------------

class RebuildAgain(threading.Thread):
    """Rebuilds the replica again and again while a client runs."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.rebuilds = Rebuilds(server)
        self.over = False
        self.seconds, self.error = [], None

    def run(self):
        try:
            while not self.over:
                self.rebuilds.order()
                self.seconds.append(self.rebuilds.wait())
        except Exception as error:   # told by who joins
            self.error = error


def measure_clients(server, options, report):
    client = Client(options.build, options.size, options.seconds)
    for repetition in range(1, options.reps + 1):
        names = ['without a rebuild', 'with a rebuild']
        for name in names if repetition % 2 == 1 else names[::-1]:
            background = RebuildAgain(server) if name == 'with a rebuild' else None
            if background:
                background.start()
                server.pair.primary.wait_volume(lambda v: (v['replicas'][0]['session'] or {}).get('kind') == 'rebuild', 'the rebuild to begin')
            result = client.run('W2', server.uri(False), repetition)
            run = {key: result[key] for key in ('iops', 'p50_us', 'p99_us', 'p999_us')}
            if background:
                background.over = True
                run['ended_under_load'] = len(background.seconds)
                background.join(LIMIT_SECONDS)
                if background.error:
                    raise background.error
                run['rebuild_seconds'] = background.seconds
                run['longest_rebuild_seconds'] = max(background.seconds)
            report['runs'].append({'part': 'clients', 'name': name, 'repetition': repetition, **run})
            note(f'{repetition}/{options.reps} {name:32} {run["iops"]:8.0f} IOPS, p99 {run["p99_us"]:.0f} us, p99.9 {run["p999_us"]:.0f} us '
                 f'{[round(s, 1) for s in run.get("rebuild_seconds", [])]}')
            server.pair.wait_healthy()
            keep(options, report)


# --- the result -------------------------------------------------------------------------------------------

def medians(runs):
    groups = {}
    for run in runs:
        groups.setdefault(run['part'], {}).setdefault(run['name'], []).append(run)
    return {part: {name: {key: statistics.median(run[key] for run in group) for key in group[0] if isinstance(group[0][key], (int, float))}
                   for name, group in names.items()} for part, names in groups.items()}


def keep(options, report):
    report['medians'] = medians(report['runs'])
    if options.json:
        save(report, options.json)


def print_tables(report):
    host, options = report['host'], report['options']
    print(f'{host["cpu"]}, {host["cores"]} cores, Linux {host["kernel"]}; {host["file_system"]}. Volume {options["size"] >> 20} MiB, half of it holes; '
          f'median of {options["reps"]} runs. Both copies, and so reading and writing, are on one disk'
          f'{"; each daemon has half of the cores" if report["cores"] else ""}.')
    if not report['at_rest']:
        print('\n**The machine was busy: these are no measurements.**')
    idle = report['medians'].get('idle')
    if idle:
        print('\n| no clients | MiB/s of the volume | MiB/s of data | seconds | primary, cores |\n|---|---:|---:|---:|---:|')
        for name, run in idle.items():
            cells = [name, f'{run["bytes_per_second"] / MIB:.0f}']
            cells += [f'{run["data_bytes_per_second"] / MIB:.0f}', f'{run["seconds"]:.1f}', f'{run["primary_cpu_cores"]:.2f}'] if 'seconds' in run else [''] * 3
            print('| ' + ' | '.join(cells) + ' |')
        slower = min(run['bytes_per_second'] for name, run in idle.items() if name in ('raw read, 256k', 'raw write, 256k', 'raw read, 1M', 'raw write, 1M'))
        both = max(run['bytes_per_second'] for name, run in idle.items() if 'at once' in name)
        for name in ('rebuild, new disk', 'rebuild, over an old copy'):
            rate = idle[name]['data_bytes_per_second']
            print(f'\n{name}: data at {100 * rate / slower:.0f} % of the slowest of raw read and write, {100 * rate / both:.0f} % of both at once '
                  f'(with the holes {100 * idle[name]["bytes_per_second"] / slower:.0f} %).')
    clients = report['medians'].get('clients')
    if clients:
        print('\n| 4 KiB random writes, depth 32 | IOPS | p50 us | p99 us | p99.9 us | rebuilds that ended meanwhile | longest, s |')
        print('|---|---:|---:|---:|---:|---:|---:|')
        for name, run in clients.items():
            print(f'| {name} | {run["iops"]:.0f} | {run["p50_us"]:.0f} | {run["p99_us"]:.0f} | {run["p999_us"]:.0f} | {run.get("ended_under_load", "")} | '
                  f'{run.get("longest_rebuild_seconds", "")} |')


def main():
    options = parse_options()
    options.build = os.environ['RINGBOLT_BUILD']
    # A signal must not leave servers and gigabytes behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    at_rest = os.getloadavg()[0] < LOAD_MAX if options.no_wait else wait_for_rest()
    report = {'host': facts.host_facts(options.build, options.data), 'options': vars(options), 'at_rest': at_rest, 'runs': [], 'medians': {}}
    if not at_rest:
        note('the machine is busy: what follows is no measurement')
    directory = tempfile.mkdtemp(prefix='ringbolt-bench-', dir=options.data)
    server = RingboltPair(directory, options.size, options)
    report['cores'] = give_cores(server.pair)
    try:
        server.start()
        fill(server.uri(False), options.size)
        server.stop()
        server.start()
        if 'idle' in options.parts:
            measure_idle(server, directory, options, report)
        if 'clients' in options.parts:
            measure_clients(server, options, report)
        server.stop()
    except harness.Failure as failure:
        note(f'bench/rebuild.py: {failure}')
        return 1
    finally:
        server.kill()
        shutil.rmtree(directory, ignore_errors=True)
    keep(options, report)
    print_tables(report)
    return 0


if __name__ == '__main__':
    sys.exit(main())
