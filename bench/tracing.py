"""perf and strace on running processes. What does not work here is no failure, but a reason in words (Unavailable)."""
import os
import re
import shutil
import signal
import subprocess
import tempfile

import facts
import harness

ENTER = 'io_uring_enter'
SAMPLES_PER_SECOND = 997  # not in step with timers
END_SECONDS = 60


class Unavailable(Exception):
    pass


class Tracer:
    """A program that watches processes until it is interrupted, and then says what it saw; or one that ends by itself."""

    def __init__(self, command, directory):
        self._command = command
        program = shutil.which(command[0], path=harness.CLIENT_PATH)
        if program is None:
            raise Unavailable(f'{command[0]} is not installed')
        self._said = tempfile.TemporaryFile(dir=directory)
        self._process = subprocess.Popen([program, *command[1:]], stdin=subprocess.DEVNULL, stdout=self._said, stderr=self._said, cwd=directory,
                                         start_new_session=True, preexec_fn=harness.end_with_parent)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def end(self, interrupt=True):
        """Its output."""
        if interrupt and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            code = self._process.wait(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            raise Unavailable(f'{self._command[0]} did not end within {END_SECONDS} s') from None
        self._said.seek(0)
        text = self._said.read().decode(errors='replace')
        if code not in (0, -signal.SIGINT, 128 + signal.SIGINT):
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            raise Unavailable(f'{" ".join(self._command[:2])}: {lines[0] if lines else f"exit code {code}"}')
        return text


# --- system calls -----------------------------------------------------------------------------------------

class Calls:
    """Counts system calls of each of `pids` while it runs: io_uring_enter, and all others."""

    def __init__(self, tracers, parse, how):
        self._tracers, self._parse, self.how = tracers, parse, how

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for tracer in self._tracers:
            tracer.__exit__()

    def end(self):
        """[{name: how many}], in the order of `pids`; 'others' where they have no names."""
        return [self._parse(tracer.end()) for tracer in self._tracers]


def by_perf(pids, directory):
    command = ['perf', 'stat', '-x,', '-e', f'syscalls:sys_enter_{ENTER}', '-e', 'raw_syscalls:sys_enter', '-p']
    return Calls(start_all([[*command, str(pid)] for pid in pids], directory), parse_stat, 'perf stat')


def by_strace(pids, directory):
    return Calls(start_all([['strace', '-f', '-c', '-p', str(pid)] for pid in pids], directory), parse_strace, 'strace, which slows the daemons')


def start_all(commands, directory):
    tracers = []
    try:
        for command in commands:
            tracers.append(Tracer(command, directory))
    except Unavailable:
        for tracer in tracers:
            tracer.__exit__()
        raise
    return tracers


def parse_stat(text):
    """count,unit,event,..."""
    counts = {}
    for line in text.splitlines():
        fields = line.split(',')
        if len(fields) > 2 and fields[0].isdigit():
            counts[fields[2]] = int(fields[0])
    everything, enters = counts.get('raw_syscalls:sys_enter'), counts.get(f'syscalls:sys_enter_{ENTER}')
    if everything is None or enters is None:
        raise Unavailable(f'perf stat: {text.strip().splitlines()[0] if text.strip() else "no counts"}')
    return {ENTER: enters, 'others': max(0, everything - enters)}  # they do not begin to count at the same moment


def parse_strace(text):
    """% time, seconds, usecs/call, calls, errors if any, name."""
    counts = {name: int(calls) for calls, name in re.findall(r'^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$', text, re.MULTILINE)}
    counts.pop('total', None)
    if not counts:
        raise Unavailable(f'strace: {text.strip().splitlines()[0] if text.strip() else "no counts"}')
    return counts


# --- where processors are -----------------------------------------------------------------------------------

class Samples:
    """Looks many times a second what `pids` do, while it runs. Where it may, by looking at all processors: a clock of each thread would be
    set anew at each of its context switches, which costs the daemons more than they do by themselves."""

    def __init__(self, pids, directory):
        self._path = os.path.join(directory, 'perf.data')
        self._pids = ','.join(map(str, pids))
        self._tracer = Tracer(['perf', 'record', '-e', 'cpu-clock', '-F', str(SAMPLES_PER_SECOND), '-g', '-N', '-o', self._path,
                               *(['-a'] if may_see_all() else ['-p', self._pids])], directory)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._tracer.__exit__()
        if os.path.exists(self._path):
            os.unlink(self._path)

    def end(self):
        """In perf's words, as cpu_stages reads them."""
        self._tracer.end()
        with Tracer(['perf', 'script', '-i', self._path, '--pid', self._pids, '-F', 'comm,pid,ip,sym,dso'], os.path.dirname(self._path)) as script:
            return script.end(interrupt=False)


def may_see_all():
    return os.geteuid() == 0 or int(facts.file_line('/proc/sys/kernel/perf_event_paranoid') or 9) <= 0
