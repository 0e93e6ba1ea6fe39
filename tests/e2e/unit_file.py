#!/usr/bin/python3
"""The systemd unit: systemd itself finds nothing wrong with it, and how much of the host it leaves open. That the daemon
works within it is seen in package.py."""
import os
import re
import shutil

from harness import BUILD, Script, run

# Of 10, which systemd-analyze gives to a service without any protection: 1.3 when this was written.
EXPOSURE_MAX = 2.0


def unit_text():
    with open(os.path.join(BUILD, 'tools', 'systemd', 'ringboltd.service')) as file:
        return file.read()


def check_analyzed(script):
    names = ('systemd has nothing against the unit', f'the service is exposed to {EXPOSURE_MAX} of 10 at most')
    if not shutil.which('systemd-analyze'):
        for name in names:
            script.skip(name, 'systemd-analyze is not installed')
        return
    path = script.path('ringboltd.service')
    with open(path, 'w') as file:
        # It also looks whether the programs are there.
        file.write(unit_text().replace('/usr/bin/ringboltd', os.path.join(BUILD, 'ringboltd')))
    with script.test(names[0]):
        result = run(['systemd-analyze', 'verify', '--recursive-errors=no', '--man=no', path])
        assert not result.out and not result.err, (result.out, result.err)
    with script.test(names[1]):
        result = run(['systemd-analyze', 'security', '--offline=yes', '--no-pager', f'--threshold={EXPOSURE_MAX * 10:.0f}', path], check=False)
        assert result.returncode == 0, result.out
        assert re.search(r'Overall exposure level for ringboltd.service: \d\.\d', result.out), result.out


def check_contract(script):
    lines = unit_text().splitlines()
    with script.test('the unit waits for the daemon, feeds on its watchdog, and lets it lock memory and use io_uring'):
        for line in ('Type=notify', 'User=ringbolt', 'StateDirectory=ringbolt', 'LimitMEMLOCK=infinity', 'NoNewPrivileges=yes',
                     'ProtectSystem=strict', 'CapabilityBoundingSet=', 'SystemCallFilter=@system-service', 'Restart=on-failure'):
            assert line in lines, line
        assert any(re.fullmatch(r'WatchdogSec=\w+', line) for line in lines), lines


with Script() as main:
    check_analyzed(main)
    check_contract(main)
