"""bench/compare peers: every workload on every system, in turn, and the floors."""
import floors
import options as values
import report
import systems
from cluster import Cluster, Ringbolt
from medians import find
from plots import Bar, Bars, bar_chart
from session import Session, load_words, measure, note
from workloads import WORKLOADS, Load, describe

TITLE = 'ringbolt and its peers'
GROUP_BY = ('workload', 'system', 'congestion')
DEFAULT_WORKLOADS = [name for name in WORKLOADS if name != 'W1']
OVERVIEW = ['S0', 'SX', 'S1', 'S4', 'S5', 'RB2']


def add_options(parser):
    parser.add_argument('--systems', type=values.a_list(values.one_of(systems.SHIPPED)), default=systems.DEFAULT,
                        help=f'{", ".join(systems.SHIPPED)}; without it all but those with Linux AIO')
    parser.add_argument('--workloads', type=values.a_list(values.one_of(WORKLOADS)), default=DEFAULT_WORKLOADS, help=f'{", ".join(WORKLOADS)}; without it all but W1')
    parser.add_argument('--size', type=values.size, default=1 << 30, help='of each volume (1GiB)')
    parser.add_argument('--sustained', metavar='SECONDS', type=values.number(float, 0.1, 86400), default=floors.SUSTAINED_SECONDS,
                        help='of W5L, which only the systems of the floors run (60)')
    values.add_common(parser, runs=5, seconds=5)
    values.add_ringbolt(parser)


def run(options, build):
    systems.check(options.systems)
    with Session('peers', options, build, GROUP_BY, verdicts) as session:
        session.need_room(room(options))
        made = make_systems(session)
        for repetition in range(1, options.runs + 1):
            for workload in options.workloads:
                for congestion in options.congestion:
                    # Every other time in reverse, so that no system always follows the same one.
                    for system in made if repetition % 2 == 1 else made[::-1]:
                        if workload != 'W5L' or system.name in floors.SYSTEMS:
                            with session.congestion.inside(congestion):
                                measure_one(session, system, workload, repetition, congestion)
    return session.report


def room(options):
    """On the disk: images of peers, and of each number of copies images and logs."""
    copies = {int(name[2]) for name in options.systems if name in systems.RINGBOLT}
    peers = max(systems.IMAGES.get(name, 0) for name in options.systems)
    return peers * options.size + sum(copies) * (options.size + options.wal_size)


def make_systems(session):
    options = session.options
    images = systems.Images(session.directory, options.size)
    clusters, made = {}, []
    for name in options.systems:
        if name in systems.PEERS:
            made.append(systems.make_peer(name, session.directory, images))
            continue
        copies, durability = systems.RINGBOLT[name]
        if copies not in clusters:
            clusters[copies] = Cluster(session.directory, copies, {'vol0': options.size}, options)
        made.append(Ringbolt(name, clusters[copies], durability))
    for system in made:
        session.add(system)
        note(f'making the volumes of {system.name}')
        system.prepare()
        session.report['systems'][system.name] = {'description': systems.SHIPPED[system.name], 'commands': system.commands()}
    return made


def measure_one(session, system, workload, repetition, congestion):
    options = session.options
    system.start()
    load = Load(workload, system.target(), options.size, options.sustained if workload == 'W5L' else options.seconds, repetition)
    result = {'workload': workload, 'system': system.name, 'congestion': congestion, 'repetition': repetition, **measure(session, system, load)}
    system.stop()
    session.report['commands'][f'{workload} {system.name}'] = ' '.join(load.command)
    session.keep(result, f'{repetition}/{options.runs} {workload:3} {system.name:10} {congestion:5} {load_words(result)}')


# --- the result -------------------------------------------------------------------------------------------

def verdicts(result):
    """Of all floors whose workload was run."""
    known = {entry['workload'] for entry in result['medians']}
    return [entry for congestion in result['options']['congestion']
            for entry in floors.judge(result['medians'], result['options'], congestion=congestion) if entry['workload'] in known]


def tables(result, is_short=False):
    options = result['options']
    parts = [f'Operations per second, median of {options["runs"]} runs of {options["seconds"]:g} s in turn, volumes of {values.size_text(options["size"])}.']
    if not is_short:
        parts.append(report.described(result['systems']))
    for congestion in options['congestion']:
        judged = [entry for entry in result['verdicts'] if entry['congestion'] == congestion]
        parts.append(f'### {report.congestion_words(result, congestion)}')
        parts.append(overview(result, congestion, judged))
        parts.append(f'Floors: {floors.summary(judged)}.')
        if not is_short:
            parts.append(floor_table(judged))
            parts += [details(result, workload, congestion) for workload in options['workloads']]
    return '\n\n'.join(parts)


