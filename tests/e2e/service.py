#!/usr/bin/python3
# run-under: asan
"""The daemon as a service: what it tells the service manager (sd_notify), the watchdog, log lines for the journal. A socket
of this script stands in for systemd."""
import contextlib
import fcntl
import os
import re
import signal
import socket
import subprocess
import time

from debugging import thread_held
from harness import RINGBOLTD, WAIT_SECONDS, Script, run, wait_for

WATCHDOG_SECONDS = 0.6


class Manager:
    """The notices of one daemon, in the order in which they came, each with its assignments as a dictionary."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        self._socket.setblocking(False)
        self._notices = []
        self.environment = {'NOTIFY_SOCKET': path, 'WATCHDOG_USEC': str(int(WATCHDOG_SECONDS * 1e6))}

    def notices(self):
        """All so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                text = self._socket.recv(65536).decode()
                self._notices.append(dict(line.split('=', 1) for line in text.splitlines()))
        return self._notices

    def count(self, key):
        return sum(key in notice for notice in self.notices())

    def wait(self, key, more_than=0):
        wait_for(lambda: self.count(key) > more_than, f'more than {more_than} notices with {key}; there are {self.notices()}')

    def order(self):
        """What happened, without the watchdog and what is for people."""
        return [key for notice in self.notices() for key in ('READY', 'RELOADING', 'STOPPING') if key in notice]


def check_ready(script, node, manager):
    lock_path = os.path.join(node.data_directory, 'volumes/vol0/superblock')
    node.start()
    node.stop()
    node.environment = manager.environment
    with script.test('READY=1 comes when the daemon serves, and not before'):
        with open(lock_path) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # as a predecessor whose writes are in flight would: the volume cannot be opened yet
            node.start(wait=False)
            node.wait_log('waiting: ')
            assert wait_for(lambda: node.try_get('/healthz')[0], 'an answer') == 503
            node.send(signal.SIGHUP)
            assert manager.order() == [], manager.notices()
            assert any(notice.get('STATUS') == 'opening 1 volumes' for notice in manager.notices()), manager.notices()
        manager.wait('READY')
        node.wait_log('has nothing new')  # what was asked for meanwhile
        # At once, without waiting for anything else.
        assert node.get('/healthz')[0] == 200
        run(['nbdinfo', '--size', node.uri()])
        assert manager.notices()[-1].get('STATUS', 'serving 1 volumes') == 'serving 1 volumes', manager.notices()


def check_watchdog(script, node, manager):
    with script.test('WATCHDOG=1 comes again and again'):
        manager.wait('WATCHDOG', more_than=manager.count('WATCHDOG') + 3)

    def stands_still(ask):
        ask()  # what was under way when the thread stopped has come
        before = manager.count('WATCHDOG')
        end = time.monotonic() + 3 * WATCHDOG_SECONDS
        while time.monotonic() < end:
            ask()
            time.sleep(0.02)
        assert manager.count('WATCHDOG') == before, (before, manager.notices())

    def control_thread_answers():
        assert node.get('/nothing')[0] == 404
    for name, thread, ask in (('a shard', 'shard-1', control_thread_answers), ('the control thread', None, lambda: None)):
        with script.test(f'WATCHDOG=1 does not come while {name} hangs, and comes again when it goes on'):
            with thread_held(node.pid, thread):
                stands_still(ask)
            manager.wait('WATCHDOG', more_than=manager.count('WATCHDOG') + 1)


def check_reload(script, node, manager):
    with script.test('SIGHUP: RELOADING=1 with the time, then READY=1'):
        manager.wait('READY', more_than=1)  # after the one that came while it was starting
        node.send(signal.SIGHUP)
        manager.wait('READY', more_than=2)
        assert manager.order() == ['READY', 'RELOADING', 'READY', 'RELOADING', 'READY'], manager.notices()
        begun = next(notice for notice in manager.notices() if 'RELOADING' in notice)
        assert 0 <= time.clock_gettime(time.CLOCK_MONOTONIC) - int(begun['MONOTONIC_USEC']) / 1e6 < 3600, begun
    with script.test('SIGHUP with a mistake in the file: also READY=1, since it goes on as before'):
        with open(node.config_path, 'a') as file:
            file.write('nonsense')
        node.send(signal.SIGHUP)
        manager.wait('READY', more_than=3)
        assert manager.order()[-2:] == ['RELOADING', 'READY'], manager.notices()
        assert 'is not valid, nothing changes' in node.log_text()


