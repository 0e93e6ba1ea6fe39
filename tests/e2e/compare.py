#!/usr/bin/python3
# run-seconds: 1800
"""bench/compare: every sub-command with sizes and times that measure nothing; what it writes is as described and drawn, nothing is left behind, and
what cannot be done is said. The rules by which numbers are judged, by numbers made up for them. No number that was measured is held against another."""
import json
import os
import re
import signal
import sys
import time
import xml.etree.ElementTree

import jsonschema

from bench_output import check_markdown, processes
from harness import BUILD, TOP, Failure, Script, run, wait_for

BENCH = os.path.join(TOP, 'bench')
COMPARE = os.path.join(BENCH, 'compare')
sys.path.append(BENCH)
import floors  # noqa: E402
import growth  # noqa: E402
import medians  # noqa: E402
import opening  # noqa: E402
import plots  # noqa: E402
import systems  # noqa: E402

SECONDS = 600
SMALL = ['--runs', '1', '--seconds', '0.1', '--wal-size', '16MiB']
SVG = '{http://www.w3.org/2000/svg}'


class Bench:
    """Runs it with directories of its own."""

    def __init__(self, script):
        self.scratch = script.path('scratch')
        os.mkdir(self.scratch)
        self._directory = script.directory
        with open(os.path.join(BENCH, 'results.schema.json')) as file:
            self._schema = json.load(file)
        jsonschema.Draft202012Validator.check_schema(self._schema)

    def path(self, name):
        return os.path.join(self._directory, name)

    def command(self, command, *arguments, name=None):
        """`name`: of its files, where that of the command is taken."""
        name = name or command
        where = [] if command == 'report' else ['--build', BUILD, '--dir', self.scratch, '--json', self.path(f'{name}.json')]
        return [COMPARE, command, *where, '--plots', self.path(f'{name}-plots'), *arguments]

    def __call__(self, command, *arguments, name=None):
        """What it measured, and its Markdown."""
        done = run(self.command(command, *arguments, name=name), seconds=SECONDS)
        result = self.result(name or command)
        assert result['complete'] and result['runs'] and result['medians'], result
        self.check_left()
        check_markdown(done.out)
        return result, done.out

    def result(self, name):
        with open(self.path(f'{name}.json')) as file:
            result = json.load(file)
        jsonschema.Draft202012Validator(self._schema).validate(result)
        return result

    def check_left(self):
        """No file, and no process that knows the directory."""
        assert os.listdir(self.scratch) == [], os.listdir(self.scratch)
        assert not (left := processes(self.scratch)), left

    def check_plots(self, name, *wanted):
        """These and no others were drawn."""
        directory = self.path(f'{name}-plots')
        assert sorted(os.listdir(directory)) == sorted(wanted), os.listdir(directory)
        for plot in wanted:
            check_svg(os.path.join(directory, plot))


def check_svg(path):
    """It is well formed, has words, and lies within its frame."""
    root = xml.etree.ElementTree.parse(path).getroot()
    assert root.tag == f'{SVG}svg' and root.findall(f'{SVG}text'), path
    width, height = float(root.get('width')), float(root.get('height'))
    for part in root.iter():
        for key, most in (('x', width), ('x1', width), ('x2', width), ('cx', width), ('y', height), ('y1', height), ('y2', height), ('cy', height)):
            assert part.get(key) is None or 0 <= float(part.get(key)) <= most, (path, part.attrib)
        assert 'nan' not in str(part.attrib), (path, part.attrib)


# --- what is measured -------------------------------------------------------------------------------------

