#!/usr/bin/python3
"""bench/profile: which stage a sample belongs to, and what other programs print, by recorded text; short runs have all parts, which agree with each
other, and leave nothing behind. No time that was measured is held against another."""
import json
import os
import re
import signal
import subprocess
import sys

from bench_output import check_markdown, processes
from harness import BUILD, RINGBOLTD, TOP, Failure, Script, run, wait_for

BENCH = os.path.join(TOP, 'bench')
PROFILE = os.path.join(BENCH, 'profile')
sys.path.append(BENCH)
import block_device  # noqa: E402
import counters  # noqa: E402
import cpu_stages  # noqa: E402
import profile_tables  # noqa: E402
import systems  # noqa: E402
import tracing  # noqa: E402

SECONDS = 200
# Of perf, before each sample the stage that it is to be counted in.
RECORDED = os.path.join(TOP, 'tests', 'e2e', 'perf_script.txt')
# What ringboltd itself does not do, or is so named in libraries.
NOT_OURS = {'checksums', 'copying'}


# --- recorded text ----------------------------------------------------------------------------------------

def check_stages(script):
    with open(RECORDED) as file:
        text = file.read()
    wanted = re.findall('^# (.*)$', text, re.MULTILINE)
    samples = list(cpu_stages.parse(re.sub('^#.*\n', '', text, flags=re.MULTILINE)))
    with script.test('samples that were recorded are counted in the stage that they belong to'):
        assert len(samples) == len(wanted) == len(set(wanted)) > 25, (len(samples), wanted)
        for sample, stage in zip(samples, wanted):
            assert cpu_stages.stage_of(sample) == stage, (stage, cpu_stages.stage_of(sample), sample)
        assert set(wanted) <= set(cpu_stages.STAGES) and len(set(cpu_stages.STAGES)) == len(cpu_stages.STAGES), cpu_stages.STAGES
    with script.test('each sample is counted once, for its process; what no stage names is told by name'):
        stages, unnamed = cpu_stages.count(samples)
        assert sum(sum(counts.values()) for counts in stages.values()) == len(samples), stages
        assert {pid: sum(counts.values()) for pid, counts in stages.items()} == {pid: sum(sample.pid == pid for sample in samples) for pid in stages}, stages
        assert set(unnamed) == {'__x86_indirect_thunk_rax ([kernel.kallsyms])', '__popcountdi2 (libgcc_s.so.1)'}, unnamed
    with script.test('what has no name, in the kernel or outside, is unresolved; behind a function of the program nothing counts'):
        def stage(*frames):
            return cpu_stages.stage_of(cpu_stages.Sample('shard-0', 1, [cpu_stages.Frame(*frame) for frame in frames]))
        assert stage() == stage((True, '[unknown]', '[kernel]'), (True, '[unknown]', '[kernel]')) == stage((False, '[unknown]', 'ringboltd')) == cpu_stages.UNRESOLVED
        assert stage((False, 'ringbolt::Wal::append', 'ringboltd'), (True, 'io_write', '?')) == 'WAL: staging'
        assert stage((False, 'main', 'ringboltd')) == cpu_stages.OTHER[False] and stage((True, 'kthread', '[kernel]')) == cpu_stages.OTHER[True]
    with script.test('each line about the program names something that the program has'):
        symbols = subprocess.run(['nm', '-C', RINGBOLTD], check=True, stdout=subprocess.PIPE, text=True).stdout
        for stage, pattern in cpu_stages.PROGRAM:
            assert stage in NOT_OURS or re.search(pattern, symbols), (stage, pattern)


def check_tracers(script):
    with script.test('system calls are read from what perf stat and strace print'):
        text = '1234,,syscalls:sys_enter_io_uring_enter,254670409,100.00,,\n1300,,raw_syscalls:sys_enter,254670409,100.00,,\n'
        assert tracing.parse_stat(text) == {'io_uring_enter': 1234, 'others': 66}
        text = ('strace: Process 13 attached with 3 threads\n% time     seconds  usecs/call     calls    errors syscall\n'
                '------ ----------- ----------- --------- --------- ----------------\n 99.83    0.415290           9     42711           io_uring_enter\n'
                '  0.17    0.000702         351         2         1 futex\n------ ----------- ----------- --------- --------- ----------------\n'
                '100.00    0.415992           9     42713         1 total\n')
        assert tracing.parse_strace(text) == {'io_uring_enter': 42711, 'futex': 2}
    with script.test('a tracer that is missing, fails or sees nothing is a reason in words'):
        directory = script.directory

        def reason(attempt):
            try:
                attempt()
            except tracing.Unavailable as why:
                return str(why)
            raise Failure('it is available')

        def traced(command):
            with tracing.Tracer(command, directory) as tracer:
                tracer.end(interrupt=False)
        assert reason(lambda: traced(['no-such-tracer'])) == 'no-such-tracer is not installed'
        assert reason(lambda: traced(['sh', '-c', 'echo; echo not permitted >&2; exit 3'])) == 'sh -c: not permitted'
        assert reason(lambda: traced(['false'])).startswith('false: exit code 1')
        assert reason(lambda: tracing.parse_stat('<not supported>,,raw_syscalls:sys_enter,0,100.00,,\n')).startswith('perf stat: <not supported>')
        assert reason(lambda: tracing.parse_stat('')) == 'perf stat: no counts'
        assert reason(lambda: tracing.parse_strace('strace: attach: Operation not permitted\n')) == 'strace: strace: attach: Operation not permitted'


