"""bench/compare recovery: how fast a replica comes back, by the log or by a copy, and what clients notice of it.

Rebuilds without clients, and the disk by itself beside them, come first: the others write into the holes of the volume.
"""
import json
import os
import time

import load_clients
import harness
import options as values
import report
import systems
import workloads
from cluster import Cluster, Ringbolt
from medians import find
from plots import Bar, Bars, bar_chart
from rebuilds import LIMIT_SECONDS, Rebuilds, Recoveries
from session import Session, Watched, note
from workloads import Load, Target, describe

TITLE = 'Recovery'
GROUP_BY = ('part', 'name', 'congestion')
PARTS = {'raw': 'what the disk does by itself', 'rebuild': 'a replica is copied anew, no clients', 'catchup': 'a replica that was away gets from the log what it missed',
         'clients': 'a rebuild under load, and the load without it'}
IN_TURN = (('raw', 'rebuild'), ('catchup', 'clients'))
WITHOUT_CLIENTS = {'raw': '', 'rebuild': 'rebuild', 'catchup': 'catch-up:'}
MIB = 1 << 20
STRIDE = 64 * MIB  # data and holes take turns
RAW = {'read': ['read'], 'write': ['write'], 'read and write at once': ['read', 'write']}
SMALL, LARGE = '4 KiB random writes', '128 KiB sequential writes'
MISSED = {SMALL: ['--rw=randwrite', '--bs=4k', '--iodepth=32', '--norandommap'], LARGE: ['--rw=write', '--bs=128k', '--iodepth=8']}


def add_options(parser):
    parser.add_argument('--parts', type=values.a_list(values.one_of(PARTS)), default=list(PARTS), help=', '.join(PARTS))
    parser.add_argument('--size', type=values.size, default=10 << 30, help='of the volume (10GiB), half of it holes')
    parser.add_argument('--missed', type=values.size, default=256 * MIB, help='that is written while the replica is away (256MiB); half of the log at most')
    parser.add_argument('--raw-size', type=values.size, default=2 << 30, help='of each file for raw reads and writes (2GiB)')
    parser.add_argument('--raw-seconds', type=values.number(float, 0.1, 3600), default=5, help='of each of these (5)')
    values.add_common(parser, runs=3, seconds=30)
    values.add_ringbolt(parser, wal_size='1GiB')


def run(options, build):
    systems.check(['RB2'])
    if options.size < 2 * STRIDE or options.size % (2 * STRIDE):
        raise harness.Failure(f'--size {values.size_text(options.size)}: whole {values.size_text(2 * STRIDE)} are needed, data and holes in turn')
    if 'catchup' in options.parts and options.missed * 5 > options.wal_size * 2:
        raise harness.Failure(f'--missed {values.size_text(options.missed)}: --wal-size {values.size_text(options.wal_size)} keeps no more than two fifths of it safely')
    with Session('recovery', options, build, GROUP_BY) as session:
        session.need_room(2 * (options.size + options.wal_size) + ('raw' in options.parts) * 2 * options.raw_size)
        cluster = Cluster(session.directory, 2, {'vol0': options.size}, options)
        system = session.add(Ringbolt('RB2', cluster, 'sync_all'))
        session.report['systems']['RB2'] = {'description': systems.SHIPPED['RB2'], 'commands': system.commands()}
        note('filling the volume')
        cluster.start()
        fill(cluster, options.size)
        cluster.stop()
        for group in IN_TURN:
            parts = [part for part in group if part in options.parts]
            for repetition in range(1, options.runs + 1) if parts else ():
                for congestion in options.congestion:
                    with session.congestion.inside(congestion):
                        cluster.start()
                        for part in parts:
                            MEASURE[part](session, system, {'part': part, 'congestion': congestion, 'repetition': repetition})
                        cluster.stop()
    return session.report


def fill(cluster, size):
    """Random data in every other stride; the rest are holes."""
    workloads.fill(Target([cluster.uri()]), size, f'--io_size={size // 2}', '--zonemode=strided', f'--zonesize={STRIDE}', f'--zonerange={STRIDE}', f'--zoneskip={STRIDE}')


def keep(session, common, name, run, words):
    rate = f'{run["bytes_per_second"] / MIB:8.0f} MiB/s  ' if 'bytes_per_second' in run else ''
    session.keep({**common, 'name': name, **run}, f'{common["repetition"]}/{session.options.runs} {common["part"]:8} {name:36} {rate}{words}')