def check_peers(script, bench):
    with script.test('peers: ringbolt and its peers in turn, as described, with a verdict on each floor that was measured', seconds=SECONDS + 60):
        names = ['S0', 'SX', 'S1', 'S4', 'S5', 'RB2']
        result, text = bench('peers', *SMALL, '--size', '16MiB', '--systems', ','.join(names), '--workloads', 'W2,W5L', '--sustained', '0.2')
        assert list(result['systems']) == names, result['systems']
        seen = [(run['workload'], run['system']) for run in result['runs']]
        assert seen == [('W2', system) for system in names] + [('W5L', system) for system in ('S0', 'SX', 'S1', 'S4', 'RB2')], seen
        for entry in result['runs']:
            assert entry['operations'] > 0 and entry['iops'] > 0 and entry['p50_us'] > 0 and entry['idle'] is None, entry
        states = [(entry['workload'], entry['floor'], entry['state']) for entry in result['verdicts']]
        assert len(states) == 4 and all(state in ('pass', 'short') for _, _, state in states), states
        for system in names:
            assert f'- `{system}`:' in text, text
        assert 'sustained for 0.2 s only' in text and 'Floors: ' in text, text
        bench.check_plots('peers', 'peers-operations-host.svg', 'peers-cpu-host.svg')


def check_turns(script, bench):
    others = [name for name in allowed_congestion() if name != host_congestion()]
    if os.geteuid() != 0 or not others:
        script.skip('peers: another congestion control', 'it needs root, and a kernel with two of them')
        return
    with script.test("peers: every other run in reverse, each with the host's congestion control and another; the host's stays", seconds=SECONDS + 60):
        before = host_congestion()
        result, text = bench('peers', '--runs', '2', '--seconds', '0.1', '--size', '8MiB', '--systems', 'S0,SX', '--workloads', 'W1F,W3', '--congestion', f'host,{others[0]}',
                             '--when-idle', '--idle-limit', '0.1', name='turns')
        order = [(run['repetition'], run['workload'], run['congestion'], run['system']) for run in result['runs']]
        assert order == [(repetition, workload, congestion, system) for repetition in (1, 2) for workload in ('W1F', 'W3') for congestion in ('host', others[0])
                         for system in (('S0', 'SX') if repetition == 1 else ('SX', 'S0'))], order
        assert {(run['congestion'], run['congestion_control']) for run in result['runs']} == {('host', before), (others[0], others[0])}, result['runs']
        assert all(run['idle'] in (True, False) and run['waited_idle_seconds'] > 0 for run in result['runs']), result['runs']
        for entry in result['runs']:
            assert (entry['flushes'] > 0) == (entry['workload'] == 'W3'), entry
            assert (entry['fua_writes'] == entry['operations']) == (entry['workload'] == 'W1F' and entry['system'] == 'SX'), entry
        assert [entry['runs'] for entry in result['medians']] == [2] * 8, result['medians']
        assert f'### TCP {others[0]}\n' in text and f"### TCP {before} (the host's own)" in text, text
        assert host_congestion() == before
        bench.check_plots('turns', *(f'peers-{what}-{congestion}.svg' for what in ('operations', 'cpu') for congestion in ('host', others[0])))


def host_congestion():
    with open('/proc/sys/net/ipv4/tcp_congestion_control') as file:
        return file.read().strip()


def allowed_congestion():
    with open('/proc/sys/net/ipv4/tcp_available_congestion_control') as file:
        return file.read().split()


def check_scaling(script, bench):
    with script.test('scaling: depth, connections and volumes', seconds=SECONDS + 60):
        result, _ = bench('scaling', *SMALL, '--size', '8MiB', '--systems', 'SX,RB3-quorum', '--workloads', 'W4', '--depths', '1,8', '--counts', '1,2')
        seen = [(run['part'], run['x'], run['system']) for run in result['runs']]
        assert seen == [('depth', 1, 'SX'), ('depth', 8, 'SX'), ('connections', 1, 'SX'), ('connections', 2, 'SX'), ('depth', 1, 'RB3-quorum'), ('depth', 8, 'RB3-quorum'),
                        ('connections', 1, 'RB3-quorum'), ('connections', 2, 'RB3-quorum'), ('volumes', 1, 'RB3-quorum'), ('volumes', 2, 'RB3-quorum')], seen
        assert result['commands']['volumes 2 W4 RB3-quorum'].count('--uri=') == 2, result['commands']
        bench.check_plots('scaling', *(f'scaling-{part}-W4-{what}-host.svg' for part in ('depth', 'connections', 'volumes') for what in ('operations', 'p99', 'cpu')))


