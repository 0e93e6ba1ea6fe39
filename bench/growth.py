"""bench/compare growth: that an operation costs the same however large the volume is, however many volumes there are, and however long the daemon has
run; and how long a large volume takes to open."""
import os
import time

import load_clients
import harness
import opening
import options as values
import report
import systems
import workloads
from cluster import Cluster, Ringbolt
from plots import Axis, line_chart, short
from session import Session, load_words, measure, note
from workloads import Load

TITLE = 'Growth'
GROUP_BY = ('part', 'name', 'congestion', 'x')
PARTS = {'size': 'bytes of the volume', 'volumes': 'volumes of each daemon', 'time': 'minutes of load', 'open': 'bytes in the log'}
GROWTH_MAX = 1.2  # of the CPU time per operation, over the least x: more than what runs differ by
ONE, EIGHT = 'one volume busy', 'eight volumes busy'
DEPTH = 32  # in all, also of several volumes
MIB = 1 << 20
SMALL_VOLUME = 64 * MIB


def add_options(parser):
    parser.add_argument('--parts', type=values.a_list(values.one_of(PARTS)), default=list(PARTS), help=', '.join(PARTS))
    parser.add_argument('--sizes', type=values.a_list(values.size), default=[1 << 30, 100 << 30, 1 << 40], help='of sparse volumes (1GiB,100GiB,1TiB); over time the least of them counts, and it is full')
    parser.add_argument('--places', type=values.number(int, 64, 1 << 20), default=65536, help='blocks that are written, spread evenly over each of these (65536)')
    parser.add_argument('--counts', type=values.a_list(values.number(int, 1, 256)), default=[1, 4, 16, 64, 256], help='of volumes (1,4,16,64,256)')
    parser.add_argument('--many-wal-size', type=values.size, default=16 * MIB, help='of each of these (16MiB)')
    parser.add_argument('--minutes', type=values.number(float, 0.001, 10080), default=60, help='of load (60)')
    parser.add_argument('--open-size', type=values.size, default=1 << 40, help='of the volume that is opened (1TiB)')
    parser.add_argument('--open-logs', type=values.a_list(values.size), default=[16 * MIB, 64 * MIB, 256 * MIB], help='bytes written before it is killed (16MiB,64MiB,256MiB)')
    values.add_common(parser, runs=3, seconds=5)
    values.add_ringbolt(parser)


def run(options, build):
    systems.check(['RB2'])
    for size in options.sizes:
        if size // 4096 < options.places:
            raise harness.Failure(f'--places {options.places}: {values.size_text(size)} have {size // 4096} blocks only')
    with Session('growth', options, build, GROUP_BY, verdicts) as session:
        session.need_room(max(room(options, part) for part in options.parts))
        for congestion in options.congestion:
            with session.congestion.inside(congestion):
                for part in options.parts:
                    MEASURE[part](session, {'part': part, 'congestion': congestion})
    return session.report


def room(options, part):
    """On the disk, at the same time."""
    return {'size': len(options.sizes) * 2 * (options.places * 4096 + options.wal_size), 'volumes': max(options.counts) * 2 * (SMALL_VOLUME + options.many_wal_size),
            'time': 2 * (min(options.sizes) + options.wal_size), 'open': max(options.open_logs) + options.wal_size}[part]


def make(session, label, volumes, wal_size=None, copies=2):
    options = session.options
    if wal_size is not None:
        options = type(options)(**{**vars(options), 'wal_size': wal_size})
    directory = os.path.join(session.directory, label)
    os.mkdir(directory)
    name = f'RB{copies}'
    session.report['systems'][name] = {'description': systems.SHIPPED[name], 'commands': []}
    return session.add(Ringbolt(name, Cluster(directory, copies, volumes, options, label=label), 'sync_all'))


def measure_one(session, system, load, common, words):
    session.report['commands'][f'{common["part"]} {common["name"]} {common["x"]}'] = ' '.join(load.command)
    result = {**common, **measure(session, system, load)}
    session.keep(result, f'{common["part"]:7} {common["name"]:18} {words:>8} {load_words(result)}')


# --- size -------------------------------------------------------------------------------------------------

def spread(size, places):
    """fio's options for random blocks of `places`, evenly over `size`: what lies between is never written, so volumes of all sizes take the same room on the disk."""
    return [f'--blockalign={size // places // 4096 * 4096}']