def check_counters(script):
    with script.test('counters are differences, of all series that are asked for; histograms give counts, means and percentiles'):
        before = counters.parse('# HELP a_total words {x="y"} 1\na_total{op="read"} 5\na_total{op="write"} 7\n')
        after = counters.parse('a_total{op="read"} 6\na_total{op="write"} 9.5\na_total{op="trim",b="} \\"1"} 1\n'
                               't_bucket{le="8e-06"} 2\nt_bucket{le="1.6e-05"} 4\nt_bucket{le="3.2e-05"} 4\nt_bucket{le="+Inf"} 5\nt_sum 0.001\nt_count 5\n')
        interval = counters.Interval(before, after)
        assert (interval.total('a_total'), interval.total('a_total', op='write'), interval.total('b_total')) == (4.5, 2.5, None)
        times = interval.durations('t')
        assert (times.count, round(times.mean_us(), 6)) == (5, 200), times
        assert times.percentile_us(0.2) is None and abs(times.percentile_us(0.6) - 12) < 1e-6 and abs(times.percentile_us(0.99) - 32) < 1e-6, times
        nothing = interval.durations('u')
        assert (nothing.count, nothing.mean_us(), nothing.percentile_us(0.5)) == (0, 0, None)
    with script.test('a disk tells reads, writes, bytes and flushes; an older kernel no flushes'):
        fields = '10 1 80 7 20 2 160 9 0 5 6 0 0 0 0 3 4'
        assert block_device.parse(fields) == {'reads': 10, 'read_bytes': 40960, 'writes': 20, 'written_bytes': 81920, 'flushes': 3}
        assert 'flushes' not in block_device.parse(' '.join(fields.split()[:11]))


# --- short runs -------------------------------------------------------------------------------------------

class Profile:
    def __init__(self, script):
        self.scratch = script.path('scratch')
        self.home = script.path('home')
        for directory in (self.scratch, self.home):
            os.mkdir(directory)
        self._file = script.path('profile.json')

    def command(self, *arguments):
        return [PROFILE, '--build', BUILD, '--dir', self.scratch, '--json', self._file, '--size', '16MiB', '--wal-size', '16MiB', *arguments]

    def __call__(self, *arguments):
        done = run(self.command('--seconds', '2', *arguments), seconds=SECONDS, environment={'HOME': self.home})
        with open(self._file) as file:
            result = json.load(file)
        assert result['complete'] and [one['part'] for one in result['runs']] == ['counters', 'calls', 'cpu'], result
        check_markdown(done.out)
        self.check_left()
        return result, *result['runs'], done.out

    def check_left(self):
        """perf keeps copies of programs in the home directory, if it is let."""
        assert os.listdir(self.scratch) == os.listdir(self.home) == [], (os.listdir(self.scratch), os.listdir(self.home))
        assert not (left := processes(self.scratch)), left


def check_time(counted, daemons, operations):
    """What clients and daemons count is the same, and a write's stages are all of its time."""
    rows = {row['stage']: row for row in counted['stages']}
    client = counted['client']
    assert counted['requests'] == client['operations'] + client['flushes'] == rows['reply']['count'], (counted['requests'], client, rows['reply'])
    for words, count in operations(client).items():
        assert rows[f'{words}, arrival to answer']['count'] == count > 0, (words, count, rows)
    writes = [row for words, row in rows.items() if re.match('(write|write_fua), arrival', words)]
    assert len(writes) <= 1 and bool(writes) == ('admission' in rows), rows
    for write in writes:
        assert all(rows[stage]['count'] == write['count'] for stage in ('admission', 'staging', 'commit')), rows
        assert abs(sum(rows[stage]['mean_us'] for stage in ('admission', 'staging', 'commit')) - write['mean_us']) < 0.01, rows
        assert all(f'{name}: wal write' in rows for name in daemons), rows
        assert all(f'{name}: round trip' in rows for name in daemons[1:]), rows
    assert 'client, sockets, network (the difference)' in rows, rows