def check_recovery(script, bench):
    with script.test('recovery: catch-up, rebuilds without clients and with', seconds=SECONDS + 60):
        # The client has to see something of a rebuild, however slow the machine is.
        result, text = bench('recovery', *SMALL, '--seconds', '1.5', '--size', '128MiB', '--missed', '4MiB', '--raw-size', '8MiB', '--raw-seconds', '0.1')
        names = [(entry['part'], entry['name']) for entry in result['medians']]
        assert [part for part, _ in names] == ['raw'] * 6 + ['rebuild'] * 2 + ['catchup'] * 2 + ['clients'] * 2, names
        assert all(entry['bytes_per_second'] > 0 for entry in result['medians'] if entry['name'] != 'without a rebuild'), result['medians']
        data = [entry['data_bytes'] for entry in result['runs'] if entry['part'] == 'rebuild']
        assert data[0] == data[1] >= 64 << 20 and 'while a rebuild runs' in text, (data, text)
        bench.check_plots('recovery', 'recovery-rates-host.svg', 'recovery-latency-host.svg')


def check_growth(script, bench):
    with script.test('growth: size, number, time, opening after a clean stop and a crash', seconds=SECONDS + 60):
        result, text = bench('growth', *SMALL, '--sizes', '16MiB,1TiB', '--places', '256', '--counts', '1,2', '--many-wal-size', '8MiB', '--minutes', '0.001', '--open-size', '1TiB',
                             '--open-logs', '1MiB')
        seen = [(run['part'], run['name']) for run in result['runs']]
        assert seen == [('size', 'W2'), ('size', 'W4')] * 2 + [('volumes', growth.ONE), ('volumes', growth.EIGHT)] * 2 + [('time', 'W2')] * 2 + [
            ('open', opening.CLEAN), ('open', opening.CRASH), ('open', opening.CLEAN)], seen
        assert [run['x'] for run in result['runs'] if run['part'] == 'size'] == [1 << 24, 1 << 24, 1 << 40, 1 << 40]
        crash = medians.find(result['medians'], name=opening.CRASH)
        assert crash['x'] >= 1 << 20 and crash['read_seconds'] > 0 and crash['seconds'] > 0, crash
        states = {(entry['part'], entry['name']): entry['state'] for entry in result['verdicts']}
        assert len(states) == 7 and states.pop(('volumes', growth.EIGHT)) == 'not measured' and 'not measured' not in states.values(), states
        assert '**Opening a volume of 1TiB**' in text, text
        bench.check_plots('growth', 'growth-open-host.svg', 'growth-time-resident-host.svg',
                          *(f'growth-{part}-{what}-host.svg' for part in ('size', 'volumes', 'time') for what in ('cpu', 'operations', 'p99')))


def check_report(script, bench):
    with script.test('report: all of it again, from the files, also short'):
        names = ('peers', 'scaling', 'recovery', 'growth')
        files = [bench.path(f'{name}.json') for name in names]
        whole, short = (run([*bench.command('report'), *more, *files]).out for more in ([], ['--short']))
        for text in (whole, short):
            check_markdown(text)
            assert re.findall(r'^## (.*)$', text, re.MULTILINE) == ['ringbolt and its peers', 'Scaling', 'Recovery', 'Growth'], text
        assert len(short) < len(whole), short
        bench.check_plots('report', *(plot for name in names for plot in os.listdir(bench.path(f'{name}-plots'))))