def check_stop(script, node, manager):
    with script.test('STOPPING=1 comes first at a stop, and nothing says READY=1 after it'):
        node.stop()
        assert manager.order()[-2:] == ['READY', 'STOPPING'] and manager.count('STOPPING') == 1, manager.notices()


def check_failures(script):
    with script.test('a start that fails says why, and never READY=1'):
        manager = Manager(script.path('notify-failed'))
        with socket.socket() as taken:
            taken.bind(('127.0.0.1', 0))
            taken.listen()
            node = script.node('failed')
            node.admin_port = taken.getsockname()[1]
            node.write_config()
            result = run([RINGBOLTD, '--config', node.config_path], check=False, environment=manager.environment)
        assert result.returncode == 1 and manager.order() == [], (result.returncode, manager.notices())
        assert str(node.admin_port) in manager.notices()[-1]['STATUS'], manager.notices()
    with script.test('a manager that cannot be told, or has nonsense for its watchdog, is logged and does not matter'):
        node = script.node('untold', [{'name': 'vol0', 'size': '8MiB', 'role': 'primary'}])
        node.environment = {'NOTIFY_SOCKET': script.path('nobody'), 'WATCHDOG_USEC': 'soon'}
        node.start()
        node.wait_log('the service manager cannot be told "READY=1')
        node.wait_log("watchdog is not fed")
        node.stop()


def check_journal(script):
    def lines_with(stream_path):
        node = script.node('journal' + os.path.basename(stream_path), [{'name': 'vol0', 'size': '8MiB', 'role': 'primary'}])
        with open(node.log_path, 'w'), open(stream_path, 'a'):
            pass
        stream = os.stat(node.log_path if stream_path == script.path('own') else stream_path)
        node.environment = {'JOURNAL_STREAM': f'{stream.st_dev}:{stream.st_ino}'}
        node.start()
        node.options['node.memory'] = '96MiB'
        node.write_config()
        node.send(signal.SIGHUP)
        node.wait_log('needs a restart')
        with open(node.config_path, 'a') as file:
            file.write('nonsense')
        node.send(signal.SIGHUP)
        node.wait_log('is not valid')
        node.stop()
        return node, node.log_text().splitlines()
    with script.test('in the journal a line has its priority, and leaves the time to the journal'):
        node, lines = lines_with(script.path('own'))
        assert all(re.match(r'<[346]>\w', line) for line in lines), lines
        for mark, words in (('<6>', 'ready: nbd'), ('<4>', 'needs a restart'), ('<3>', 'is not valid')):
            assert any(line.startswith(mark) and words in line for line in lines), (mark, words, lines)
    with script.test('in the journal a start that fails is an error, too'):
        with open(script.path('failure'), 'w+') as log:
            stream = os.fstat(log.fileno())
            environment = {**os.environ, 'JOURNAL_STREAM': f'{stream.st_dev}:{stream.st_ino}'}
            code = subprocess.run([RINGBOLTD, '--config', node.config_path], stderr=log, env=environment, timeout=WAIT_SECONDS).returncode
            log.seek(0)
            text = log.read()
        assert code == 1 and re.match(rf'<3>{re.escape(node.config_path)}:\d+: ', text), (code, text)
    with script.test('where standard error is not the journal, lines have time and level'):
        _, lines = lines_with(script.path('other'))
        assert all(re.match(r'\d{4}-\d\d-\d\dT\S+ (info|warn|error)', line) for line in lines), lines


with Script() as main:
    the_node = main.node('n1', [{'name': 'vol0', 'size': '8MiB', 'role': 'primary'}])
    the_manager = Manager(main.path('notify'))
    check_ready(main, the_node, the_manager)
    check_watchdog(main, the_node, the_manager)
    check_reload(main, the_node, the_manager)
    check_stop(main, the_node, the_manager)
    check_failures(main)
    check_journal(main)
