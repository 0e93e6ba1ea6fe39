"""bench/compare report: what the JSON files hold, as Markdown and plots. Each kind of measurement says itself how it looks; what they share is here."""
import json
import os

import options as values
from medians import DISTURBED_CORES, is_disturbed

DISTURBED_WORDS = f'`!`: other programs used more than {DISTURBED_CORES} cores meanwhile, or the machine was not idle: distrust the number.'


def add_options(parser):
    parser.add_argument('files', nargs='+', metavar='FILE', help='JSON of the other sub-commands')
    parser.add_argument('--short', action='store_true', help='the first tables only, as in the README')
    values.add_output(parser)


def table(header, rows):
    """The first column is words, all others numbers."""
    lines = ['| ' + ' | '.join(header) + ' |', '|---' + '|---:' * (len(header) - 1) + '|']
    return '\n'.join(lines + ['| ' + ' | '.join(row) + ' |' for row in rows])


def microseconds(value):
    return f'{value:,.0f}' if value >= 100 else f'{value:.1f}'


def mark(entry):
    return ' !' if is_disturbed(entry) else ''


def described(systems):
    return '\n'.join(f'- `{name}`: {system["description"]}' for name, system in systems.items())


def head(result):
    host = result['host']
    words = [f'{host["cpu"]}, {host["cores"]} cores, Linux {host["kernel"]}; {host["file_system"]}; TCP {host["tcp_congestion_control"]}; '
             f'ringbolt {host["commit"] or host["ringboltd"]}; {result["began"]}.']
    if not result['complete']:
        words.append('**It was not brought to its end.**')
    if any(is_disturbed(entry) for entry in result['medians']):
        words.append(DISTURBED_WORDS)
    return '\n\n'.join(words)


def congestion_words(result, congestion):
    """What was in force under that name."""
    used = sorted({run['congestion_control'] for run in result['runs'] if run.get('congestion') == congestion and 'congestion_control' in run})
    return f'TCP {", ".join(used)}' + (" (the host's own)" if congestion == 'host' else '')


def markdown(kind, result, is_short=False):
    return f'## {kind.TITLE}\n\n{head(result)}\n\n{kind.tables(result, is_short)}\n'


def write_plots(kind, result, directory):
    """The names of the files."""
    names = []
    for name, svg in kind.plots(result).items():
        with open(os.path.join(directory, name), 'w') as file:
            file.write(svg)
        names.append(name)
    return names


def read(path, kinds, schema):
    """Of what another sub-command wrote; what is wrong with it in words (ValueError)."""
    try:
        with open(path) as file:
            result = json.load(file)
    except OSError as error:
        raise ValueError(f'{path}: {error.strerror}') from None
    except ValueError as error:
        raise ValueError(f'{path}: not JSON: {error}') from None
    if not isinstance(result, dict) or result.get('kind') not in kinds:
        raise ValueError(f'{path}: not a result of bench/compare')
    if result.get('schema') != schema:
        raise ValueError(f'{path}: of version {result.get("schema")}, this program reads {schema}')
    return result
