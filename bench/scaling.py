"""bench/compare scaling: what more depth, connections and volumes bring."""
import options as values
import report
import systems
from cluster import Cluster, Ringbolt
from medians import find
from plots import Axis, line_chart, short
from session import Session, load_words, measure, note
from workloads import WORKLOADS, Load, describe

TITLE = 'Scaling'
GROUP_BY = ('part', 'workload', 'system', 'congestion', 'x')
PARTS = {'depth': 'one connection, requests in flight', 'connections': 'connections to one volume', 'volumes': 'volumes, one connection each'}
KNOWN = [name for name, workload in WORKLOADS.items() if not workload.fua and not workload.flush_every and name != 'W5L']  # what fio's NBD engine does
SYSTEMS = [name for name in systems.SHIPPED if name != 'S0']


def add_options(parser):
    parser.add_argument('--parts', type=values.a_list(values.one_of(PARTS)), default=list(PARTS), help=', '.join(PARTS))
    parser.add_argument('--systems', type=values.a_list(values.one_of(SYSTEMS)), default=['SX', 'S4', 'RB2'], help=f'SX,S4,RB2, or of {", ".join(SYSTEMS)}; several volumes have those of ringbolt only')
    parser.add_argument('--workloads', type=values.a_list(values.one_of(KNOWN)), default=['W2', 'W4'], help=f'W2,W4, or of {", ".join(KNOWN)}')
    parser.add_argument('--depths', type=values.a_list(values.number(int, 1, 1024)), default=[1, 2, 4, 8, 16, 32, 64, 128], help='1 to 128')
    parser.add_argument('--counts', type=values.a_list(values.number(int, 1, 64)), default=[1, 2, 4, 8], help='of connections and of volumes (1,2,4,8)')
    parser.add_argument('--size', type=values.size, default=512 << 20, help='of each volume (512MiB)')
    values.add_common(parser, runs=3, seconds=3)
    values.add_ringbolt(parser)


def run(options, build):
    systems.check(options.systems)
    with Session('scaling', options, build, GROUP_BY) as session:
        session.need_room(room(options))
        made = make_systems(session)
        for repetition in range(1, options.runs + 1):
            for congestion in options.congestion:
                for system in made if repetition % 2 == 1 else made[::-1]:
                    with session.congestion.inside(congestion):
                        measure_system(session, system, repetition, congestion)
    return session.report


def volumes_of(options):
    return max(options.counts) if 'volumes' in options.parts else 1


def room(options):
    copies = sum(systems.RINGBOLT[name][0] for name in options.systems if name in systems.RINGBOLT)
    return max(systems.IMAGES.get(name, 0) for name in options.systems) * options.size + copies * volumes_of(options) * (options.size + options.wal_size)


def make_systems(session):
    options = session.options
    images, made = systems.Images(session.directory, options.size), []
    for name in options.systems:
        note(f'making the volumes of {name}')
        if name in systems.PEERS:
            system = systems.make_peer(name, session.directory, images)
        else:
            copies, durability = systems.RINGBOLT[name]
            volumes = {f'vol{number}': options.size for number in range(volumes_of(options))}
            system = Ringbolt(name, Cluster(session.directory, copies, volumes, options, label=name.lower()), durability)
        made.append(session.add(system))
        system.prepare()
        session.report['systems'][name] = {'description': systems.SHIPPED[name], 'commands': system.commands()}
    return made


def points(options, system):
    """(part, x, what a client is given: depth, connections, volumes)."""
    for part in options.parts:
        if part == 'depth':
            yield from ((part, depth, {'depth': depth}) for depth in options.depths)
        elif part == 'connections':
            yield from ((part, count, {'connections': count}) for count in options.counts)
        elif system.name in systems.RINGBOLT:
            yield from ((part, count, {'volumes': count}) for count in options.counts)


def measure_system(session, system, repetition, congestion):
    options = session.options
    system.start()
    for workload in options.workloads:
        for part, x, how in points(options, system):
            target = system.target(**{key: value for key, value in how.items() if key != 'depth'})
            load = Load(workload, target, options.size, options.seconds, repetition, depth=how.get('depth'))
            result = {'part': part, 'workload': workload, 'system': system.name, 'congestion': congestion, 'x': x, 'repetition': repetition, **measure(session, system, load)}
            session.report['commands'][f'{part} {x} {workload} {system.name}'] = ' '.join(load.command)
            session.keep(result, f'{repetition}/{options.runs} {part:11} {x:4} {workload:3} {system.name:10} {congestion:5} {load_words(result)}')
    system.stop()


# --- the result -------------------------------------------------------------------------------------------

def sections(result):
    """(congestion, part, workload, medians) of what was measured."""
    for congestion in result['options']['congestion']:
        for part in result['options']['parts']:
            for workload in result['options']['workloads']:
                entries = [entry for entry in result['medians'] if (entry['part'], entry['workload'], entry['congestion']) == (part, workload, congestion)]
                if entries:
                    yield congestion, part, workload, entries


def title(part, workload):
    words = describe(workload)
    return f'{words.split(", depth")[0]}: {PARTS[part]}' if part == 'depth' else f'{words} each: {PARTS[part]}'


def tables(result, is_short=False):
    options = result['options']
    parts = [f'Median of {options["runs"]} runs of {options["seconds"]:g} s, volumes of {values.size_text(options["size"])}.', report.described(result['systems'])]
    for congestion, part, workload, entries in sections(result):
        names = list(dict.fromkeys(entry['system'] for entry in entries))
        figures = [('operations/s', lambda entry: f'{entry["iops"]:,.0f}{report.mark(entry)}')]
        if not is_short:
            figures += [('p50 us', lambda entry: report.microseconds(entry['p50_us'])), ('p99 us', lambda entry: report.microseconds(entry['p99_us'])),
                        ('CPU us/op', lambda entry: f'{entry["total_cpu_us_per_operation"]:.1f}')]
        rows = []
        for x in sorted({entry['x'] for entry in entries}):
            found = [find(entries, x=x, system=name) for name in names]
            rows.append([str(x), *(show(entry) if entry else '' for entry in found for _, show in figures)])
        header = [part, *(f'{name} {words}' for name in names for words, _ in figures)]
        parts.append(f'**{workload}, {title(part, workload)}; {report.congestion_words(result, congestion)}**\n\n{report.table(header, rows)}')
    return '\n\n'.join(parts)


def plots(result):
    drawn = {}
    for congestion, part, workload, entries in sections(result):
        for key, label in (('iops', 'operations per second'), ('p99_us', 'p99, us'), ('total_cpu_us_per_operation', 'server CPU us per operation')):
            series = {}
            for entry in entries:
                series.setdefault(entry['system'], []).append((entry['x'], entry[key]))
            name = {'iops': 'operations', 'p99_us': 'p99', 'total_cpu_us_per_operation': 'cpu'}[key]
            drawn[f'scaling-{part}-{workload}-{name}-{congestion}.svg'] = line_chart(
                f'{workload}, {title(part, workload)}', Axis(part, is_logarithmic=True, show=str), Axis(label, show=short), series)
    return drawn
