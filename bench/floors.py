"""What ringbolt has to reach beside its peers, and whether it does.

Ratios count: both numbers come from the same measurement, in turn. A floor that lies above what the disk allows here is said to, with
the limit: nobody could reach it on this machine.
"""
from typing import NamedTuple

import medians as medians_of

JUDGED = 'RB2'            # two copies, sync_all
SUSTAINED_SECONDS = 60    # of W5L, with a log of 256 MiB
SUSTAINED_WAL_BYTES = 256 << 20


class Floor(NamedTuple):
    workload: str
    factor: float
    base: str
    figure: str = 'iops'
    is_most: bool = False  # at most, rather than at least

    def words(self):
        return f'{"<=" if self.is_most else ">="} {self.factor:g} x {self.base}'


FLOORS = [
    Floor('W1F', 3, 'S4'), Floor('W1F', 1.3, 'S1'),
    Floor('W2', 4, 'S4'), Floor('W2', 0.5, 'SX'),
    Floor('W3', 4, 'S4'), Floor('W3', 1.5, 'S1'),
    Floor('W4', 2, 'S1'), Floor('W4', 0.7, 'SX'),
    Floor('W5L', 1.3, 'S4'),
    Floor('W6', 3, 'S4'), Floor('W6', 1.5, 'S1'),
    Floor('W7', 10, 'S4'), Floor('W7', 2, 'S1'),
    Floor('W2', 0.25, 'S4', 'total_cpu_us_per_operation', is_most=True),
]
SYSTEMS = ['S0', *dict.fromkeys(floor.base for floor in FLOORS), JUDGED]

# What the disk itself allows, as a part of S0 in the same workload, and why. Both copies are on one disk. None of W3: fio's raw writes wait
# for each flush, those of servers do not.
LIMITS = {
    'W1F': (1, 'each write waits for the disk once'),
    'W2': (1 / 2, 'two copies on one disk'),
    'W4': (1, 'each read is one of the disk'),
    'W5': (1 / 4, 'two copies on one disk, each once in the log and once in the image'),
    'W5L': (1 / 4, 'two copies on one disk, each once in the log and once in the image'),
    'W6': (1 / 1.3, 'seven reads of one copy and three writes of two'),
    'W7': (1 / 2, 'two copies on one disk'),
}


def limit_of(medians, workload, **group):
    """(operations per second, what it is, why), None where S0 was not measured or nothing is known."""
    raw = medians_of.find(medians, system='S0', workload=workload, **group)
    if raw is None or workload not in LIMITS:
        return None
    part, why = LIMITS[workload]
    return raw['iops'] * part, f'S0/{1 / part:g}' if part != 1 else 'S0', why


def judge(medians, options, **group):
    """A verdict for each floor whose numbers are there, and what is missing for the others. `group`: which of the medians (congestion=...)."""
    return [verdict(floor, medians, options, **group) for floor in FLOORS]


def verdict(floor, medians, options, **group):
    measured = medians_of.find(medians, system=JUDGED, workload=floor.workload, **group)
    base = medians_of.find(medians, system=floor.base, workload=floor.workload, **group)
    result = {'workload': floor.workload, 'figure': floor.figure, 'floor': floor.words(), **group}
    missing = [name for name, entry in ((JUDGED, measured), (floor.base, base)) if not entry]
    if missing:
        return {**result, 'state': 'not measured', 'text': f'not measured: {", ".join(missing)}'}
    value, reference = measured[floor.figure], base[floor.figure]
    wanted = floor.factor * reference
    reached = value <= wanted if floor.is_most else value >= wanted
    result.update(measured=value, wanted=wanted, ratio=value / reference if reference else None)
    remarks = list(_remarks(floor, measured, base, options))
    if reached:
        result.update(state='pass', text='pass')
    else:
        result.update(state='short', short_by=_short_by(floor, value, wanted))
        result['text'] = f'short by {100 * result["short_by"]:.0f} %'
        limit = None if floor.figure != 'iops' else limit_of(medians, floor.workload, **group)
        # A limit that was passed is none.
        if limit and value <= limit[0] < wanted:
            result.update(limit=limit[0], above_limit=True)
            remarks.insert(0, f'the floor lies above what the disk gives here: {limit[1]} = {limit[0]:,.0f} ({limit[2]}), of which this is {100 * value / limit[0]:.0f} %')
    result['text'] = '; '.join([result['text'], *remarks])
    return result


def _short_by(floor, value, wanted):
    """The part of the floor that is missing; of a most, by how much it is exceeded."""
    if wanted == 0:
        return 1.0
    return value / wanted - 1 if floor.is_most else 1 - value / wanted


def _remarks(floor, measured, base, options):
    if floor.workload == 'W5L':
        if options['sustained'] < SUSTAINED_SECONDS:
            yield f'sustained for {options["sustained"]:g} s only'
        if options['wal_size'] != SUSTAINED_WAL_BYTES:
            yield f'with a log of {options["wal_size"] >> 20} MiB'
    if medians_of.is_disturbed(measured) or medians_of.is_disturbed(base):
        yield 'disturbed by other programs'


def summary(verdicts):
    states = [entry['state'] for entry in verdicts]
    above = sum(entry.get('above_limit', False) for entry in verdicts)
    return (f'{states.count("pass")} of {len(states)} floors reached, {states.count("short")} not'
            f'{f" ({above} of these above what the disk gives here)" if above else ""}, {states.count("not measured")} not measured')
