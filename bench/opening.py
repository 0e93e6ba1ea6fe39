"""How long a large volume takes to open: after a clean stop, and after a crash with more or less in its log, beside how long the disk takes to read as much."""
import json
import os
import time

import load_clients
import harness
import report
import workloads
from plots import Axis, line_chart
from medians import find

CLEAN, CRASH = 'clean stop', 'crash'
CLEAN_SECONDS_MAX = 1.0
LOOK_SECONDS = 0.002


def measure(session, system, size, logs, repetition):
    """A run for each way to stop. `logs`: bytes written before a crash."""
    node = system.cluster.primary
    if repetition == 1:
        system.start()  # makes it
        system.stop()
    yield {'name': CLEAN, 'x': 0, **opened(session, system)}
    for written in logs:
        load(system, size, written, repetition)
        in_log = node.volume()['wal']['used_bytes']
        node.kill()
        rate = read_rate(wal_path(node), in_log)
        yield {'name': CRASH, 'x': in_log, 'written_bytes': written, 'read_bytes_per_second': rate, 'read_seconds': in_log / rate, **opened(session, system)}
        system.rest()
    system.stop()
    yield {'name': CLEAN, 'x': 0, **opened(session, system)}
    system.stop()


def opened(session, system):
    """Starts it; from the start of its process until it serves the volume."""
    waited = session.wait_idle()
    system.cluster.configure()
    node = system.cluster.primary
    begin = time.monotonic()
    node.start(wait=False)

    def serves():
        system.cluster.check()
        status, body = node.try_get('/v1/volumes/vol0')
        return status == 200 and body['healthy']
    harness.wait_for(serves, f'{node.name} to serve its volume', every=LOOK_SECONDS)
    return {'seconds': time.monotonic() - begin, **waited}


def load(system, size, written, seed):
    """Random blocks all over the volume."""
    load_clients.run(workloads.fio(system.target(), size, '--rw=randwrite', '--bs=4k', '--iodepth=32', '--norandommap', f'--io_size={written}', f'--randseed={seed}'), 3600)


def wal_path(node):
    return os.path.join(node.data_directory, 'volumes', 'vol0', 'wal')


def read_rate(path, size):
    """Of the disk: the log's own file, which was written."""
    block = 1 << 20
    text = load_clients.run(['fio', '--output-format=json', '--name=read', '--ioengine=io_uring', '--direct=1', '--rw=read', f'--bs={block}', '--iodepth=8', '--readonly',
                        f'--size={max(size // block, 1) * block}', f'--filename={path}'], 600)
    return json.loads(text[text.index('{'):])['jobs'][0]['read']['bw_bytes']


# --- the result -------------------------------------------------------------------------------------------

def crashes(entries):
    return sorted((entry for entry in entries if entry['name'] == CRASH), key=lambda entry: entry['x'])


def verdicts(entries):
    clean = find(entries, name=CLEAN)
    if not clean:
        return []
    judged = [judge(CLEAN, clean['seconds'], CLEAN_SECONDS_MAX, '')]
    # The process has to start in any case.
    return judged + [judge(f'{CRASH}, {entry["x"] / (1 << 20):.0f} MiB in the log', entry['seconds'], clean['seconds'] + entry['read_seconds'],
                           ' (a clean start, and reading the log at the disk\'s rate)') for entry in crashes(entries)]


def judge(name, seconds, wanted, words):
    state = 'pass' if seconds <= wanted else 'short'
    return {'name': name, 'state': state, 'measured': seconds, 'wanted': wanted,
            'text': f'{state if state == "pass" else "too long"}: {seconds:.3f} s, at most {wanted:.3f} s{words}'}


def table(entries):
    rows = [[f'{entry["name"]}{report.mark(entry)}', f'{entry["x"] / (1 << 20):.1f}', f'{entry["seconds"]:.3f}', f'{entry["read_seconds"]:.3f}' if 'read_seconds' in entry else '']
            for entry in [find(entries, name=CLEAN), *crashes(entries)] if entry]
    return report.table(['after', 'MiB in the log', 'seconds', 'reading that much, seconds'], rows)


def plot(entries):
    clean = find(entries, name=CLEAN)
    series = {'opening, seconds': [(entry['x'], entry['seconds']) for entry in [*([clean] if clean else []), *crashes(entries)]],
              'the disk reads as much': [(0, 0.0), *((entry['x'], entry['read_seconds']) for entry in crashes(entries))]}
    return line_chart('Opening a volume', Axis('MiB in the log', show=lambda x: f'{x / (1 << 20):.0f}'), Axis('seconds', show=lambda y: f'{y:.2f}'), series)
