#!/usr/bin/python3
# run-under: asan
"""The configuration file and the life of the process: --check, start failures, signals, exit codes."""
import os
import signal
import socket

from harness import RINGBOLTD, Script, run

GOOD = '''[node]
id = "n1"
data_dir = "{data}"
[[volume]]
name = "vol0"
size = "1GiB"
role = "primary"
'''

# name, text, line of the mistake, words that the message must have
MISTAKES = [
    ('an unknown key names the nearest known one', GOOD + 'durabilty = "sync_all"\n', 8,
     ['durabilty', 'durability']),
    ('an unknown table names the nearest known one', GOOD + '[replicaton]\n', 8,
     ['replicaton', 'replication']),
    ('a syntax error', GOOD + 'role = = 1\n', 8, []),
    ('a key given twice', GOOD + 'role = "none"\n', 8, []),
    ('a wrong type names the expected one', GOOD + 'epoch = "1"\n', 8, ['integer']),
    ('a volume that is not whole blocks', GOOD.replace('1GiB', '4097B'), 6, ['4096']),
    ('a volume that is too small', GOOD.replace('"1GiB"', '0'), 6, ['size']),
    ('an unknown unit', GOOD.replace('1GiB', '1GB'), 6, ['GiB']),
    ('an unknown role', GOOD.replace('"primary"', '"leader"'), 7, ['leader', 'replica']),
    ('a name with a slash', GOOD.replace('vol0', 'a/b'), 5, ['a/b']),
    ('a volume twice', GOOD + '[[volume]]\nname = "vol0"\nsize = "1MiB"\n', 9, ['vol0', 'line 5']),
    ('a replica that is this node', GOOD + '[[volume.replica]]\nid = "n1"\naddress = "h:1"\n', 9,
     ['n1']),
    ('a bad address', GOOD + '[admin]\nlisten = "127.0.0.1"\n', 9, ['HOST:PORT']),
    ('a word that when_lost does not know', GOOD + '[replication]\nwhen_lost = "block"\n', 9, ['block', 'drop', 'wait']),
    ('a key near wal_retain', GOOD + '[replication]\nwal_retained = "50%"\n', 9, ['wal_retained', '"wal_retain"']),
    ('a share of the WAL that is too large', GOOD + '[replication]\nwal_retain = "91%"\n', 9, ['91%', '90%']),
    ('more rebuilds at a time than there may be', GOOD + '[rebuild]\nparallel = 65\n', 9, ['parallel', '64']),
    ('too little memory', GOOD.replace('data_dir', 'memory = "1MiB"\ndata_dir'), 3, ['16MiB']),
    ('no node id', GOOD.replace('id = "n1"\n', ''), 1, ['id']),
]


def check_mistakes(script, path, data):
    for name, text, line, words in MISTAKES:
        with script.test(f'--check finds {name}, exit code 2'):
            with open(path, 'w') as file:
                file.write(text.format(data=data))
            result = run([RINGBOLTD, '--config', path, '--check'], check=False)
            assert result.returncode == 2, result.returncode
            assert result.err.startswith(f'{path}:{line}: '), result.err
            assert all(word in result.err for word in words), result.err
            assert result.err.count('\n') == 1 and result.out == '', (result.out, result.err)
    with script.test('a start with a mistake in the file ends with exit code 1 and the same line'):
        result = run([RINGBOLTD, '--config', path], check=False)
        assert result.returncode == 1, result.returncode
        assert result.err.startswith(f'{path}:1: '), result.err


def check_arguments(script, path, data):
    with script.test('--check accepts a good file, says nothing and creates nothing'):
        with open(path, 'w') as file:
            file.write(GOOD.format(data=data))
        result = run([RINGBOLTD, '--config', path, '--check'])
        assert (result.out, result.err) == ('', ''), (result.out, result.err)
        assert not os.path.exists(data)
    with script.test('--check of a file that is not there, exit code 2'):
        result = run([RINGBOLTD, '--config', path + '.not', '--check'], check=False)
        assert result.returncode == 2 and path in result.err, result.err
    with script.test('wrong usage ends with exit code 2, --version with 0'):
        assert run([RINGBOLTD], check=False).returncode == 2
        assert run([RINGBOLTD, '--nonsense', '--config', path], check=False).returncode == 2
        assert 'ringboltd' in run([RINGBOLTD, '--version']).out
        wrong = run([RINGBOLTD, '--config', path, '--log-level', 'loud'], check=False)
        assert wrong.returncode == 2 and 'loud' in wrong.err and 'debug' in wrong.err, wrong.err
        assert '--log-level LEVEL' in run([RINGBOLTD, '--help']).out