def check_interrupted(script, bench):
    for number, code in ((signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGINT, 130)):
        with script.test(f'ended by {number.name} in the middle of a measurement it leaves nothing, and a file with what was measured'):
            with open(script.path('said'), 'w') as said:
                child = script.spawn(bench.command('peers', '--runs', '3', '--seconds', '1', '--size', '8MiB', '--systems', 'S1,RB2', '--workloads', 'W2', name='interrupted'),
                                     stdout=said, stderr=said)

            def under_way():
                assert child.poll() is None, open(script.path('said')).read()
                return os.path.exists(bench.path('interrupted.json')) and any(line.startswith('fio') for line in processes(f'--size={8 << 20}') if '--runtime' in line)
            wait_for(under_way, 'a client after the first measurement')
            child.send_signal(number)
            assert child.wait(timeout=120) == code, (child.returncode, open(script.path('said')).read())
            result = bench.result('interrupted')
            assert result['complete'] is False and 1 <= len(result['runs']) < 6, result
            # What is killed is gone soon, not at once: its last writes to a disk are waited for by the kernel.
            wait_for(lambda: not processes(bench.scratch), 'all processes to end')
            bench.check_left()
            os.unlink(bench.path('interrupted.json'))


# --- what cannot be done ----------------------------------------------------------------------------------

def check_refusals(script, bench):
    with open(bench.path('words'), 'w') as file:
        file.write('no JSON')
    with open(bench.path('other.json'), 'w') as file:
        file.write('{"kind": "other"}')
    with open(bench.path('old.json'), 'w') as file:
        file.write('{"kind": "peers", "schema": 0}')
    where = ['--dir', bench.scratch, '--build', BUILD]
    usage = [([], 'COMMAND'), (['fast'], 'fast'), (['peers', '--systems', 'S9'], 'S9: not one of S0'), (['peers', '--systems', ''], 'none given'),
             (['peers', '--workloads', 'W2,W2'], 'one of them twice'), (['peers', '--size', '1XB'], '1XB: not a number with one of'),
             (['peers', '--size', '1000000B'], 'not whole blocks'), (['peers', '--runs', '0'], '0: not in 1 to'), (['peers', '--seconds', 'long'], 'long: not a number'),
             (['peers', '--dir', '/nowhere'], '/nowhere: No such file'), (['peers', '--dir', '/proc'], '/proc: '), (['peers', '--json', '/nowhere/a.json'], '/nowhere/a.json: no file'),
             (['peers', '--plots', '/proc/plots'], '/proc/plots: '), (['scaling', '--systems', 'S0'], 'S0: not one of'), (['scaling', '--counts', '65'], '65: not in 1 to 64'),
             (['growth', '--counts', '257'], '257: not in 1 to 256'), (['growth', '--parts', 'weight'], 'weight: not one of size'), (['report'], 'FILE')]
    failures = [(['peers', *where, '--congestion', 'psychic'], 'TCP congestion control psychic: this kernel has'),
                (['peers', *where, '--size', '512TiB', '--systems', 'S0'], f'{bench.scratch}: 536870912 MiB are needed there'),
                (['peers', '--dir', bench.scratch, '--build', bench.scratch], f'{bench.scratch}/ringboltd is missing (ninja)'),
                (['recovery', *where, '--size', '100MiB'], '--size 100MiB: whole 128MiB are needed'),
                (['recovery', *where, '--missed', '512MiB'], '--missed 512MiB: --wal-size 1GiB keeps no more than'),
                (['growth', *where, '--sizes', '1MiB'], '--places 65536: 1MiB have 256 blocks only'),
                (['report', '/nowhere.json'], '/nowhere.json: No such file'), (['report', bench.path('words')], 'not JSON'),
                (['report', bench.path('other.json')], 'not a result of bench/compare'), (['report', bench.path('old.json')], 'of version 0, this program reads 1')]
    with script.test('what cannot be meant, or not be done, is said in a line that names it, and changes nothing'):
        for arguments, words, code in [(*one, 2) for one in usage] + [(*one, 1) for one in failures]:
            done = run([COMPARE, *arguments], check=False)
            assert done.returncode == code and words in done.err and 'Traceback' not in done.err, (arguments, words, done.returncode, done.err)
            assert not done.out, (arguments, done.out)
        bench.check_left()


# --- how numbers are judged -------------------------------------------------------------------------------

OPTIONS = {'sustained': 60.0, 'wal_size': 256 << 20}