# --- the disk by itself -----------------------------------------------------------------------------------

def measure_raw(session, _, common):
    options = session.options
    paths = {job: os.path.join(session.directory, f'raw-{job}') for job in ('read', 'write')}
    for path in paths.values():
        # Written once, so that no block is allocated while it is measured.
        workloads.fill(Target([], path), options.raw_size)
    for block in ('256k', '1M'):
        for name, jobs in RAW.items():
            waited = session.wait_idle()
            command = ['fio', '--output-format=json', '--ioengine=io_uring', '--direct=1', '--iodepth=8', f'--bs={block}', f'--size={options.raw_size}',
                       '--time_based', f'--runtime={round(options.raw_seconds * 1000)}ms']
            for job in jobs:
                command += [f'--name={job}', f'--rw={job}', f'--filename={paths[job]}']
            watched = Watched([])
            text = load_clients.run(command, options.raw_seconds, writes_files=True)
            done = json.loads(text[text.index('{'):])['jobs']
            # Of both at once that of the slower one.
            keep(session, common, f'raw {name}, {block}', {'bytes_per_second': min(job[job['jobname']]['bw_bytes'] for job in done), **watched.figures(), **waited}, '')
    session.remove(*paths.values())


# --- without clients --------------------------------------------------------------------------------------

def timed(session, system, begin, wait):
    """What the servers did from `begin` until `wait` says how long it took."""
    waited = session.wait_idle()
    begin()
    watched = Watched(system.pids())
    seconds = wait()
    figures = watched.figures()
    return {'seconds': seconds, 'server_cpu_cores': figures['server_cpu_seconds'] / seconds, 'other_busy_cores': figures['other_busy_cores'], **waited}


def measure_catchup(session, system, common):
    cluster, options = system.cluster, session.options
    for name, shape in MISSED.items():
        catchup = Recoveries(cluster, 'catchup')
        catchup.replica.stop()
        cluster.primary.wait_volume(lambda volume: not volume['replicas'][0]['in_sync'], 'the replica to leave the in-sync set')
        load_clients.run(workloads.fio(Target([cluster.uri()]), options.size, *shape, f'--io_size={options.missed}', f'--randseed={common["repetition"]}'), LIMIT_SECONDS)
        run = timed(session, system, catchup.replica.start, catchup.wait)
        run.update(bytes_per_second=options.missed / run['seconds'], missed_bytes=options.missed)
        keep(session, common, name, run, f'{run["seconds"]:.2f} s')
        system.rest()


def measure_rebuild(session, system, common):
    options, rebuilds = session.options, Rebuilds(system.cluster)
    # The daemons were stopped cleanly since it was written: nothing of it is in the log only.
    data = os.stat(system.cluster.primary.image_path()).st_blocks * 512
    for name, begin in (('onto a new disk', rebuilds.blank), ('over an old copy', rebuilds.order)):
        run = timed(session, system, begin, rebuilds.wait)
        run.update(bytes_per_second=options.size / run['seconds'], data_bytes=data, data_bytes_per_second=data / run['seconds'])
        keep(session, common, name, run, f'{run["seconds"]:.2f} s')
        system.rest()


# --- what clients notice ----------------------------------------------------------------------------------

WITHOUT, WITH = 'without a rebuild', 'while a rebuild runs'


def measure_clients(session, system, common):
    for name in (WITHOUT, WITH) if common['repetition'] % 2 == 1 else (WITH, WITHOUT):
        waited = session.wait_idle()
        load = Load('W2', system.target(), session.options.size, session.options.seconds, common['repetition'])
        session.report['commands']['W2'] = ' '.join(load.command)
        watched = Watched(system.pids())
        with load.start() as client:
            rebuilt = rebuild_under_load(system, client, session.options.size) if name == WITH else {}
            result = load.result(client)
        run = {key: result[key] for key in ('operations', 'iops', 'p50_us', 'p99_us', 'p999_us')}
        run.update(rebuilt, **watched.figures(), **waited)
        system.cluster.wait_healthy(LIMIT_SECONDS)
        system.rest()
        keep(session, common, name, run, f'{run["iops"]:8.0f} IOPS  p50 {run["p50_us"]:.0f} us  p99 {run["p99_us"]:.0f} us  p99.9 {run["p999_us"]:.0f} us')