def overview(result, congestion, judged):
    """A row per workload, a column per system, and in the last one what became of the floors."""
    present = {entry['system'] for entry in result['medians']}
    columns = [name for name in OVERVIEW if name in present]
    rows = []
    for workload in result['options']['workloads']:
        entries = [find(result['medians'], workload=workload, system=name, congestion=congestion) for name in columns]
        if any(entries):
            rows.append([f'{workload} {describe(workload)}', *(f'{entry["iops"]:,.0f}{report.mark(entry)}' if entry else '' for entry in entries),
                         floor_words(judged, workload, 'iops')])
    entries = [find(result['medians'], workload='W2', system=name, congestion=congestion) for name in columns]
    if any(entries):
        rows.append(['server CPU per operation in W2, us', *(f'{entry["total_cpu_us_per_operation"]:.1f}' if entry and entry['system'] != 'S0' else '' for entry in entries),
                     floor_words(judged, 'W2', 'total_cpu_us_per_operation')])
    return report.table(['workload', *columns, 'floors'], rows)


def floor_words(judged, workload, figure):
    words = []
    for entry in judged:
        if entry['workload'] == workload and entry['figure'] == figure and entry['state'] != 'not measured':
            more = ' (above the disk)' if entry.get('above_limit') else ''
            words.append(f'{entry["floor"]}: {"pass" if entry["state"] == "pass" else "short"}, {entry["ratio"]:.2f} x{more}')
    return '; '.join(words)


def floor_table(judged):
    rows = []
    for entry in judged:
        figure = 'operations per second' if entry['figure'] == 'iops' else 'CPU us per operation'
        numbers = [f'{entry[key]:,.1f}' if key in entry else '' for key in ('measured', 'wanted')]
        ratio = f'{entry["ratio"]:.2f}' if entry.get('ratio') is not None else ''
        rows.append([f'{entry["workload"]}, {figure}', entry['floor'], *numbers, ratio, entry['text']])
    return report.table(['floor', 'wanted of RB2', 'measured', 'wanted', 'ratio', 'verdict'], rows)


def details(result, workload, congestion):
    entries = [entry for entry in result['medians'] if entry['workload'] == workload and entry['congestion'] == congestion]
    if not entries:
        return f'**{workload}**: not measured'
    # One of them is everybody's measure.
    bases = [name for name in ('S0', 'S4') if find(entries, system=name)]
    has_flushes = any('flush_p50_us' in entry for entry in entries)
    header = ['system', 'operations/s (least - most)', *(f'x {name}' for name in bases), 'MiB/s', 'p50 us', 'p99 us', 'p99.9 us',
              *(['flush p50 us', 'flush p99 us'] if has_flushes else []), 'server CPU us/op', 'with deferred', 'other cores']
    rows = []
    for entry in entries:
        times = ['p50_us', 'p99_us', 'p999_us'] + (['flush_p50_us', 'flush_p99_us'] if has_flushes else [])
        rows.append([entry['system'] + report.mark(entry), f'{entry["iops"]:,.0f} ({entry["iops_min"]:,.0f} - {entry["iops_max"]:,.0f})',
                     *(f'{entry["iops"] / find(entries, system=name)["iops"]:.2f}' for name in bases), f'{entry["bytes_per_second"] / (1 << 20):.1f}',
                     *(report.microseconds(entry[key]) if key in entry else '' for key in times), f'{entry["server_cpu_us_per_operation"]:.1f}',
                     f'{entry["total_cpu_us_per_operation"]:.1f}', f'{entry["other_busy_cores"]:.2f}'])
    limit = floors.limit_of(result['medians'], workload, congestion=congestion)
    words = f'\n\nLimit of the disk here: {limit[1]} = {limit[0]:,.0f} ({limit[2]}).' if limit else ''
    return f'**{workload}: {describe(workload)}**\n\n{report.table(header, rows)}{words}'


def plots(result):
    drawn = {}
    for congestion in result['options']['congestion']:
        for key, name, unit in (('iops', 'operations', 'operations per second'), ('total_cpu_us_per_operation', 'cpu', 'server CPU us per operation')):
            groups = []
            for workload in result['options']['workloads']:
                bars = [Bar(entry['system'], entry[key], entry.get(f'{key}_min', entry[key]), entry.get(f'{key}_max', entry[key]))
                        for entry in result['medians'] if entry['workload'] == workload and entry['congestion'] == congestion and (key == 'iops' or entry['system'] != 'S0')]
                if bars:
                    groups.append(Bars(f'{workload}: {describe(workload)}', bars))
            drawn[f'peers-{name}-{congestion}.svg'] = bar_chart(f'{unit.capitalize()}, {report.congestion_words(result, congestion)}', unit, groups)
    return drawn
