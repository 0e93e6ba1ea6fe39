"""The programs that load a server, with bounded time and output, and what they print as figures."""
import json
import os
import resource
import signal
import subprocess
import tempfile

import harness

# A client must end by itself soon after its time; fio's NBD engine spins and floods when its server dies.
SECONDS_MORE = 120
OUTPUT_BYTES_MAX = 4 << 20
PERCENTILES = (('p50', '50.000000'), ('p99', '99.000000'), ('p999', '99.900000'))


class Client:
    """One that runs; `with` it, so that it ends in any case."""

    def __init__(self, command, seconds, writes_files=False):
        self.command, self._limit = command, seconds + SECONDS_MORE
        self._out, self._err, self._here = tempfile.TemporaryFile(), tempfile.TemporaryFile(), tempfile.TemporaryDirectory()

        def in_child():
            harness.end_with_parent()
            if not writes_files:  # then all that it writes is output
                resource.setrlimit(resource.RLIMIT_FSIZE, (OUTPUT_BYTES_MAX, OUTPUT_BYTES_MAX))

        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._out, stderr=self._err, cwd=self._here.name,
                                         env={**os.environ, 'PATH': harness.CLIENT_PATH}, start_new_session=True, preexec_fn=in_child)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for file in (self._out, self._err):
            file.close()
        self._here.cleanup()

    def is_running(self):
        return self._process.poll() is None

    def text(self):
        """What it printed, when it has ended well."""
        try:
            ended = f'exit code {self._process.wait(timeout=self._limit)}'
        except subprocess.TimeoutExpired:
            ended = f'not done after {self._limit} s'
        for file in (self._out, self._err):
            file.seek(0)
        text, said = (file.read(OUTPUT_BYTES_MAX).decode(errors='replace') for file in (self._out, self._err))
        if self._process.returncode != 0:
            raise harness.Failure(f'{ended}: {" ".join(self.command)}\n{(said or text)[-1000:]}')
        return text


def run(command, seconds, writes_files=False):
    with Client(command, seconds, writes_files) as client:
        return client.text()


# --- what they print --------------------------------------------------------------------------------------

def parse_load(text):
    """ringbolt-nbd-load's."""
    load = json.loads(text)
    prefixes = ['', 'flush_'] if load['flushes'] else ['']
    return {'operations': load['reads'] + load['writes'], **{key: load[key] for key in ('seconds', 'iops', 'bytes_per_second', 'fua_writes', 'flushes')},
            **{f'{prefix}{key}_us': load[f'{prefix}{key}_us'] for prefix in prefixes for key in ('mean', *dict(PERCENTILES))}}


def parse_fio(text):
    """fio's, of one job or of a group that is reported as one."""
    job = json.loads(text[text.index('{'):])['jobs'][0]  # it may print notes before
    if job['error'] != 0:
        raise harness.Failure(f'fio: error {job["error"]}')
    read, write, sync = job['read'], job['write'], job['sync']
    result = {'operations': read['total_ios'] + write['total_ios'], 'seconds': max(read['runtime'], write['runtime']) / 1000,
              'iops': read['iops'] + write['iops'], 'bytes_per_second': read['bw_bytes'] + write['bw_bytes'], 'fua_writes': 0,
              'flushes': sync['lat_ns'].get('N', 0), **_latencies(read if read['total_ios'] else write)}
    if read['total_ios'] and write['total_ios']:
        result.update(_latencies(write, 'write_'))
    if result['flushes']:
        result.update(_latencies(sync, 'flush_'))
    return result


def _latencies(part, prefix=''):
    found = part['lat_ns'].get('percentile', {})
    return {f'{prefix}mean_us': part['lat_ns'].get('mean', 0) / 1000, **{f'{prefix}{key}_us': found.get(name, 0) / 1000 for key, name in PERCENTILES}}
