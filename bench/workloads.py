"""The workloads, and the clients that produce them: fio where its NBD engine can, ringbolt-nbd-load
for FUA, which that engine never sends (its --sync changes nothing on the wire)."""
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'tests', 'e2e'))
import harness  # noqa: E402

# A client must end by itself soon after its time; fio's NBD engine spins and floods when its server
# dies.
SECONDS_MORE = 60
OUTPUT_BYTES_MAX = 4 << 20

# rw, block size, depth, a flush after every n-th write (0: none), FUA on every write
WORKLOADS = {
    'W1': ('randwrite', 4096, 1, 1, False),
    'W1F': ('randwrite', 4096, 1, 0, True),
    'W2': ('randwrite', 4096, 32, 0, False),
    'W3': ('randwrite', 4096, 32, 32, False),
    'W4': ('randread', 4096, 32, 0, False),
    'W5': ('write', 131072, 8, 0, False),
    'W6': ('randrw', 4096, 32, 0, False),
    'W7': ('randwrite', 4096, 32, 0, True),
}


def describe(name):
    rw, block, depth, flush_every, fua = WORKLOADS[name]
    words = {'randwrite': 'random writes', 'randread': 'random reads', 'write': 'sequential writes',
             'randrw': 'random, 70 % reads'}[rw]
    durability = ', FUA each' if fua else {0: '', 1: ', flush after each'}.get(
        flush_every, f', flush after every {flush_every}')
    return f'{block >> 10} KiB {words}, depth {depth}{durability}'


def run_bounded(command, seconds):
    """What a client printed on stdout. Time and output are bounded."""
    def limits():
        harness.end_with_parent()
        resource.setrlimit(resource.RLIMIT_FSIZE, (OUTPUT_BYTES_MAX, OUTPUT_BYTES_MAX))

    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, \
            tempfile.TemporaryDirectory() as here:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=here,
                                   env={**os.environ, 'PATH': harness.CLIENT_PATH},
                                   start_new_session=True, preexec_fn=limits)
        try:
            process.wait(timeout=seconds + SECONDS_MORE)
            ended = f'exit code {process.returncode}'
        except subprocess.TimeoutExpired:
            ended = f'not done after {seconds + SECONDS_MORE} s'
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        out.seek(0)
        err.seek(0)
        text = out.read(OUTPUT_BYTES_MAX).decode(errors='replace')
        if process.returncode != 0:
            said = err.read(OUTPUT_BYTES_MAX).decode(errors='replace')[-1000:] or text[-1000:]
            raise harness.Failure(f'{ended}: {" ".join(command)}\n{said}')
    return text


def fio_command(uri, *options):
    # refill_buffers is off: the client should not spend its time on random numbers. Zeros never occur.
    return ['fio', '--name=bench', '--ioengine=nbd', f'--uri={uri}', '--output-format=json', *options]


def prefill(uri, size, seconds=900):
    """Writes the whole export, so that no measurement meets blocks that were never written."""
    run_bounded(fio_command(uri, '--rw=write', '--bs=1M', '--iodepth=8', f'--size={size}',
                            '--refill_buffers', '--end_fsync=1'), seconds)


class Client:
    """Runs workloads against a URI. `size`: bytes of the export."""

    def __init__(self, build, size, seconds):
        self.load_program = os.path.join(build, 'bench', 'ringbolt-nbd-load')
        self.size, self.seconds = size, seconds

    def command(self, name, uri, repetition):
        rw, block, depth, flush_every, fua = WORKLOADS[name]
        if fua:
            return [self.load_program, uri, f'--rw={rw}', f'--bs={block}', f'--depth={depth}',
                    f'--seconds={self.seconds}', '--fua=1', f'--seed={repetition}']
        options = [f'--rw={rw}', f'--bs={block}', f'--iodepth={depth}', f'--size={self.size}',
                   '--time_based', f'--runtime={self.seconds}', '--norandommap',
                   f'--randseed={repetition}', '--lat_percentiles=1', '--clat_percentiles=0',
                   '--percentile_list=50:99:99.9']
        if rw == 'randrw':
            options.append('--rwmixread=70')
        if flush_every:
            options.append(f'--fsync={flush_every}')
        return fio_command(uri, *options)

    def run(self, name, uri, repetition):
        """The figures of one run, as a dictionary."""
        text = run_bounded(self.command(name, uri, repetition), self.seconds)
        result = parse_load(text) if WORKLOADS[name][4] else parse_fio(text)
        _, _, _, flush_every, fua = WORKLOADS[name]
        # What was to be measured must have happened.
        if result['operations'] == 0:
            raise harness.Failure(f'{name}: nothing was done')
        flushed = result['flushes'] * flush_every
        if flush_every and flushed < 0.9 * result['operations'] - 2 * flush_every:
            raise harness.Failure(f'{name}: {result["flushes"]} flushes for '
                                  f'{result["operations"]} writes')
        if fua and result['fua_writes'] != result['operations']:
            raise harness.Failure(f'{name}: not every write had FUA')
        return result


def parse_load(text):
    load = json.loads(text)
    return {'operations': load['reads'] + load['writes'], 'seconds': load['seconds'],
            'iops': load['iops'], 'bytes_per_second': load['bytes_per_second'],
            'fua_writes': load['fua_writes'], 'flushes': 0,
            **{key: load[key] for key in ('p50_us', 'p99_us', 'p999_us')}}


def parse_fio(text):
    # fio may print notes before its JSON.
    job = json.loads(text[text.index('{'):])['jobs'][0]
    if job['error'] != 0:
        raise harness.Failure(f'fio: error {job["error"]}')
    read, write, sync = job['read'], job['write'], job['sync']

    def percentiles(part, prefix=''):
        found = part['lat_ns'].get('percentile', {})
        return {f'{prefix}{key}_us': found.get(name, 0) / 1000 for key, name in
                (('p50', '50.000000'), ('p99', '99.000000'), ('p999', '99.900000'))}

    result = {'operations': read['total_ios'] + write['total_ios'],
              'seconds': job['job_runtime'] / 1000, 'iops': read['iops'] + write['iops'],
              'bytes_per_second': read['bw_bytes'] + write['bw_bytes'], 'fua_writes': 0,
              'flushes': sync.get('total_ios', 0)}
    result.update(percentiles(read if read['total_ios'] else write))
    if read['total_ios'] and write['total_ios']:
        result.update(percentiles(write, 'write_'))
    if result['flushes']:
        result.update(percentiles(sync, 'flush_'))
    return result