def write_places(system, size, places):
    stride = size // places // 4096 * 4096
    skip = [f'--rw=write:{stride - 4096}'] if stride > 4096 else ['--rw=write']
    load_clients.run(workloads.fio(system.target(), size, *skip, '--bs=4k', '--iodepth=32', f'--number_ios={places}', '--refill_buffers', '--end_fsync=1'), 3600)


def measure_sizes(session, common):
    options = session.options
    made = {}
    for size in options.sizes:
        note(f'making a volume of {values.size_text(size)}')
        made[size] = make(session, f'size{values.size_text(size)}', {'vol0': size})
        made[size].cluster.start()
        write_places(made[size], size, options.places)
        made[size].stop()
    for repetition in range(1, options.runs + 1):
        for size in options.sizes if repetition % 2 == 1 else options.sizes[::-1]:
            made[size].start()
            for workload in ('W2', 'W4'):
                load = Load(workload, made[size].target(), size, options.seconds, repetition, more=spread(size, options.places))
                measure_one(session, made[size], load, {**common, 'name': workload, 'x': size, 'repetition': repetition}, values.size_text(size))
            made[size].stop()
    for size in options.sizes:
        session.remove(os.path.join(session.directory, f'size{values.size_text(size)}'))


# --- number -----------------------------------------------------------------------------------------------