def rebuild_under_load(system, client, size):
    """One rebuild after the other for as long as the client runs: how much of the volume was done a second, flushes, proofs and new beginnings included."""
    rebuilds = Rebuilds(system.cluster)
    began, ended = time.monotonic(), 0
    done = seconds = 0
    while client.is_running():
        rebuilds.order()
        while client.is_running() and (now := rebuilds.done_bytes()) is not None:
            done, seconds = ended * size + now, time.monotonic() - began
            time.sleep(0.05)
        if client.is_running():
            rebuilds.wait()
            ended += 1
            done, seconds = ended * size, time.monotonic() - began
    if not done:
        raise harness.Failure('nothing was rebuilt while the client ran: --seconds is too small')
    return {'bytes_per_second': done / seconds, 'rebuilds_ended': ended}


MEASURE = {'raw': measure_raw, 'catchup': measure_catchup, 'rebuild': measure_rebuild, 'clients': measure_clients}


# --- the result -------------------------------------------------------------------------------------------

def tables(result, is_short=False):
    options = result['options']
    parts = [f'Median of {options["runs"]} runs. Volume of {values.size_text(options["size"])}, half of it data and half holes; both copies, and so reading and writing, '
             'are on one disk.']
    for congestion in options['congestion']:
        entries = [entry for entry in result['medians'] if entry['congestion'] == congestion]
        if entries:
            parts.append(f'### {report.congestion_words(result, congestion)}')
            parts += [make(entries) for make in (idle_table, client_table)]
    return '\n\n'.join(part for part in parts if part)


def full_name(entry):
    return f'{WITHOUT_CLIENTS[entry["part"]]} {entry["name"]}'.strip()


def idle_table(entries):
    """Without clients, and what the disk does by itself."""
    rows = []
    for entry in entries:
        if entry['part'] in WITHOUT_CLIENTS:
            data = entry.get('data_bytes_per_second', entry['bytes_per_second'])
            seconds, cores = (f'{entry[key]:.{digits}f}' if key in entry else '' for key, digits in (('seconds', 1), ('server_cpu_cores', 2)))
            rows.append([full_name(entry) + report.mark(entry), f'{data / MIB:,.0f}', f'{entry["bytes_per_second"] / MIB:,.0f}', seconds, cores])
    return rows and report.table(['no clients', 'MiB/s of data', 'MiB/s of the volume', 'seconds', 'daemons, cores'], rows)


def client_table(entries):
    rows = []
    for name in (WITHOUT, WITH):
        entry = find(entries, part='clients', name=name)
        if entry:
            rebuilt = [f'{entry["bytes_per_second"] / MIB:,.0f}', f'{entry["rebuilds_ended"]:g}'] if name == WITH else ['', '']
            rows.append([name + report.mark(entry), f'{entry["iops"]:,.0f}', *(report.microseconds(entry[key]) for key in ('p50_us', 'p99_us', 'p999_us')), *rebuilt])
    return rows and report.table([f'clients: {describe("W2")}', 'operations/s', 'p50 us', 'p99 us', 'p99.9 us', 'rebuild, MiB/s of the volume', 'rebuilds that ended'], rows)


def plots(result):
    drawn = {}
    for congestion in result['options']['congestion']:
        entries = [entry for entry in result['medians'] if entry['congestion'] == congestion]
        rates = [Bar(full_name(entry), *[entry.get('data_bytes_per_second', entry['bytes_per_second']) / MIB] * 3)
                 for entry in entries if entry['part'] in WITHOUT_CLIENTS]
        times = [Bars(words, [Bar(entry['name'], *[entry[key]] * 3) for entry in entries if entry['part'] == 'clients'])
                 for key, words in (('p50_us', 'p50'), ('p99_us', 'p99'), ('p999_us', 'p99.9'))]
        if rates:
            drawn[f'recovery-rates-{congestion}.svg'] = bar_chart('Recovery without clients', 'MiB/s of data', [Bars('Rates', rates)])
        if times[0].bars:
            drawn[f'recovery-latency-{congestion}.svg'] = bar_chart('What clients notice of a rebuild', 'us', times)
    return drawn
