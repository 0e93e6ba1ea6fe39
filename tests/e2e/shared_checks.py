#!/usr/bin/python3
# run-seconds: 3600
"""The black-box tools in ../shared/checks beside the checkout, if they are there."""
import os
import re

from harness import RINGBOLTCTL, TOP, Failure, Pair, Script, free_port, run
from moving import Clients, images_equal

CHECKS = os.path.join(os.path.dirname(TOP), 'shared', 'checks')


def available(script, tool):
    path = os.path.join(CHECKS, tool)
    if os.path.exists(path):
        return path
    script.skip(tool, f'{CHECKS} has no {tool}')
    return None


def run_clients(script, tool, uri):
    """Passes the tool's own results on, one by one."""
    result = run(['bash', tool, uri], seconds=480, check=False)
    points = re.findall(r'^(not )?ok \d+ - ([^\n]*)((?:\n# [^\n]*)*)', result.out, re.MULTILINE)
    for failed, name, comments in points:
        if '# SKIP' in name:
            script.skip('clients.sh: ' + name.split(' # SKIP')[0], name.split('# SKIP')[1].strip())
            continue
        with script.test('clients.sh: ' + name):
            if failed:
                raise Failure(comments)
    with script.test('clients.sh ran to its end'):
        plan = re.search(r'^1\.\.(\d+)', result.out, re.MULTILINE)
        if not plan or int(plan.group(1)) != len(points):
            raise Failure(f'{result.out[-1500:]}\n{result.err[-1500:]}')


DAMAGES = [['--cut', '100000-200000'], ['--cut', '100000-200000', '--rst', '--dir', 'both'], ['--flip', '0.02', '--dir', 'both'],
           ['--drop', '0.02', '--dir', 'both'], ['--dup', '0.02', '--dir', 'both'], ['--split', '7', '--dir', 'both'],
           ['--stall', '100000:600']]


def run_tcpmutate(script, tool):
    """Replication through the tool's proxy with each of its damages, then damaged copies of a recorded stream."""
    pair = Pair(script, size='4MiB', wal_size='64MiB', options={'replication.timeout': '2s', 'replication.wal_retain': '90%'},
                names=('m1', 'm2'))
    port = free_port()
    pair.primary.volumes[0]['replicas'] = [(pair.replica.name, f'127.0.0.1:{port}')]

    def proxy(*options):
        return script.spawn(['/usr/bin/python3', tool, 'proxy', '--listen', f'127.0.0.1:{port}', '--to', pair.replica.replication_address,
                             *options])

    def end(child):
        child.terminate()
        child.wait()
    record = script.path('stream')
    child = proxy('--record', record)
    pair.start()
    writers = Clients([pair.primary])
    writers.start()
    writers.go_on(500)
    end(child)
    for options in DAMAGES:
        with script.test(f'tcpmutate.py proxy {" ".join(options)}: writes go on, and the pair is healthy again'):
            child = proxy(*options)
            writers.go_on(1000)
            end(child)
            child = proxy()
            pair.wait_healthy()
            writers.go_on()
            end(child)
    with script.test('tcpmutate.py replay --count 300', seconds=500):
        child = proxy()
        pair.wait_healthy()
        streams = [f'{record}.{n}.c2s' for n in range(1, 9) if os.path.exists(f'{record}.{n}.c2s')]
        result = run(['/usr/bin/python3', tool, 'replay', '--to', pair.replica.replication_address, '--stream', max(streams, key=os.path.getsize),
                      '--count', '300', '--pid', str(pair.replica.pid),
                      '--probe', f'{RINGBOLTCTL} --admin {pair.replica.admin_address} status'], seconds=480, check=False)
        if result.returncode != 0:
            raise Failure(result.out[-2000:] + result.err[-1000:])
    with script.test('tcpmutate.py: nothing acknowledged is missing, and both copies hold the same'):
        pair.wait_healthy()
        writers.stop_and_check(pair.primary)
        pair.stop()
        assert images_equal(*pair.nodes)


with Script() as main:
    clients, fuzz = available(main, 'clients.sh'), available(main, 'nbd_fuzz.py')
    if clients or fuzz:
        pair = Pair(main, size='128MiB', options={'nbd.handshake_timeout': '3s',
                                                  'nbd.stall_timeout': '3s'})
        pair.start()
        if clients:
            run_clients(main, clients, pair.uri)
        if fuzz:
            with main.test('nbd_fuzz.py --random 100', seconds=500):
                result = run(['/usr/bin/python3', fuzz, '--uri', pair.uri, '--pid',
                              str(pair.primary.pid), '--random', '100'], seconds=480, check=False)
                if result.returncode != 0:
                    bad = [line for line in result.out.splitlines() if 'FAIL' in line]
                    raise Failure('\n'.join(bad) + '\n' + result.out[-2000:] + result.err[-1000:])
        with main.test('the pair is healthy after all that, and both copies hold the same'):
            pair.wait_healthy()
            content = main.path('content')
            run(['nbdcopy', pair.uri, content])
            pair.stop_and_compare(content)
    tcpmutate = available(main, 'tcpmutate.py')
    if tcpmutate:
        run_tcpmutate(main, tcpmutate)
