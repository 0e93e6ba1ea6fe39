"""What the end-to-end scripts share: daemons under test, clients, results as TAP.

    from harness import Script
    with Script() as script:
        node = script.node('n1', [{'name': 'vol0', 'size': '64MiB', 'role': 'primary'}])
        node.start()
        with script.test('a property in one sentence'):
            assert node.get('/healthz')[0] == 200

Waiting is always for a condition, with a generous limit that only a broken program reaches. Daemons
and clients that are left over are ended, the scratch directory is removed unless a test failed.

Every limit lies within the one around it, or the inner one could never report: a client's within its test's, all
tests' within the script's, which is tools/run-tests' default or stands in the script ("# run-seconds: 1800").

Environment: RINGBOLT_BUILD (where ringboltd is; default: build/), RINGBOLT_SCRATCH (where the scratch
directory is made; it must be on a file system with O_DIRECT; default: /var/tmp), RINGBOLT_SCRIPT_SECONDS (after
which whoever runs the script ends it).
"""
import contextlib
import ctypes
import errno
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get('RINGBOLT_BUILD', os.path.join(TOP, 'build')))
RINGBOLTD = os.path.join(BUILD, 'ringboltd')
RINGBOLTCTL = os.path.join(BUILD, 'ringboltctl')
# The clients, and the nbd module of those written in Python, belong to the system.
CLIENT_PATH = '/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin'
# Limits, not expectations: long enough for a loaded machine with sanitizers.
WAIT_SECONDS = 120
TEST_SECONDS = 240
OUTPUT_BYTES_MAX = 1 << 20
SCRIPT_SECONDS = float(os.environ.get('RINGBOLT_SCRIPT_SECONDS', 'inf'))

_test_seconds = SCRIPT_SECONDS  # of the test that runs now


class Failure(AssertionError):
    """What a test found wrong, in words."""


def wait_for(condition, what, seconds=WAIT_SECONDS, every=0.05):
    """Calls `condition` until it returns something true and returns that."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise Failure(f'waited {seconds} s in vain for: {what}')
        time.sleep(every)


def run(command, seconds=WAIT_SECONDS, check=True, data=None, environment=None):
    """Runs a client with bounded time and output, in an empty directory. The result has returncode, out and err (text)."""
    assert seconds <= _test_seconds, f'{command} may take {seconds} s, its test {_test_seconds} s'
    variables = {**os.environ, 'PATH': CLIENT_PATH, **(environment or {})}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, \
            tempfile.TemporaryFile() as feed, tempfile.TemporaryDirectory() as here:
        feed.write(data or b'')
        feed.seek(0)
        process = subprocess.Popen(command, stdin=feed, stdout=out, stderr=err, env=variables,
                                   cwd=here, start_new_session=True,
                                   preexec_fn=end_with_parent)
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise Failure(f'did not end within {seconds} s: {command}') from None
        out.seek(0)
        err.seek(0)
        process.out = out.read(OUTPUT_BYTES_MAX).decode(errors='replace')
        process.err = err.read(OUTPUT_BYTES_MAX).decode(errors='replace')
    if check and process.returncode != 0:
        raise Failure(f'exit code {process.returncode} of {command}\n'
                      f'{process.out[-1500:]}\n{process.err[-1500:]}')
    return process


def ctl(node, *arguments, check=True):
    return run([RINGBOLTCTL, '--admin', node.admin_address, *arguments], check=check)


def end_with_parent():
    """In a new child: it is killed when this script ends, even if that is by a signal; and whoever started this script has not decided what SIGINT does
    (it is ignored in what a shell without job control runs in the background)."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG


_port_claims = []  # sockets; they end with the script
PORTS = range(10000, 30000)  # below those that the kernel gives to outgoing connections


def free_port():
    """A port on loopback that nobody listens on, and that no script that runs now has been given."""
    while True:
        port = random.SystemRandom().choice(PORTS)
        # Several scripts run at a time, and daemons are restarted: a name that only one process can have, for as long as it lives.
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f'\0ringbolt-e2e-port-{port}')
            with socket.socket() as probe:
                probe.bind(('127.0.0.1', port))
        except OSError as error:
            claim.close()
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            _port_claims.append(claim)
            return port


