"""Medians of runs that differ in their repetition only."""
import statistics

DISTURBED_CORES = 0.3  # that others used: then a number is no measurement


def of(runs, group_by):
    """A list with one entry per group: what it has in common, how many runs, and the median of every figure; of `iops` also least and most."""
    groups = {}
    for run in runs:
        groups.setdefault(tuple(run.get(key) for key in group_by), []).append(run)
    return [_median(dict(zip(group_by, values)), group) for values, group in groups.items()]


def _median(common, group):
    result = {**{key: value for key, value in common.items() if value is not None}, 'runs': len(group)}
    for key in dict.fromkeys(key for run in group for key in run):
        values = [run[key] for run in group if is_number(run.get(key))]
        if values and key not in result and key != 'repetition':
            result[key] = statistics.median(values)
            if key == 'iops':
                result['iops_min'], result['iops_max'] = min(values), max(values)
    result['idle'] = _all_idle(group)
    return result


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _all_idle(group):
    """None if nobody looked."""
    looked = [run.get('idle') for run in group]
    return None if any(value is None for value in looked) else all(looked)


def is_disturbed(entry):
    """Other programs had a part in this number."""
    return entry.get('other_busy_cores', 0) > DISTURBED_CORES or entry.get('idle') is False


def find(medians, **wanted):
    """The one entry with these values; None if there is none."""
    for entry in medians:
        if all(entry.get(key) == value for key, value in wanted.items()):
            return entry
    return None
