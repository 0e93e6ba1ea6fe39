#!/usr/bin/python3
"""Guards what every request passes against decay: counts the instructions of micro benchmarks under valgrind, and compares with
what they were (bench/baselines).

  bench/guard.py build/bench/ringbolt-count              compares; the meson test "instruction counts"
  bench/guard.py build/bench/ringbolt-count --table      ... and shows all figures
  bench/guard.py build/bench/ringbolt-count --update     what is counted now is the baseline from here on
  bench/guard.py build/bench/ringbolt-count NAME...      only these parts

Instructions, not time: the same program counts the same each time, on any machine, however busy. Another compiler or C library is
another program, so a baseline says what it was made with, and is compared with nothing else.

Exit code: 0, nothing rose by more than 10 %; 1, something did, or could not be counted; 77, there is no baseline for this build.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

BASELINES = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'baselines')
CHANGE_MAX = 0.10
LIMIT_SECONDS = 540  # it takes four on an idle machine
EXIT_SKIPPED = 77


class Uncounted(Exception):
    """The program did not do what it is for."""


def read_program(text):
    """What the program printed: facts of its build, and the operations of each part."""
    facts, operations = {}, {}
    for line in text.splitlines():
        kind, first, rest = line.split(' ', 2)
        if kind == 'fact':
            facts[first] = rest
        elif kind == 'part':
            operations[rest] = int(first)
    return facts, operations


def read_profile(lines):
    """What callgrind wrote: the instructions of each part. A dump that the program did not ask for is none."""
    totals, name = {}, None
    for line in lines:
        if line.startswith('part: '):
            name = None
        elif line.startswith('desc: Trigger: Client Request: '):
            name = line.split(': ', 3)[3].strip()
        elif line.startswith('totals: ') and name is not None:
            totals[name] = int(line.split()[1])
    return totals


def per_operation(operations, totals):
    if operations.keys() != totals.keys():
        raise Uncounted(f'counted, but not finished, or the other way round: {sorted(operations.keys() ^ totals.keys())}')
    return {name: float(f'{totals[name] / operations[name]:.5g}') for name in operations}


def count(program, names):
    """(facts, instructions per operation of each part) of a run under valgrind."""
    valgrind = shutil.which('valgrind')
    # Nothing of where and by whom it is run: options for valgrind, a language, symbols that are bound in the middle of a count.
    # "rep movsb" is an instruction for each byte to callgrind; from what size on it is used depends on the processor.
    environment = {'LC_ALL': 'C', 'LD_BIND_NOW': '1',
                   'GLIBC_TUNABLES': 'glibc.cpu.x86_rep_movsb_threshold=1073741824:glibc.cpu.x86_rep_stosb_threshold=1073741824'}
    with tempfile.TemporaryDirectory() as directory:
        profile = os.path.join(directory, 'profile')
        command = [valgrind, '--tool=callgrind', '--instr-atstart=no', '--combine-dumps=yes', f'--callgrind-out-file={profile}',
                   os.path.abspath(program), *names]
        try:
            done = subprocess.run(command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired as expired:
            raise Uncounted(f'not done after {LIMIT_SECONDS} s') from expired
        if done.returncode != 0:
            raise Uncounted(f'exit code {done.returncode}\n{done.stdout}{done.stderr}')
        with open(profile) as file:
            totals = read_profile(file)
    facts, operations = read_program(done.stdout)
    return facts, per_operation(operations, totals)


def baseline_path(directory, facts):
    return os.path.join(directory, f'{facts["compiler"]}-{facts["processor"].split()[0]}.json')


def why_not_comparable(made_with, facts):
    """Empty: a baseline that was made with `made_with` says something about a build with `facts`."""
    differences = [f'{key} {facts.get(key, "unknown")} (the baseline: {made_with.get(key, "unknown")})'
                   for key in sorted(made_with.keys() | facts.keys()) if made_with.get(key) != facts.get(key)]
    return ', '.join(differences)


def compare(before, now):
    """(what is wrong, what is better than it need be), in words."""
    wrong, better = [], []
    for name in sorted(before.keys() | now.keys()):
        if name not in before:
            wrong.append(f'{name}: {now[name]} instructions per operation, and no baseline (--update makes one)')
        elif name not in now:
            wrong.append(f'{name}: in the baseline, but not counted (--update takes it out)')
        else:
            figures = f'{name}: {now[name]} instructions per operation, {before[name]} before: {change(before[name], now[name]):+.1%}'
            if change(before[name], now[name]) > CHANGE_MAX:
                wrong.append(figures)
            elif change(before[name], now[name]) < -CHANGE_MAX:
                better.append(f'{figures}; the baseline can be lowered (--update)')
    return wrong, better


def change(before, now):
    """Relative; rounded, so that a tenth more is a tenth and not a trifle beyond it."""
    return round(now / before - 1, 6)


def update(path, facts, now, names):
    """All figures, or in a baseline of the same build those of `names`."""
    kept = {}
    if names and os.path.exists(path):
        with open(path) as file:
            old = json.load(file)
        if not why_not_comparable(old['made_with'], facts):
            kept = old['instructions']
    with open(path, 'w') as file:
        json.dump({'made_with': facts, 'instructions': dict(sorted({**kept, **now}.items()))}, file, indent=2)
        file.write('\n')


def skipped(why):
    print(f'not compared: {why}')
    return EXIT_SKIPPED


def show(before, now):
    width = max(map(len, now))
    for name, figure in now.items():
        known = f'{before[name]:12g} {change(before[name], figure):+8.1%}' if name in before else ''
        print(f'{name:{width}} {figure:12g} {known}')


def judge(options, facts, now):
    path = baseline_path(options.baselines, facts)
    if options.update:
        update(path, facts, now, options.names)
        print(f'{len(now)} figures written to {path}')
        return 0
    if not os.path.exists(path):
        return skipped(f'there is no {os.path.basename(path)} (--update makes one)')
    with open(path) as file:
        baseline = json.load(file)
    why = why_not_comparable(baseline['made_with'], facts)
    before = baseline['instructions']
    if options.names:
        before = {name: figure for name, figure in before.items() if name in options.names}
    if options.table:
        show({} if why else before, now)
    if why:
        return skipped(f'this build is of {why}')
    wrong, better = compare(before, now)
    for line in better:
        print(line)
    for line in wrong:
        print(f'FAILED: {line}')
    print(f'{len(now)} parts counted, {len(wrong)} wrong')
    return 1 if wrong else 0


def main():
    parser = argparse.ArgumentParser(description='Compares instruction counts with the baseline.')
    parser.add_argument('program', help='ringbolt-count of the build to look at')
    parser.add_argument('names', nargs='*', metavar='NAME', help='only these parts')
    parser.add_argument('--update', action='store_true', help='write the baseline instead of comparing with it')
    parser.add_argument('--table', action='store_true', help='show all figures')
    parser.add_argument('--baselines', default=BASELINES, metavar='DIRECTORY', help='where the baselines are')
    options = parser.parse_args()
    if shutil.which('valgrind') is None:
        return skipped('valgrind is not installed (tools/install-packages installs it)')
    try:
        facts, now = count(options.program, options.names)
    except Uncounted as problem:
        print(f'FAILED: {options.program}: {problem}')
        return 1
    return judge(options, facts, now)


if __name__ == '__main__':
    sys.exit(main())
