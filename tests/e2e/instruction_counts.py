#!/usr/bin/python3
"""The guard against decay (bench/guard.py): what it takes for a rise, for a fall and for no baseline, and that it does so with real counts."""
import json
import os
import shutil
import sys

from harness import BUILD, TOP, Script, run

sys.path.insert(0, os.path.join(TOP, 'bench'))
import guard  # noqa: E402

GUARD = os.path.join(TOP, 'bench', 'guard.py')
PROGRAM = os.path.join(BUILD, 'bench', 'ringbolt-count')
# A cheap one, and the one that most code takes part in.
PARTS = ['wire_header_encode', 'write_path/copies:2/depth:32']
FACTS = {'compiler': 'gcc-12.2.0', 'processor': 'x86_64 sse4.2 avx2', 'libc': '2.36'}

PROGRAM_OUTPUT = '''fact compiler gcc-12.2.0
fact processor x86_64 sse4.2 avx2
part 2000 a/4096
part 10 b/copies:2/depth:32
'''
PROFILE = '''# callgrind format
part: 1
desc: Trigger: Client Request: a/4096
fn=(1) x
1 5000
totals: 5000
part: 2
desc: Trigger: Client Request: b/copies:2/depth:32
summary: 0
totals: 1230
part: 3
desc: Trigger: Program termination
totals: 77
'''


def check_reading(script):
    with script.test('counts are read from what the program and callgrind say, and divided'):
        facts, operations = guard.read_program(PROGRAM_OUTPUT)
        totals = guard.read_profile(PROFILE.splitlines(keepends=True))
        assert facts == {'compiler': 'gcc-12.2.0', 'processor': 'x86_64 sse4.2 avx2'}, facts
        assert guard.per_operation(operations, totals) == {'a/4096': 2.5, 'b/copies:2/depth:32': 123}, (operations, totals)
    with script.test('a part without a count is an error'):
        try:
            figures = guard.per_operation({'a': 1, 'b': 1}, {'a': 100})
        except guard.Uncounted as problem:
            assert "['b']" in str(problem), problem
        else:
            raise AssertionError(figures)


def check_judgement(script):
    with script.test('more than 10 % up is wrong, and says which part, from what, to what'):
        wrong, better = guard.compare({'a': 100, 'b': 1.5}, {'a': 110.1, 'b': 1.5})
        assert not better and len(wrong) == 1, (wrong, better)
        assert all(word in wrong[0] for word in ('a: 110.1 ', ' 100 before', '+10.1%')), wrong
    with script.test('10 % up or down is neither wrong nor told'):
        assert guard.compare({'a': 100, 'b': 100, 'c': 0.3}, {'a': 110, 'b': 90, 'c': 0.33}) == ([], [])
    with script.test('more than 10 % down is told, and is not wrong'):
        wrong, better = guard.compare({'a': 100}, {'a': 89.9})
        assert not wrong and len(better) == 1 and 'can be lowered' in better[0], (wrong, better)
    with script.test('a part without a baseline is wrong, and so is a baseline without a part'):
        wrong, better = guard.compare({'a': 100, 'gone': 5}, {'a': 100, 'new': 5})
        assert not better and [line.split(':')[0] for line in wrong] == ['gone', 'new'], (wrong, better)
    with script.test('another build than the baseline was made with is not compared, and the difference is named'):
        assert guard.why_not_comparable(FACTS, FACTS) == ''
        why = guard.why_not_comparable(FACTS, {**FACTS, 'libc': '2.37', 'boost': '1_81'})
        assert why == 'boost 1_81 (the baseline: unknown), libc 2.37 (the baseline: 2.36)', why
        assert guard.baseline_path('/d', FACTS) == '/d/gcc-12.2.0-x86_64.json'


def check_update(script):
    path = script.path('baseline.json')
    with script.test('an update replaces the figures; one of some parts keeps the others of the same build'):
        guard.update(path, FACTS, {'a': 1, 'b': 2}, [])
        guard.update(path, FACTS, {'b': 3}, ['b'])
        with open(path) as file:
            assert json.load(file) == {'made_with': FACTS, 'instructions': {'a': 1, 'b': 3}}
        guard.update(path, {**FACTS, 'libc': '2.37'}, {'b': 4}, ['b'])
        with open(path) as file:
            assert json.load(file)['instructions'] == {'b': 4}
        guard.update(path, FACTS, {'c': 5}, [])
        with open(path) as file:
            assert json.load(file)['instructions'] == {'c': 5}


class Baselines:
    """A directory of its own with the figures of this build."""

    def __init__(self, directory):
        self.directory = directory
        os.mkdir(directory)
        made = self.run('--update')
        assert made.returncode == 0, made.out
        [name] = os.listdir(directory)
        self.path = os.path.join(directory, name)
        with open(self.path) as file:
            self.content = json.load(file)

    def run(self, *options):
        return run([GUARD, PROGRAM, *PARTS, '--baselines', self.directory, *options], check=False)

    def write(self, content):
        with open(self.path, 'w') as file:
            json.dump(content, file)


def check_counts(script):
    tests = ['the same program counts the same again', 'a part that has become dearer fails', 'one that has become cheaper does not',
             'a baseline of another compiler is not compared with', 'a part that there is not fails']
    if not (os.path.exists(PROGRAM) and shutil.which('valgrind')):
        for name in tests:
            script.skip(name, 'ringbolt-count is not built, or valgrind is not installed')
        return
    baselines = Baselines(script.path('counts'))
    instructions = baselines.content['instructions']
    with script.test(tests[0]):
        result = baselines.run()
        assert result.returncode == 0 and '2 parts counted, 0 wrong' in result.out, result.out
        again = Baselines(script.path('again')).content['instructions']
        assert set(again) == set(PARTS), again
        for part in PARTS:
            assert abs(guard.change(instructions[part], again[part])) < 0.01, (part, instructions, again)
    for name, part, factor, code, said in ((tests[1], PARTS[1], 0.85, 1, 'FAILED: '), (tests[2], PARTS[0], 1.2, 0, 'can be lowered')):
        with script.test(name):
            baselines.write({**baselines.content, 'instructions': {**instructions, part: round(instructions[part] * factor, 1)}})
            result = baselines.run()
            told = [line for line in result.out.splitlines() if f'{part}: ' in line]
            assert result.returncode == code and len(told) == 1 and said in told[0], result.out
    with script.test(tests[3]):
        baselines.write({**baselines.content, 'made_with': {**baselines.content['made_with'], 'compiler': 'gcc-1.2.3'}})
        result = baselines.run()
        assert result.returncode == guard.EXIT_SKIPPED and 'gcc-1.2.3' in result.out, result.out
    with script.test(tests[4]):
        result = run([GUARD, PROGRAM, 'no_such_part', '--baselines', baselines.directory], check=False)
        assert result.returncode == 1 and 'no_such_part is not counted' in result.out, result.out


with Script() as main:
    check_reading(main)
    check_judgement(main)
    check_update(main)
    check_counts(main)