def toml_value(value):
    return json.dumps(value)  # strings, numbers, booleans and lists of them look the same in TOML


class Node:
    """One ringboltd with its configuration, data and log below `directory`.

    `volumes`: a dictionary per [[volume]], with 'replicas' a list of (id, address). Where 'path' is
    missing it is set, so that a test knows where the base image is. Change `volumes` or `options`
    ({'node.memory': '64MiB', ...}) and start again to reconfigure. `host`: one of network.Network's, on
    which it runs; without it all is on loopback.
    """

    def __init__(self, name, directory, volumes=(), options=None, host=None):
        self.name = name
        self.directory = directory
        self.volumes = [dict(volume) for volume in volumes]
        self.options = {'node.shards': 2, 'node.memory': '64MiB', **(options or {})}
        self.nbd_port, self.replication_port, self.admin_port = (free_port() for _ in range(3))
        self.data_directory = os.path.join(directory, name)
        self.config_path = os.path.join(directory, f'{name}.toml')
        self.log_path = os.path.join(directory, f'{name}.log')
        self.arguments = []  # further ones of the daemon
        self.environment = {}  # likewise
        self.process = None
        self.ip = host.address if host else '127.0.0.1'
        self._host = host

    @property
    def admin_address(self):
        return f'{self.ip}:{self.admin_port}'

    @property
    def replication_address(self):
        return f'{self.ip}:{self.replication_port}'

    @property
    def pid(self):
        return self.process.pid

    def uri(self, volume='vol0'):
        return f'nbd://{self.ip}:{self.nbd_port}/{volume}'

    def image_path(self, volume='vol0'):
        return next(v.get('path') or os.path.join(self.directory, f'{self.name}-{volume}.img')
                    for v in self.volumes if v['name'] == volume)

    def config_text(self):
        options = {'node.id': self.name, 'node.data_dir': self.data_directory,
                   'nbd.listen': [f'{self.ip}:{self.nbd_port}'],
                   'replication.listen': self.replication_address,
                   'admin.listen': self.admin_address, **self.options}
        lines = []
        for table in dict.fromkeys(key.split('.')[0] for key in options):
            lines.append(f'[{table}]')
            lines += [f'{key.split(".")[1]} = {toml_value(value)}'
                      for key, value in options.items() if key.split('.')[0] == table]
        for volume in self.volumes:
            lines.append('[[volume]]')
            values = {'wal_size': '32MiB', **volume, 'path': self.image_path(volume['name'])}
            replicas = values.pop('replicas', [])
            lines += [f'{key} = {toml_value(value)}' for key, value in values.items()]
            for replica_id, address in replicas:
                lines += ['[[volume.replica]]', f'id = {toml_value(replica_id)}',
                          f'address = {toml_value(address)}']
        return '\n'.join(lines) + '\n'

    def write_config(self):
        with open(self.config_path, 'w') as file:
            file.write(self.config_text())

    def start(self, wait=True):
        """Starts the daemon and, with `wait`, returns when its clients can connect."""
        assert self.process is None, f'{self.name} runs already'
        self.write_config()
        with open(self.log_path, 'ab') as log:
            self.process = subprocess.Popen([RINGBOLTD, '--config', self.config_path, *self.arguments],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={**os.environ, **self.environment},
                                            start_new_session=True,
                                            preexec_fn=self._in_child)
        if wait:
            self.wait_ready()

    def _in_child(self):
        end_with_parent()
        if self._host:
            self._host.enter()

    def wait_ready(self):
        def ready():
            if self.process.poll() is not None:
                raise Failure(f'{self.name} ended with exit code {self.process.returncode} '
                              f'instead of becoming ready:\n{self.log_tail()}')
            status, _ = self.try_get('/healthz')
            return status == 200
        wait_for(ready, f'{self.name} to become ready')

    def try_get(self, path, method='GET', body=None):
        """HTTP status and parsed body; (None, None) if nobody answers."""
        connection = http.client.HTTPConnection(self.ip, self.admin_port, timeout=30)
        try:
            connection.request(method, path, body)
            reply = connection.getresponse()
            text = reply.read()
        except (OSError, http.client.HTTPException):
            return None, None
        finally:
            connection.close()
        return reply.status, json.loads(text) if text else None

    def get(self, path, method='GET', body=None):
        status, body = self.try_get(path, method, body)
        if status is None:
            raise Failure(f'{self.name} does not answer {method} {path}\n{self.log_tail()}')
        return status, body

    def volume(self, name='vol0'):
        status, body = self.get(f'/v1/volumes/{name}')
        if status != 200:
            raise Failure(f'{self.name}: status {status} for volume {name}: {body}')
        return body

    def wait_volume(self, condition, what, name='vol0', seconds=WAIT_SECONDS):
        """Waits until `condition(volume)`; returns the volume."""
        last = {}

        def check():
            if self.process.poll() is not None:
                raise Failure(f'{self.name} ended with exit code {self.process.returncode}:\n'
                              f'{self.log_tail()}')
            status, body = self.try_get(f'/v1/volumes/{name}')
            last['seen'] = body
            return body if status == 200 and condition(body) else None
        try:
            return wait_for(check, what, seconds)
        except Failure as failure:
            raise Failure(f'{failure}; last seen: {json.dumps(last.get("seen"))}') from None

    def wait_mode(self, mode='publish_healthy', name='vol0', seconds=WAIT_SECONDS):
        return self.wait_volume(lambda volume: volume['mode'] == mode,
                                f'{self.name}: mode {mode} of {name}', name, seconds)

    def send(self, number):
        os.kill(self.process.pid, number)

    def stop(self, number=signal.SIGTERM, expect=0, seconds=WAIT_SECONDS):
        """Asks it to stop and checks the exit code."""
        self.send(signal.SIGCONT)
        self.send(number)
        self.wait_exit(expect, seconds)

    def wait_exit(self, expect, seconds=WAIT_SECONDS):
        try:
            code = self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f'{self.name} did not end within {seconds} s\n{self.log_tail()}') from None
        self.process = None
        if code != expect:
            raise Failure(f'{self.name} ended with exit code {code}, expected {expect}\n'
                          f'{self.log_tail()}')

    def kill(self):
        """kill -9. Its writes may still land for a while; the next start waits for them."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def pause(self):
        self.send(signal.SIGSTOP)

    def resume(self):
        self.send(signal.SIGCONT)

    def rss_bytes(self):
        with open(f'/proc/{self.pid}/statm') as file:
            return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')

    def fd_count(self):
        return len(os.listdir(f'/proc/{self.pid}/fd'))

    def log_text(self):
        with open(self.log_path, errors='replace') as file:
            return file.read()

    def log_tail(self):
        return '\n'.join(f'{self.name}: {line}' for line in self.log_text().splitlines()[-15:])

    def wait_log(self, text):
        wait_for(lambda: text in self.log_text(), f'"{text}" in the log of {self.name}')


class Pair:
    """A primary and one replica of 'vol0'; who is which can be swapped."""

    def __init__(self, script, size='64MiB', durability='sync_all', options=None, wal_size='32MiB', names=('n1', 'n2')):
        self.nodes = [script.node(name, options=options) for name in names]
        self.size, self.durability, self.wal_size = size, durability, wal_size
        self.epoch = 1
        self.primary, self.replica = self.nodes
        self.configure()

    def configure(self):
        volume = {'name': 'vol0', 'size': self.size, 'wal_size': self.wal_size,
                  'durability': self.durability, 'epoch': self.epoch}
        self.primary.volumes = [{**volume, 'role': 'primary', 'replicas': [
            (self.replica.name, self.replica.replication_address)]}]
        self.replica.volumes = [{**volume, 'role': 'replica'}]

    @property
    def uri(self):
        return self.primary.uri()

    def start(self):
        """Starts both and returns when the pair is healthy."""
        self.replica.start()
        self.primary.start()
        self.wait_healthy()

    def wait_healthy(self):
        return self.primary.wait_volume(
            lambda volume: volume['mode'] == 'publish_healthy' and volume['healthy'] and
            all(replica['in_sync'] for replica in volume['replicas']), 'a healthy pair')

    def stop(self, replica_first=False):
        """Stops both cleanly."""
        order = [self.replica, self.primary] if replica_first else [self.primary, self.replica]
        for node in order:
            node.stop()

    def stop_and_compare(self, expected=None):
        """Stops both cleanly: then both base images hold the same bytes, those of the file `expected`."""
        self.stop()
        paths = [node.image_path() for node in self.nodes] + ([expected] if expected else [])
        for path in paths[1:]:
            run(['cmp', paths[0], path])

    def swap(self):
        """Stops both cleanly, exchanges the roles under the next epoch, starts both."""
        self.stop()
        self.primary, self.replica = self.replica, self.primary
        self.epoch += 1
        self.configure()
        self.start()


class Script:
    """The frame of an end-to-end script: scratch directory, nodes, TAP."""

    def __init__(self):
        self.count = self.failed = 0
        self.nodes = []
        self.children = []
        self.directory = None

    def __enter__(self):
        parent = os.environ.get('RINGBOLT_SCRATCH', '/var/tmp')
        self.directory = tempfile.mkdtemp(prefix='ringbolt-e2e-', dir=parent)
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None and not issubclass(kind, SystemExit):
            self.count += 1
            self._not_ok('the script itself', ''.join(traceback.format_exception(kind, value, trace)))
        for node in self.nodes:
            if node.process is not None:
                node.kill()
        for child in self.children:
            if child.poll() is None:
                child.kill()
                child.wait()
        print(f'1..{self.count}', flush=True)
        if self.failed:
            print(f'# kept: {self.directory}', flush=True)
        else:
            shutil.rmtree(self.directory, ignore_errors=True)
        sys.exit(1 if self.failed else 0)

    def path(self, name):
        return os.path.join(self.directory, name)

    def node(self, name, volumes=(), options=None, host=None):
        node = Node(name, self.directory, volumes, options, host)
        self.nodes.append(node)
        return node

    def spawn(self, command, **options):
        """A helper process that is ended with the script."""
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                 env={**os.environ, 'PATH': CLIENT_PATH},
                                 preexec_fn=end_with_parent, **options)
        self.children.append(child)
        return child

    @contextlib.contextmanager
    def test(self, name, seconds=TEST_SECONDS):
        """One result. A failure is reported and the script goes on with the next.

        A client that waits for a request has no time limit of its own: after `seconds` the daemons
        are killed, which ends its wait, and what they said last is in the report.
        """
        global _test_seconds
        assert seconds < SCRIPT_SECONDS, f'a test may take {seconds} s, its script {SCRIPT_SECONDS} s'
        self.count += 1
        overdue = []
        watchdog = threading.Timer(seconds, self._end_overdue, (seconds, overdue))
        watchdog.start()
        try:
            _test_seconds = seconds
            yield
        except Exception:
            self._not_ok(name, traceback.format_exc() + ''.join(overdue))
        else:
            if overdue:
                self._not_ok(name, ''.join(overdue))
            else:
                print(f'ok {self.count} - {name}', flush=True)
        finally:
            _test_seconds = SCRIPT_SECONDS
            watchdog.cancel()
            watchdog.join()

    def _end_overdue(self, seconds, overdue):
        overdue.append(f'not done after {seconds} s, the daemons were killed\n')
        running = [node for node in self.nodes if node.process is not None]
        overdue += [f'{node.name}: {json.dumps(node.try_get("/v1/volumes"))}\n' for node in running]
        for node in running:
            node.process.kill()

    def skip(self, name, why):
        self.count += 1
        print(f'ok {self.count} - {name} # SKIP {why}', flush=True)

    def _not_ok(self, name, text):
        self.failed += 1
        print(f'not ok {self.count} - {name}')
        logs = ''.join(f'{node.log_tail()}\n' for node in self.nodes if os.path.exists(node.log_path))
        print('\n'.join('# ' + line for line in (text[-4000:] + '\n' + logs[-4000:]).splitlines()),
              flush=True)
