#!/usr/bin/python3
"""Completion in the shells: bash's functions are driven as bash would, fish and zsh asked if they are installed. What is
offered is held against what the programs' --help says."""
import os
import shutil

import commands
from harness import BUILD, TOP, Script, run

FOLDER = os.path.join(TOP, 'tools', 'completion')
# Words to complete, the last one unfinished, as bash divides them: the function's file, name, words.
DRIVER = '''
source "$1"; function=$2; shift 2
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
$function "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
'''


def bash(program, *words, environment=None):
    """What bash would offer for `program words`."""
    result = run(['bash', '--norc', '-c', DRIVER, 'bash', os.path.join(FOLDER, f'{program}.bash'), f'_{program}',
                  os.path.join(BUILD, program), *words], environment=environment)
    assert not result.err, result.err
    return result.out.split()


def check_bash(script, node):
    with script.test('bash: the files are right, and bind the functions'):
        for program in ('ringboltctl', 'ringboltd'):
            path = os.path.join(FOLDER, f'{program}.bash')
            run(['bash', '-n', path])
            assert f'-F _{program} {program}' in run(['bash', '--norc', '-c', f'source {path}; complete -p {program}']).out
    with script.test('bash: ringboltctl is offered every command and every option that --help has'):
        for command in commands.ringboltctl().all():
            offered = bash('ringboltctl', *command.words, '')
            names = [inner.words[-1] for inner in command.subcommands]
            assert set(names) <= set(offered), (command.words, names, offered)
            options = bash('ringboltctl', *command.words, '--')
            assert set(command.options) <= set(options), (command.words, command.options, options)
    with script.test('bash: ringboltd is offered exactly the options that --help has, and their values'):
        assert set(bash('ringboltd', '')) == set(commands.ringboltd().options)
        assert bash('ringboltd', '--check', '--log-level', 'de') == ['debug']
        assert bash('ringboltd', '--log-level', '=', 'w') == ['warn']
        assert bash('ringboltd', '--log-level', '=') == ['debug', 'info', 'warn', 'error']
        assert bash('ringboltd', '--config', os.path.join(TOP, 'READ')) == [os.path.join(TOP, 'README.md')]
    host, port = node.admin_address.split(':')
    address = {'RINGBOLT_ADMIN': node.admin_address}
    with script.test('bash: volumes and replicas come from the daemon that runs'):
        assert bash('ringboltctl', 'why', '', environment=address) == ['vol0', 'vol1']
        assert bash('ringboltctl', 'volume', 'show', 'vol1', environment=address) == ['vol1']
        assert bash('ringboltctl', 'rebuild', 'vol0', '', environment=address) == ['n2']
        assert bash('ringboltctl', 'verify', 'vol0', '--replica', '', environment=address) == ['n2']
    with script.test('bash: words that it divides at "=" and ":" are understood'):
        assert bash('ringboltctl', '--admin', host, ':', port, 'watch', '') == ['vol0', 'vol1']
        assert bash('ringboltctl', '--admin', '=', host, ':', port, 'watch', 'vol1') == ['vol1']
        assert bash('ringboltctl', 'assign', 'vol0', '--role', '=', 're') == ['replica']
        assert bash('ringboltctl', 'assign', 'vol0', '--role', '=') == ['primary', 'replica', 'none']
        assert bash('ringboltctl', 'promote', 'vol0', '--replica', 'n2', '=', 'h', ':', '1', '--fo') == ['--force']
    with script.test('bash: without a daemon nothing is offered for a volume, and nothing said'):
        assert bash('ringboltctl', 'why', '', environment={'RINGBOLT_ADMIN': '127.0.0.1:1'}) == []


def check_fish(script, node):
    name = 'fish: offers commands, options and volumes'
    if not shutil.which('fish'):
        return script.skip(name, 'fish is not installed')

    def fish(line):
        source = '; '.join(f'source {os.path.join(FOLDER, program)}.fish' for program in ('ringboltctl', 'ringboltd'))
        result = run(['fish', '--no-config', '-c', f'{source}; complete -C "{line}"'],
                     environment={'HOME': script.directory, 'RINGBOLT_ADMIN': node.admin_address, 'PATH': f'{BUILD}:{os.environ["PATH"]}'})
        assert not result.err, result.err
        return [offer.split('\t')[0] for offer in result.out.splitlines()]
    with script.test(name):
        assert set(inner.words[-1] for inner in commands.ringboltctl().subcommands) <= set(fish('ringboltctl '))
        assert fish('ringboltctl why ') == ['vol0', 'vol1']
        assert fish('ringboltctl promote vol0 --fo') == ['--force']
        assert fish('ringboltctl assign vol0 --role re') == ['replica']
        assert set(commands.ringboltd().options) <= set(fish('ringboltd --'))
        assert set(fish('ringboltd --log-level ')) == {'debug', 'info', 'warn', 'error'}


# zsh completes only where somebody types: a terminal of its own, in which each line is followed by a tab.
ZSH = '''
zmodload zsh/zpty || exit 77
zpty shell zsh -f -i
zpty -w shell "PROMPT=; TERM=dumb; fpath=($1 \\$fpath); autoload -Uz compinit; compinit -u -d $2/dump"
zpty -w shell "zstyle ':completion:*' list-separator '<<'; zstyle ':completion:*' menu no; LISTMAX=0; bindkey '^I' complete-word"
zpty -w shell "print STAR''TED"
zpty -r shell text '*STARTED*'
zpty -w -n shell "$3"$'\\t'
zpty -w -n shell $'\\C-u'"print EN''DED"$'\\n'
zpty -r shell text '*ENDED*'
print -r -- $text
zpty -d shell
'''


def check_zsh(script, node):
    name = 'zsh: offers commands, options and volumes'
    if not shutil.which('zsh'):
        return script.skip(name, 'zsh is not installed')

    def zsh(line):
        result = run(['zsh', '-f', '-c', ZSH, 'zsh', FOLDER, script.directory, line],
                     environment={'HOME': script.directory, 'RINGBOLT_ADMIN': node.admin_address, 'PATH': f'{BUILD}:{os.environ["PATH"]}'})
        return result.out

    def check_shows(line, words):
        """The next line is typed at once, and zsh may leave out a completion when there is more to read: then once more."""
        for _ in range(10):
            shown = zsh(line)
            missing = [word for word in words if word not in shown]
            if not missing:
                return
        raise AssertionError((line, missing, shown))
    with script.test(name):
        for program in ('_ringboltctl', '_ringboltd'):
            run(['zsh', '-n', os.path.join(FOLDER, program)])
        check_shows('ringboltctl ', [inner.words[-1] for inner in commands.ringboltctl().subcommands])
        check_shows('ringboltctl why vol', ['vol0', 'vol1'])  # all of what they have in common: so they are listed
        check_shows('ringboltctl promote vol0 --fo', ['--force'])
        check_shows('ringboltd --', commands.ringboltd().options)


with Script() as main:
    the_node = main.node('n1', [{'name': 'vol0', 'size': '8MiB', 'role': 'primary', 'replicas': [('n2', '127.0.0.1:9')]},
                                {'name': 'vol1', 'size': '8MiB', 'role': 'primary'}])
    the_node.start()
    check_bash(main, the_node)
    check_fish(main, the_node)
    check_zsh(main, the_node)
    the_node.stop()
