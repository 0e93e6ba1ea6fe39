#!/usr/bin/python3
"""Measures a replicated pair end to end, beside what Debian offers, in one run and alternating.

  bench/fio.py                                       everything, about 15 minutes
  bench/fio.py --workloads W2,W7 --systems ringbolt,qemu-nbd-unix --reps 5
  bench/fio.py --json results.json > results.md

bench/README.md says what the workloads and systems are and how to read the result.
"""
import argparse
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# The harness is told by the environment, so the options that it depends on are read before it.
early = argparse.ArgumentParser(add_help=False)
early.add_argument('--build', default=os.path.join(TOP, 'build'))
os.environ['RINGBOLT_BUILD'] = os.path.abspath(early.parse_known_args()[0].build)

import facts  # noqa: E402
import systems  # noqa: E402
from workloads import WORKLOADS, Client, describe, harness  # noqa: E402


def note(text):
    print(text, file=sys.stderr, flush=True)


def parse_size(text):
    units = {'KiB': 10, 'MiB': 20, 'GiB': 30, 'TiB': 40}
    for unit, shift in units.items():
        if text.endswith(unit):
            return int(text.removesuffix(unit)) << shift
    return int(text)


def names_of(known):
    def parse(text):
        names = text.replace(',', ' ').split()
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f'{name}: not one of {", ".join(known)}')
        if not names:
            raise argparse.ArgumentTypeError('none given')
        return names
    return parse


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, parents=[early],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seconds', type=int, default=5, help='of one run')
    parser.add_argument('--reps', type=int, default=3, help='runs of which the median counts')
    parser.add_argument('--workloads', type=names_of(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument('--systems', type=names_of(systems.SHIPPED), default=[
        'ringbolt', 'ringbolt-unix', 'qemu-nbd', 'qemu-nbd-unix'], help=', '.join(systems.SHIPPED))
    parser.add_argument('--size', type=parse_size, default=1 << 30, help='of the volume (1GiB)')
    parser.add_argument('--data', default='/var/tmp', help='where the volumes are made')
    parser.add_argument('--json', metavar='FILE', help='host, commands, every run, medians')
    parser.add_argument('--durability', default='sync_all')
    parser.add_argument('--wal-size', default='256MiB')
    parser.add_argument('--memory', default='256MiB')
    parser.add_argument('--shards', type=int, default=0, help='of each daemon; 0: one per core')
    options = parser.parse_args()
    if options.seconds < 1 or options.reps < 1 or options.size < 1 << 20 or options.size % 4096 != 0:
        parser.error('--seconds, --reps or --size is out of range')
    return options


def measure(system, client, workload, repetition, size):
    """One run: start, load, stop."""
    system.start(size)
    pids = system.server.pids()
    began = time.monotonic()
    before = (facts.process_cpu_seconds(pids), facts.machine_busy_seconds(),
              facts.children_cpu_seconds())
    result = client.run(workload, system.uri, repetition)
    server = facts.process_cpu_seconds(pids) - before[0]
    load = facts.children_cpu_seconds() - before[2]
    elapsed = time.monotonic() - began
    busy = facts.machine_busy_seconds() - before[1]
    after = system.server.after()
    system.server.stop()
    return {'system': system.name, 'workload': workload, 'repetition': repetition, **result, **after,
            'server_cpu_seconds': server,
            'server_cpu_us_per_operation': server * 1e6 / result['operations'],
            'client_cpu_seconds': load,
            # What neither is charged for: other programs, but also the kernel's own threads.
            'other_busy_cores': max(0.0, busy - server - load) / elapsed}


def medians(runs):
    """Per workload and system the median of every figure."""
    table = {}
    for run in runs:
        table.setdefault(run['workload'], {}).setdefault(run['system'], []).append(run)

    def summary(group):
        iops = [run['iops'] for run in group]
        keys = [key for key in group[0] if key not in ('system', 'workload', 'repetition')]
        return {'runs': len(group), 'iops_min': min(iops), 'iops_max': max(iops),
                **{key: statistics.median(run[key] for run in group if key in run) for key in keys}}

    return {workload: {system: summary(group) for system, group in by_system.items()}
            for workload, by_system in table.items()}


def microseconds(value):
    return f'{value:.0f}' if value >= 100 else f'{value:.1f}'


def print_tables(report):
    host = report['host']
    options = report['options']
    print(f'{host["cpu"]}, {host["cores"]} cores, Linux {host["kernel"]}; {host["file_system"]}; TCP '
          f'{host["tcp_congestion_control"]}. Median of {options["reps"]} runs of '
          f'{options["seconds"]} s, volume {options["size"] >> 20} MiB.\n')
    for name in options['systems']:
        print(f'- `{name}`: {systems.SHIPPED[name]}')
    for workload, by_system in report['medians'].items():
        print(f'\n**{workload}: {describe(workload)}**\n')
        flushes = any('flush_p50_us' in figures for figures in by_system.values())
        header = ['system', 'IOPS (min - max)', 'MiB/s', 'p50 us', 'p99 us', 'p99.9 us']
        header += ['flush p50 us', 'flush p99 us'] if flushes else []
        header += ['server CPU us/op', 'other cores']
        print('| ' + ' | '.join(header) + ' |\n' + '|---' + '|---:' * (len(header) - 1) + '|')
        for system, figures in by_system.items():
            cells = [system, f'{figures["iops"]:.0f} ({figures["iops_min"]:.0f} - '
                     f'{figures["iops_max"]:.0f})', f'{figures["bytes_per_second"] / (1 << 20):.1f}']
            times = ['p50_us', 'p99_us', 'p999_us']
            times += ['flush_p50_us', 'flush_p99_us'] if flushes else []
            cells += [microseconds(figures.get(key, 0)) for key in times]
            cells += [f'{figures["server_cpu_us_per_operation"]:.1f}',
                      f'{figures["other_busy_cores"]:.2f}']
            print('| ' + ' | '.join(cells) + ' |')


def save(report, path):
    """In one step: an interrupted run leaves what was measured before."""
    with open(path + '.new', 'w') as file:
        json.dump(report, file, indent=1)
        file.write('\n')
    os.replace(path + '.new', path)


def run_all(options, directory, report):
    client = Client(options.build, options.size, options.seconds)
    chosen = systems.make_systems(options.systems, directory, options.size, options)
    try:
        for repetition in range(1, options.reps + 1):
            for workload in options.workloads:
                # Every other time in reverse, so that no system always follows the same one.
                order = chosen if repetition % 2 == 1 else chosen[::-1]
                for system in order:
                    run = measure(system, client, workload, repetition, options.size)
                    report['runs'].append(run)
                    report['commands'][f'{workload} {system.name}'] = client.command(
                        workload, system.uri, repetition)
                    note(f'{repetition}/{options.reps} {workload:3} {system.name:18} '
                         f'{run["iops"]:9.0f} IOPS  p50 {run["p50_us"]:8.1f} us  '
                         f'p99 {run["p99_us"]:8.1f} us  '
                         f'server {run["server_cpu_us_per_operation"]:6.1f} us/op  '
                         f'others {run["other_busy_cores"]:.2f} cores')
                    report['medians'] = medians(report['runs'])
                    if options.json:
                        save(report, options.json)
        report['systems'] = {system.name: system.server.describe() for system in chosen}
    finally:
        for system in chosen:
            system.server.kill()


def main():
    options = parse_options()
    options.build = os.environ['RINGBOLT_BUILD']
    # A signal must not leave servers and gigabytes behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report = {'host': facts.host_facts(options.build, options.data), 'options': vars(options),
              'systems': {}, 'commands': {}, 'runs': [], 'medians': {}}
    directory = tempfile.mkdtemp(prefix='ringbolt-bench-', dir=options.data)
    try:
        run_all(options, directory, report)
    except harness.Failure as failure:
        note(f'bench/fio.py: {failure}')
        return 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    if options.json:
        save(report, options.json)
    print_tables(report)
    return 0


if __name__ == '__main__':
    sys.exit(main())