def entry(system, workload='W2', iops=0.0, cpu=0.0, **more):
    return {'system': system, 'workload': workload, 'congestion': 'host', 'iops': iops, 'total_cpu_us_per_operation': cpu, 'other_busy_cores': 0.0, 'idle': True, **more}


def verdict(floor, entries, options=None):
    return floors.verdict(floor, entries, {**OPTIONS, **(options or {})}, congestion='host')


def check_floors(script):
    four = floors.Floor('W2', 4, 'S4')
    with script.test('floors: reached, also exactly; missed, by how much'):
        for iops, state in ((4001.0, 'pass'), (4000.0, 'pass'), (3999.0, 'short')):
            assert verdict(four, [entry('RB2', iops=iops), entry('S4', iops=1000.0)])['state'] == state, iops
        missed = verdict(four, [entry('RB2', iops=3000.0), entry('S4', iops=1000.0)])
        assert (missed['short_by'], missed['wanted'], missed['ratio'], missed['text']) == (0.25, 4000.0, 3.0, 'short by 25 %'), missed
    with script.test('floors: one above what the disk gives here is called so, with the limit; not if it is below, reached, or the limit was passed'):
        raw = entry('S0', iops=7000.0)
        above = verdict(four, [entry('RB2', iops=2800.0), entry('S4', iops=1000.0), raw])
        assert above['above_limit'] and above['limit'] == 3500.0 and 'above what the disk gives here: S0/2 = 3,500' in above['text'] and '80 %' in above['text'], above
        assert 'limit' not in verdict(four, [entry('RB2', iops=2800.0), entry('S4', iops=800.0), raw])
        assert 'limit' not in verdict(four, [entry('RB2', iops=5000.0), entry('S4', iops=1000.0), raw])
        assert 'limit' not in verdict(four, [entry('RB2', iops=3600.0), entry('S4', iops=1000.0), raw])
        large = floors.limit_of([entry('S0', 'W5L', iops=4000.0)], 'W5L', congestion='host')
        assert large[:2] == (1000.0, 'S0/4'), large
        assert floors.limit_of([entry('S0', 'W1', iops=1.0)], 'W1', congestion='host') is None and floors.limit_of([], 'W2', congestion='host') is None
    with script.test('floors: of CPU time at most; the disk is no limit for that'):
        quarter = next(floor for floor in floors.FLOORS if floor.is_most)
        for cpu, state in ((25.0, 'pass'), (26.0, 'short')):
            judged = verdict(quarter, [entry('RB2', cpu=cpu), entry('S4', cpu=100.0), entry('S0', iops=1.0)])
            assert judged['state'] == state and 'limit' not in judged, judged
        assert abs(judged['short_by'] - 0.04) < 1e-9 and judged['floor'] == '<= 0.25 x S4', judged
    with script.test('floors: what is missing, disturbed, not idle or not sustained is said'):
        assert verdict(four, [entry('RB2', iops=1.0)])['text'] == 'not measured: S4'
        other = {'congestion': 'reno'}
        assert verdict(four, [entry('RB2', iops=1.0, **other), entry('S4', iops=1.0, **other)])['state'] == 'not measured'
        good = [entry('RB2', iops=9.0), entry('S4', iops=1.0)]
        assert verdict(four, good)['text'] == 'pass'
        assert 'disturbed' in verdict(four, [good[0], entry('S4', iops=1.0, other_busy_cores=0.5)])['text']
        assert 'disturbed' in verdict(four, [good[0], entry('S4', iops=1.0, idle=False)])['text']
        large = next(floor for floor in floors.FLOORS if floor.workload == 'W5L')
        written = [entry('RB2', 'W5L', iops=9.0), entry('S4', 'W5L', iops=1.0)]
        assert verdict(large, written)['text'] == 'pass'
        assert verdict(large, written, {'sustained': 5.0, 'wal_size': 1 << 30})['text'] == 'pass; sustained for 5 s only; with a log of 1024 MiB'
    with script.test('floors: all of them are judged, and counted'):
        judged = floors.judge([entry('RB2', iops=3000.0, cpu=30.0), entry('S4', iops=1000.0, cpu=100.0), entry('SX', iops=5000.0), entry('S0', iops=6000.0)], OPTIONS, congestion='host')
        assert len(judged) == len(floors.FLOORS) and {one['workload'] for one in judged} == {'W1F', 'W2', 'W3', 'W4', 'W5L', 'W6', 'W7'}, judged
        assert floors.summary(judged) == '1 of 14 floors reached, 2 not (1 of these above what the disk gives here), 11 not measured', floors.summary(judged)