def start_fails(node, words):
    node.write_config()
    result = run([RINGBOLTD, '--config', node.config_path], check=False)
    assert result.returncode == 1, (result.returncode, result.err)
    lines = [line for line in result.err.splitlines() if line.startswith('ringboltd: ')]
    assert len(lines) == 1, result.err
    assert all(word in lines[0] for word in words), lines[0]


def check_start_failures(script):
    for number, port in enumerate(('nbd_port', 'replication_port', 'admin_port')):
        with script.test(f'a taken port ({port}) ends the start with one line that names it'):
            node = script.node(f'taken{number}', [{'name': 'vol0', 'size': '1MiB', 'role': 'primary'}])
            with socket.socket() as taken:
                taken.bind(('127.0.0.1', 0))
                taken.listen()
                setattr(node, port, taken.getsockname()[1])
                start_fails(node, [str(getattr(node, port))])
    with script.test('a data_dir that cannot be ends the start with one line that names it'):
        node = script.node('nodir')
        with open(script.path('file'), 'w'):
            pass
        node.data_directory = script.path('file') + '/data'
        start_fails(node, [node.data_directory])
    with script.test('a base image of another size ends the start with one line that names it'):
        node = script.node('size', [{'name': 'vol0', 'size': '8MiB', 'role': 'primary'}])
        node.start()
        node.stop()
        node.volumes[0]['size'] = '4MiB'
        start_fails(node, ['vol0'])
    with script.test('two daemons on one data_dir: the second does not start, the first goes on'):
        first = script.node('first', [{'name': 'vol0', 'size': '8MiB', 'role': 'primary'}])
        first.start()
        second = script.node('second', first.volumes)
        second.data_directory = first.data_directory
        second.volumes[0]['path'] = first.image_path()
        second.write_config()
        result = run([RINGBOLTD, '--config', second.config_path], check=False)
        assert result.returncode == 1, (result.returncode, result.err)
        assert first.get('/healthz')[0] == 200
        first.stop()


def check_log_level(script):
    node = script.node('levels', [{'name': 'vol0', 'size': '8MiB', 'role': 'primary'}])

    def lines(*arguments):
        node.arguments = arguments
        before = len(node.log_text()) if os.path.exists(node.log_path) else 0
        node.start()
        node.wait_mode()
        node.stop()
        return node.log_text()[before:].splitlines()
    with script.test('--log-level says how much is logged; by default no debugging lines are'):
        default, debug, errors = lines(), lines('--log-level', 'debug'), lines('--log-level', 'error')
        assert any(' info ' in line for line in default) and not any(' debug ' in line for line in default), default
        assert any(' debug ' in line and 'apply_role' in line for line in debug), debug
        assert any(' info ' in line for line in debug), debug
        assert not errors, errors


def check_signals(script):
    node = script.node('n1', [{'name': 'vol0', 'size': '8MiB', 'role': 'primary'}])
    for number in (signal.SIGTERM, signal.SIGINT):
        with script.test(f'{signal.Signals(number).name} stops cleanly with exit code 0'):
            node.start()
            assert 'ready' in node.log_text()
            node.stop(number)
    with script.test('SIGHUP with an unchanged file changes nothing'):
        node.start()
        node.send(signal.SIGHUP)
        node.wait_log('has nothing new')
    with script.test('SIGHUP names what takes a restart'):
        node.options['node.memory'] = '96MiB'
        node.write_config()
        node.send(signal.SIGHUP)
        node.wait_log('reload: needs a restart: node.memory')
    with script.test('SIGHUP changes rebuild.rate_max at once, and back, and says so only when it changes'):
        node.options['rebuild.rate_max'] = '20MiB'
        node.write_config()
        node.send(signal.SIGHUP)
        node.wait_log('reload: rebuild.rate_max is now "20MiB" (was "0")')
        del node.options['rebuild.rate_max']
        node.write_config()
        node.send(signal.SIGHUP)
        node.wait_log('reload: rebuild.rate_max is now "0" (was "20MiB")')
        assert 'needs a restart: node.memory, rebuild' not in node.log_text()
    with script.test('SIGHUP with a mistake in the file names it and keeps the daemon running'):
        with open(node.config_path, 'a') as file:
            file.write('nonsense = 1\n')
        node.send(signal.SIGHUP)
        node.wait_log('unknown key "nonsense"')
        assert node.get('/healthz')[0] == 200
    with script.test('it stops cleanly after that'):
        node.stop()


with Script() as main:
    config, data_dir = main.path('x.toml'), main.path('data')
    check_mistakes(main, config, data_dir)
    check_arguments(main, config, data_dir)
    check_start_failures(main)
    check_log_level(main)
    check_signals(main)
