#!/usr/bin/python3
"""The manual: well-formed, and it has every key, command and option that the programs have, and none that they have not."""
import glob
import itertools
import os
import re
import shutil

import commands
from harness import TOP, Script, run

PAGES = os.path.join(TOP, 'src', 'man')
ESCAPES = {r'\(dq': '"', r'\&': '', r'\e': '\\', r'\-': '-'}


def source(name):
    """A page's lines, without what only the formatter needs."""
    with open(os.path.join(PAGES, name)) as file:
        text = file.read()
    for escape, meaning in ESCAPES.items():
        text = text.replace(escape, meaning)
    return text.splitlines()


def items(lines):
    """(the words of each .It, its section, its text)."""
    found, section = [], ''
    for line in lines:
        if line.startswith(('.Sh ', '.Ss ')):
            section = line[4:]
        if line.startswith('.It '):
            found.append((line[4:].split(), section, []))
        elif found and found[-1][1] == section:
            found[-1][2].append(line)
    return [(words, section, ' '.join(text)) for words, section, text in found]


def options_of(words):
    """Those that mdoc words ("Fl Fl role Ar ROLE") name."""
    return {'--' + words[i + 2] for i in range(len(words) - 2) if words[i:i + 2] == ['Fl', 'Fl']}


def check_form(script):
    pages = sorted(glob.glob(os.path.join(PAGES, '*.[1-8]')))
    with script.test('the pages have nothing that mandoc warns of'):
        assert [os.path.basename(page) for page in pages] == ['ringbolt.7', 'ringbolt.toml.5', 'ringboltctl.1', 'ringboltd.8'], pages
        result = run(['mandoc', '-T', 'lint', '-W', 'warning', *pages], check=False)
        assert result.returncode == 0 and not result.out, result.out
    if not shutil.which('groff'):
        script.skip('the pages have nothing that groff warns of', 'groff is not installed')
        return
    with script.test('the pages have nothing that groff warns of'):
        for page in pages:
            result = run(['groff', '-mandoc', '-ww', '-z', '-Tutf8', page])
            assert not result.err, result.err


def check_config(script):
    keys = commands.config_keys()
    described = {}
    for words, section, text in items(source('ringbolt.toml.5')):
        if section.startswith('['):
            table = section.strip('[]')
            described[(table, words[1])] = text
    with script.test('ringbolt.toml(5) has exactly the keys that the daemon has'):
        assert len(keys) > 20 and set(described) == {(table, key) for table, key, _, _ in keys}, \
            set(described) ^ {(table, key) for table, key, _, _ in keys}
    with script.test('ringbolt.toml(5) has what holds without each key, and which ones change at a reload'):
        for table, key, standard, when in keys:
            text = described[(table, key)]
            begin = 'Required.' if standard == '(required)' else f'Default: .Li {standard} . '
            assert text.startswith(begin), (table, key, begin, text)
            assert ('Changes at a reload' in text) == (when == 'at a reload'), (table, key, when, text)
            assert when in ('at a reload', 'at the next start'), when


def check_daemon(script):
    with script.test('ringboltd(8) has exactly the options that the daemon has'):
        lines = source('ringboltd.8')
        told = set().union(*(options_of(words) for words, section, _ in items(lines) if section == 'DESCRIPTION'))
        known = set(commands.ringboltd().options)
        assert told == known, told ^ known
        synopsis = ' '.join(line.lstrip('.') for line in lines[lines.index('.Sh SYNOPSIS'):lines.index('.Sh DESCRIPTION')]).split()
        assert options_of(synopsis) == known, options_of(synopsis) ^ known


def check_ctl(script):
    page = items(source('ringboltctl.1'))
    told = {}  # (words of a command): its item's options and text
    common = set()  # of items that are only options
    for words, section, text in page:
        if words[0] == 'Cm':
            name = tuple(itertools.takewhile(lambda word: word not in ('Ar', 'Op', 'Oo', 'Fl'), words[1:]))
            told[name] = (options_of(words), words, text)
        elif 'Fl' in words:
            common |= options_of(words)
    leaves = {command.words: command for command in commands.ringboltctl().all() if command.words}
    runnable = {words: command for words, command in leaves.items() if not command.subcommands or command.positionals}
    with script.test('ringboltctl(1) has exactly the commands that the program has'):
        assert len(runnable) >= 9 and set(told) == set(runnable), set(told) ^ set(runnable)
    with script.test('ringboltctl(1) has the options and arguments of each command'):
        for words, command in runnable.items():
            options, item, _ = told[words]
            unknown = options - set(command.options)
            missing = set(command.options) - options - common
            assert not unknown and not missing, (words, unknown, missing)
            assert all(name in item for name in command.positionals), (words, command.positionals, item)
        top = set(commands.ringboltctl().options)
        assert top <= common, top - common
        known = top.union(*(command.options for command in runnable.values()))
        assert common <= known, common - known


with Script() as main:
    check_form(main)
    check_config(main)
    check_daemon(main)
    check_ctl(main)
