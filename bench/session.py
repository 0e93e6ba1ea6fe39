"""The frame of every measurement: a scratch directory that is gone afterwards, whatever happens, the report and its file, and what the machine did."""
import contextlib
import datetime
import json
import os
import shutil
import signal
import sys
import tempfile
import time

import facts
import harness
import medians
from congestion import Congestion, in_force
from idle import IdleGate

SCHEMA = 1  # of the JSON: results.schema.json


def note(text):
    print(text, file=sys.stderr, flush=True)


def leave(number, _frame):
    sys.exit(128 + number)


class Session:
    def __init__(self, kind, options, build, group_by, verdicts=lambda report: []):
        """`group_by`: what is the same in runs of which a median is taken; `verdicts`: on a report with medians."""
        self.options, self.directory, self._group_by, self._verdicts = options, None, group_by, verdicts
        self._systems = []
        self._idle = IdleGate(options.when_idle, options.idle_limit)
        shown = {key: value for key, value in vars(options).items() if isinstance(value, (int, float, str, list, type(None)))}
        self.report = {'schema': SCHEMA, 'kind': kind, 'began': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'), 'complete': False,
                       'host': facts.host_facts(build, options.dir), 'options': shown, 'systems': {}, 'commands': {}, 'runs': [], 'medians': [], 'verdicts': []}

    def __enter__(self):
        # A signal must not leave servers and gigabytes behind.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, leave)
        self.congestion = Congestion(self.options.congestion)
        self.directory = tempfile.mkdtemp(prefix='ringbolt-bench-', dir=self.options.dir)
        return self

    def __exit__(self, kind, *_):
        # Another signal comes too late to change anything.
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        for system in self._systems:
            system.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
        self.congestion.close()
        self.report['complete'] = kind is None
        self.save()

    def add(self, system):
        """It is ended with the session."""
        self._systems.append(system)
        return system

    def need_room(self, size):
        """On the disk, before any of it is used."""
        free = shutil.disk_usage(self.options.dir).free
        if free < size:
            raise harness.Failure(f'{self.options.dir}: {size >> 20} MiB are needed there, {free >> 20} MiB are free (smaller --size, or another --dir)')

    def remove(self, *paths):
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)

    def wait_idle(self):
        return self._idle.wait()

    def keep(self, run, words):
        """A run that is done."""
        self.report['runs'].append({**run, 'congestion_control': in_force()})
        self.report['medians'] = medians.of(self.report['runs'], self._group_by)
        self.report['verdicts'] = self._verdicts(self.report)
        self.save()
        note(f'{words}{busy_words(run)}')

    def save(self):
        """In one step: an interrupted benchmark leaves what was measured before."""
        if self.options.json:
            with open(self.options.json + '.new', 'w') as file:
                json.dump(self.report, file, indent=1)
                file.write('\n')
            os.replace(self.options.json + '.new', self.options.json)


def busy_words(run):
    words = f'  others {run["other_busy_cores"]:.2f} cores' if 'other_busy_cores' in run else ''
    return words + ('  (the machine did not become idle)' if run.get('idle') is False else '')


class Watched:
    """What a part of time cost: CPU of servers, of clients, and of others."""

    def __init__(self, pids):
        self._pids = pids
        self._server, self._busy, self._client = facts.process_cpu_seconds(pids), facts.machine_busy_seconds(), facts.children_cpu_seconds()
        self._began = time.monotonic()

    def figures(self):
        elapsed = time.monotonic() - self._began
        server = facts.process_cpu_seconds(self._pids) - self._server
        client = facts.children_cpu_seconds() - self._client
        busy = facts.machine_busy_seconds() - self._busy
        return {'server_cpu_seconds': server, 'client_cpu_seconds': client,
                # What neither is charged for: other programs, but also the kernel's own threads.
                'other_busy_cores': max(0.0, busy - server - client) / elapsed}


def measure(session, system, load):
    """One load of a system that runs. What it wrote and what is still to be done for it is waited for, and its CPU time told apart."""
    waited = session.wait_idle()
    pids = system.pids()
    watched = Watched(pids)
    with load.start() as client:
        result = load.result(client)
    figures = watched.figures()
    after = system.after()
    deferred = facts.process_cpu_seconds(pids)
    system.rest()
    deferred = facts.process_cpu_seconds(pids) - deferred
    operations = result['operations']
    return {**result, **figures, **after, **waited, 'deferred_cpu_seconds': deferred,
            'server_cpu_us_per_operation': figures['server_cpu_seconds'] * 1e6 / operations,
            'total_cpu_us_per_operation': (figures['server_cpu_seconds'] + deferred) * 1e6 / operations}


def load_words(run):
    return (f'{run["iops"]:9.0f} IOPS  p50 {run["p50_us"]:8.1f} us  p99 {run["p99_us"]:8.1f} us  '
            f'server {run["server_cpu_us_per_operation"]:6.1f} us/op')