def check_rules(script):
    with script.test('medians: of each group, with least and most; one that was not idle makes the group so'):
        runs = [{'workload': 'W2', 'iops': iops, 'idle': iops != 5.0, 'repetition': number} for number, iops in enumerate((5.0, 1.0, 4.0))] + [{'workload': 'W4', 'iops': 7.0, 'idle': None}]
        first, second = medians.of(runs, ('workload',))
        assert first == {'workload': 'W2', 'runs': 3, 'iops': 4.0, 'iops_min': 1.0, 'iops_max': 5.0, 'idle': False}, first
        assert second['idle'] is None and second['runs'] == 1, second
    with script.test('growth: what costs more with more of it is found, also slowly over time'):
        assert growth.grows('size', 'W2', [(1, 10.0), (2, 11.0), (4, 12.0)])['state'] == 'pass'
        assert growth.grows('size', 'W2', [(1, 10.0), (2, 13.0), (4, 10.0)])['state'] == 'short'
        assert growth.grows('time', 'W2', [(x, 10.0 + (x == 5) * 20) for x in range(12)])['state'] == 'pass'
        assert growth.grows('time', 'W2', [(x, 10.0 + x) for x in range(12)])['state'] == 'short'
        # Below eight volumes each of them has more requests in flight.
        assert growth.grows('volumes', growth.EIGHT, [(1, 1.0), (8, 10.0), (256, 11.0)])['state'] == 'pass'
    with script.test('opening: a second after a clean stop, and what reading the log takes more after a crash'):
        clean = {'name': opening.CLEAN, 'x': 0, 'seconds': 0.5}
        crashes = [{'name': opening.CRASH, 'x': x, 'seconds': seconds, 'read_seconds': 0.25} for x, seconds in ((1 << 20, 0.75), (1 << 21, 0.8))]
        assert [one['state'] for one in opening.verdicts([clean, *crashes])] == ['pass', 'pass', 'short']
        assert opening.verdicts([{**clean, 'seconds': 1.1}])[0]['state'] == 'short' and opening.verdicts([]) == []
    with script.test('plots: without points, with one, with zeros, with words that XML would take for its own'):
        for series in ({}, {'a': [(1, 0.0)]}, {'a < b & c': [(1, 5.0), (2, 0.0), (1024, 7e9)]}):
            for axis in (plots.Axis('x'), plots.Axis('x', is_logarithmic=True)):
                with open(script.path('plot.svg'), 'w') as file:
                    file.write(plots.line_chart('a < b', axis, plots.Axis('y'), series))
                check_svg(script.path('plot.svg'))
        with open(script.path('plot.svg'), 'w') as file:
            file.write(plots.bar_chart('bars', '1/s', [plots.Bars('none', []), plots.Bars('one', [plots.Bar('a "very" long name of a system', 0.0, 0.0, 0.0)])]))
        check_svg(script.path('plot.svg'))
        assert [plots.short(value) for value in (0.0, 12.345, 1500, 2.5e6, 3e9)] == ['0', '12.3', '1.5k', '2.5M', '3G']


def main():
    with Script() as script:
        check_floors(script)
        check_rules(script)
        try:
            systems.check(systems.SHIPPED)
        except Failure as missing:
            script.skip('bench/compare', str(missing))
            return
        bench = Bench(script)
        check_refusals(script, bench)
        for check in (check_peers, check_scaling, check_recovery, check_growth, check_report, check_turns, check_interrupted):
            check(script, bench)


main()
