"""What bench/profile measured, as Markdown."""
import cpu_stages
import options as values
import report
from counters import FINEST_US
from workloads import describe

UNKNOWN = 'unknown'
# Of a daemon: words, key, how it is shown.
FIGURES = [
    ('turns of the loop', 'turns_per_request', '.3f'),
    ('io_uring_enter', 'enters_per_request', '.3f'),
    ('submissions per enter', 'submissions_per_enter', '.2f'),
    ('completions per turn', 'completions_per_turn', '.2f'),
    ('other system calls', 'others_per_request', '.4f'),
    ('context switches, voluntary', 'voluntary_switches_per_request', '.3f'),
    ('context switches, involuntary', 'involuntary_switches_per_request', '.3f'),
    ('heap that shards asked for, bytes', 'allocated_bytes_per_request', '.2f'),
    ('io-wq workers, most at a time', 'ring_workers', 'd'),
    ('their context switches', 'worker_switches_per_request', '.4f'),
    ('CPU, us', 'cpu_us_per_request', '.2f'),
    ('shards at work, us', 'working_us_per_request', '.2f'),
    ('shards spinning, us', 'spinning_us_per_request', '.2f'),
    ('shards asleep, us', 'asleep_us_per_request', '.2f'),
    ('written to the log, bytes', 'wal_bytes_per_request', ',.0f'),
    ('copied to the image, bytes', 'checkpointed_bytes_per_request', ',.0f'),
]
DEVICE = [('writes', '.3f'), ('written_bytes', ',.0f'), ('reads', '.3f'), ('read_bytes', ',.0f'), ('flushes', '.4f')]


def markdown(result):
    counted, calls, cpu = result['runs']
    options, client = result['options'], counted['client']
    copies = f'{options["copies"]} {"copy" if options["copies"] == 1 else "copies"}'
    head = (f'{options["workload"]}: {describe(options["workload"])}; {copies}, {options["durability"]}, volume of {values.size_text(options["size"])}, '
            f'runs of {options["seconds"]:g} s: {client["iops"]:,.0f} operations/s, {counted["requests"]:,.0f} requests.')
    return '\n\n'.join(['## Profile', report.head(result), head, stage_table(counted), daemon_table(counted, calls), device_table(counted['device']), cpu_table(cpu)]) + '\n'


def stage_table(counted):
    rows = [[row['stage'], ratio(row['per_request']), *(stage_time(row[key]) if key in row else '' for key in ('mean_us', 'p50_us', 'p99_us'))] for row in counted['stages']]
    return '**Time, by stage**\n\n' + report.table(['stage', 'per request', 'mean us', 'p50 us', 'p99 us'], rows)


def ratio(value):
    return f'{value:.3f}' if value >= 0.01 else f'{value:.5f}'


def stage_time(value):
    return f'<{FINEST_US}' if value is None else report.microseconds(value)


def daemon_words(daemon):
    return f'{daemon["name"]} ({daemon["role"]})'


def show(value, how):
    return UNKNOWN if value is None else format(value, how)


def daemon_table(counted, calls):
    others = {daemon['name']: daemon['others_per_request'] for daemon in calls['daemons']}
    daemons = [{**daemon, 'others_per_request': others.get(daemon['name'])} for daemon in counted['daemons']]
    rows = [[words, *(show(daemon[key], how) for daemon in daemons)] for words, key, how in FIGURES]
    parts = ['**Each daemon, per request**', report.table(['in the middle of the run', *map(daemon_words, daemons)], rows)]
    if not calls['how']:
        parts.append(f'Other system calls are unknown: {calls["why"]}.')
    else:
        parts.append(f'Other system calls were counted in a run of their own, by {calls["how"]}.')
        named = {call for daemon in calls['daemons'] for call in daemon['calls_per_request']} - {'others'}
        if named:
            parts.append(f'They were: {", ".join(sorted(named))}.')
    return '\n\n'.join(parts)


def device_table(device):
    if not device:
        return 'What the disk did is unknown: it is none of the machine\'s block devices.'
    rows = [[words.replace('_', ' '), show(device.get(f'{words}_per_request'), how)] for words, how in DEVICE]
    return f'**The disk {device["name"]}, per request: all daemons, and whoever else uses it**\n\n' + report.table(['', ''], rows)


def cpu_table(cpu):
    title = '**CPU by stage, us per request**\n\n'
    if not cpu['daemons']:
        return f'{title}Unknown: {cpu["why"]}.'
    daemons = cpu['daemons']
    rows = [[stage, *(f'{daemon["stages"].get(stage, 0):.2f}' for daemon in daemons)]
            for stage in cpu_stages.STAGES if any(stage in daemon['stages'] for daemon in daemons)]
    rows.append(['together', *(f'{daemon["cpu_us_per_request"]:.2f}' for daemon in daemons)])
    words = f'{title}{report.table(["", *map(daemon_words, daemons)], rows)}\n\nBy {sum(daemon["samples"] for daemon in daemons):,} samples of perf, in a run of its own.'
    if not cpu['sees_kernel']:
        words += ' perf may not look into the kernel here (`kernel.perf_event_paranoid`): this is what was done outside of it.'
    return words