def check_daemons(counted, roles):
    assert [daemon['role'] for daemon in counted['daemons']] == roles, counted['daemons']
    for daemon in counted['daemons']:
        for _, key, _ in profile_tables.FIGURES:
            value = daemon.get(key, 0)
            assert value is None or value >= 0, (key, daemon)
        assert daemon['turns_per_request'] > 0 and daemon['enters_per_request'] > 0 and daemon['submissions_per_enter'] > 0 and daemon['cpu_us_per_request'] >= 0, daemon
        # Where an allocator counts at all: other threads' and clients' beginnings are not in it.
        assert daemon['allocated_bytes_per_request'] is None or daemon['allocated_bytes_per_request'] < 100, daemon
    assert counted['device'] is None or counted['device']['writes_per_request'] >= 0, counted['device']


def check_calls(calls, roles, text):
    assert bool(calls['how']) == bool(calls['daemons']) == (not calls['why']), calls
    if calls['how']:
        assert [daemon['role'] for daemon in calls['daemons']] == roles and all(daemon['others_per_request'] >= 0 for daemon in calls['daemons']), calls
    assert ('Other system calls are unknown: ' in text) == (not calls['how']), text


def check_cpu(cpu, roles, text):
    if cpu['why']:
        assert not cpu['daemons'] and f'Unknown: {cpu["why"]}' in text, (cpu, text)
        return
    assert [daemon['role'] for daemon in cpu['daemons']] == roles, cpu
    for daemon in cpu['daemons']:
        assert set(daemon['stages']) <= set(cpu_stages.STAGES), daemon
        assert not daemon['samples'] or abs(sum(daemon['stages'].values()) - daemon['cpu_us_per_request']) < 0.01, daemon
    assert sum(daemon['samples'] for daemon in cpu['daemons']) > 0 and 'samples of perf' in text, (cpu, text)


def check_runs(script, profile):
    pair = ['primary', 'replica']
    with script.test('writes on a pair: time, daemons, system calls, CPU', seconds=SECONDS + 20):
        result, counted, calls, cpu, text = profile()
        assert result['options']['workload'] == 'W2' and result['commands']['W2'].startswith('fio '), result
        check_time(counted, ['rb2n1', 'rb2n2'], lambda client: {'write': client['operations']})
        check_daemons(counted, pair)
        check_calls(calls, pair, text)
        check_cpu(cpu, pair, text)
    flushed = {'W1': lambda client: {'write': client['operations'], 'flush': client['flushes']}, 'W1F': lambda client: {'write_fua': client['operations']}}
    for workload, operations in flushed.items():
        with script.test(f'{workload}, without perf', seconds=SECONDS + 20):
            _, counted, calls, cpu, text = profile('--workload', workload, '--no-perf')
            check_time(counted, ['rb2n1', 'rb2n2'], operations)
            check_calls(calls, pair, text)
            assert cpu['why'] == '--no-perf' and 'Unknown: --no-perf' in text, text
    with script.test('reads and writes of one copy', seconds=SECONDS + 20):
        _, counted, calls, cpu, text = profile('--workload', 'W6', '--copies', '1', '--durability', 'best_effort')
        check_time(counted, ['rb1n1'], lambda client: {})
        assert {'read, as its client sees it', 'write, as its client sees it', 'read, arrival to answer'} <= {row['stage'] for row in counted['stages']}, counted['stages']
        check_daemons(counted, ['primary'])
        check_calls(calls, ['primary'], text)
        check_cpu(cpu, ['primary'], text)


def check_ends(script, profile):
    with script.test('what cannot be meant, or not be done, is said in a line that names it, and changes nothing'):
        for arguments, words, code in ((['--workload', 'W9'], 'W9: not one of W1', 2), (['--seconds', '0'], '0: not in 0.5 to', 2), (['--copies', '4'], '4: not in 1 to 3', 2),
                                       (['--build', profile.scratch], f'{profile.scratch}/ringboltd is missing', 1), (['--size', '512TiB'], '1073741856 MiB are needed', 1)):
            done = run(profile.command(*arguments), check=False)
            assert done.returncode == code and words in done.err and 'Traceback' not in done.err and not done.out, (arguments, done.returncode, done.err)
        profile.check_left()
    with script.test('ended by a signal in the middle of a run it leaves nothing'):
        with open(script.path('said'), 'w') as said:
            child = script.spawn(profile.command('--seconds', '60'), stdout=said, stderr=said)

        def under_way():
            assert child.poll() is None, open(script.path('said')).read()
            return any('--runtime' in line for line in processes(f'--size={16 << 20}'))
        wait_for(under_way, 'a client')
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=120) == 128 + signal.SIGTERM, open(script.path('said')).read()
        wait_for(lambda: not processes(profile.scratch), 'all processes to end')
        profile.check_left()


def main():
    with Script() as script:
        for check in (check_stages, check_tracers, check_counters):
            check(script)
        try:
            systems.check(['RB2'])
        except Failure as missing:
            script.skip('bench/profile', str(missing))
            return
        profile = Profile(script)
        check_runs(script, profile)
        check_ends(script, profile)


main()
