#!/usr/bin/python3
"""The black-box tools in ../shared/checks beside the checkout, if they are there."""
import os
import re

from harness import TOP, Failure, Pair, Script, run

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