def measure_volumes(session, common):
    """The same requests in flight at every number of volumes: to one of them, and to eight (or as many as there are)."""
    options = session.options
    for count in options.counts:
        note(f'making {count} volumes')
        system = make(session, f'many{count}', {f'vol{number}': SMALL_VOLUME for number in range(count)}, options.many_wal_size)
        system.start()
        busy = min(8, count)
        for name in list(system.cluster.volumes)[:busy]:
            workloads.fill(workloads.Target([system.cluster.uri(name)]), SMALL_VOLUME)
        system.rest()
        for repetition in range(1, options.runs + 1):
            for name, volumes in ((ONE, 1), (EIGHT, busy)):
                load = Load('W2', system.target(volumes=volumes), SMALL_VOLUME, options.seconds, repetition, depth=DEPTH // volumes)
                measure_one(session, system, load, {**common, 'name': name, 'x': count, 'repetition': repetition}, str(count))
        system.stop()
        session.remove(os.path.join(session.directory, f'many{count}'))


# --- time -------------------------------------------------------------------------------------------------

def measure_time(session, common):
    """One load after another on daemons that are not restarted, on a volume of the least size."""
    options, size = session.options, min(session.options.sizes)
    system = make(session, 'time', {'vol0': size})
    system.start()
    system.cluster.fill()
    system.rest()
    begin, number = time.monotonic(), 0
    while number < 2 or time.monotonic() - begin < options.minutes * 60:
        number += 1
        x = (time.monotonic() - begin) / 60
        result = {**common, 'name': 'W2', 'x': x, 'repetition': 1, **measure(session, system, Load('W2', system.target(), size, options.seconds, number)),
                  'resident_bytes': sum(node.rss_bytes() for node in system.cluster.nodes), 'descriptors': sum(node.fd_count() for node in system.cluster.nodes)}
        session.keep(result, f'time    {x:7.2f} min {load_words(result)}  {result["resident_bytes"] / MIB:.0f} MiB')
    system.stop()
    session.remove(os.path.join(session.directory, 'time'))


# --- opening ----------------------------------------------------------------------------------------------

def measure_open(session, common):
    options = session.options
    system = make(session, 'open', {'vol0': options.open_size}, copies=1)
    for repetition in range(1, options.runs + 1):
        for run in opening.measure(session, system, options.open_size, options.open_logs, repetition):
            session.keep({**common, 'repetition': repetition, **run}, f'{repetition}/{options.runs} open {run["name"]:12} {run["x"] / MIB:6.1f} MiB in the log: {run["seconds"]:.3f} s')
    session.remove(os.path.join(session.directory, 'open'))


MEASURE = {'size': measure_sizes, 'volumes': measure_volumes, 'time': measure_time, 'open': measure_open}


# --- the result -------------------------------------------------------------------------------------------

def lines(entries, key):
    """{name: [(x, value)]}."""
    series = {}
    for entry in entries:
        if key in entry:
            series.setdefault(entry['name'], []).append((entry['x'], entry[key]))
    return {name: sorted(points) for name, points in series.items()}


def verdicts(result):
    """Of each part and name whether it grows; of opening whether it is as fast as it has to be."""
    judged = []
    for congestion in result['options']['congestion']:
        for part in result['options']['parts']:
            entries = [entry for entry in result['medians'] if (entry['part'], entry['congestion']) == (part, congestion)]
            found = opening.verdicts(entries) if part == 'open' else [grows(part, name, points) for name, points in lines(entries, 'total_cpu_us_per_operation').items()]
            judged += [{**entry, 'part': part, 'congestion': congestion} for entry in found]
    return judged


def grows(part, name, points):
    """By the least x; over time the medians of its first and its last quarter count, as single runs differ."""
    if name == EIGHT:
        points = [(x, value) for x, value in points if x >= 8]  # of fewer volumes each has more in flight
    if len(points) < 2:
        return {'name': name, 'state': 'not measured', 'text': 'not measured: one point only'}
    quarter = max(1, len(points) // 4) if part == 'time' else 1
    first, last = (sorted(value for _, value in some)[len(some) // 2] for some in (points[:quarter], points[-quarter:]))
    most = last if part == 'time' else max(value for _, value in points)
    ratio = most / first if first else float('inf')
    state = 'pass' if ratio <= GROWTH_MAX else 'short'
    return {'name': name, 'state': state, 'measured': ratio, 'wanted': GROWTH_MAX,
            'text': f'{"pass" if state == "pass" else "it grows"}: CPU per operation at most {ratio:.2f} of the first'}


def show_x(part, x):
    return {'size': lambda: values.size_text(int(x)), 'volumes': lambda: f'{x:g}', 'time': lambda: f'{x:.1f}'}[part]()


def tables(result, is_short=False):
    options = result['options']
    parts = [f'Median of {options["runs"]} runs of {options["seconds"]:g} s, two copies, sync_all; requests in flight: {DEPTH}.']
    for congestion in options['congestion']:
        parts.append(f'### {report.congestion_words(result, congestion)}')
        for part in options['parts'] if not is_short else []:
            entries = [entry for entry in result['medians'] if (entry['part'], entry['congestion']) == (part, congestion)]
            if entries and part == 'open':
                parts.append(f'**Opening a volume of {values.size_text(options["open_size"])}**, one copy\n\n{opening.table(entries)}')
            elif entries:
                parts.append(f'**By {PARTS[part]}**\n\n{cost_table(part, entries)}')
        parts.append(report.table(['does it grow?', 'verdict'], [[f'{entry["part"]}, {entry["name"]}', entry['text']] for entry in result['verdicts'] if entry['congestion'] == congestion]))
    return '\n\n'.join(parts)


def cost_table(part, entries):
    header = ['load', PARTS[part], 'operations/s', 'p50 us', 'p99 us', 'CPU us/op', *(['resident, MiB'] if part == 'time' else [])]
    rows = []
    for entry in some_of(entries) if part == 'time' else entries:
        rows.append([f'{entry["name"]}{report.mark(entry)}', show_x(part, entry['x']), f'{entry["iops"]:,.0f}', report.microseconds(entry['p50_us']), report.microseconds(entry['p99_us']),
                     f'{entry["total_cpu_us_per_operation"]:.1f}', *([f'{entry["resident_bytes"] / MIB:.0f}'] if part == 'time' else [])])
    return report.table(header, rows)


def some_of(entries, most=12):
    """Of a long row evenly spread ones; plots have all."""
    entries = sorted(entries, key=lambda entry: entry['x'])
    return entries if len(entries) <= most else [entries[number * (len(entries) - 1) // (most - 1)] for number in range(most)]


PLOTTED = (('total_cpu_us_per_operation', 'cpu', 'server CPU us per operation'), ('iops', 'operations', 'operations per second'), ('p99_us', 'p99', 'p99, us'),
           ('resident_bytes', 'resident', 'bytes resident, both daemons'))


def plots(result):
    drawn = {}
    for congestion in result['options']['congestion']:
        for part in result['options']['parts']:
            entries = [entry for entry in result['medians'] if entry['part'] == part and entry['congestion'] == congestion]
            if part == 'open' and entries:
                drawn[f'growth-open-{congestion}.svg'] = opening.plot(entries)
                continue
            for key, name, label in PLOTTED:
                series = lines(entries, key)
                if series:
                    axis = Axis(PARTS[part], is_logarithmic=part != 'time', show=lambda x, part=part: show_x(part, x))
                    drawn[f'growth-{part}-{name}-{congestion}.svg'] = line_chart(f'By {PARTS[part]}', axis, Axis(label, show=short), series)
    return drawn
