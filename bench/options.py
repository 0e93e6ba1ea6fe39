"""What the sub-commands' options have in common, and how their values are read."""
import argparse
import os
import tempfile

UNITS = {'B': 0, 'KiB': 10, 'MiB': 20, 'GiB': 30, 'TiB': 40}


def size(text):
    """'10GiB' as bytes, whole blocks."""
    for unit, shift in sorted(UNITS.items(), key=lambda item: -len(item[0])):
        if text.endswith(unit) and text.removesuffix(unit).isdigit():
            value = int(text.removesuffix(unit)) << shift
            break
    else:
        raise argparse.ArgumentTypeError(f'{text}: not a number with one of {", ".join(UNITS)}')
    if value < 1 << 20 or value % 4096 != 0:
        raise argparse.ArgumentTypeError(f'{text}: not whole blocks of 4 KiB, or less than 1MiB')
    return value


def size_text(value):
    """The shortest way to say it: 1073741824 is '1GiB'."""
    for unit, shift in reversed(UNITS.items()):
        if value >= 1 << shift and value % (1 << shift) == 0:
            return f'{value >> shift}{unit}'
    return '0B'


def number(kind, least, most):
    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f'{text}: not a number') from None
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f'{text}: not in {least} to {most}')
        return value
    return parse


def a_list(parse):
    """Of values with commas or blanks between them, none of them twice."""
    def parse_all(text):
        values = [parse(word) for word in text.replace(',', ' ').split()]
        if not values:
            raise argparse.ArgumentTypeError('none given')
        if len(set(values)) != len(values):
            raise argparse.ArgumentTypeError(f'{text}: one of them twice')
        return values
    return parse_all


def one_of(known):
    def parse(text):
        if text not in known:
            raise argparse.ArgumentTypeError(f'{text}: not one of {", ".join(known)}')
        return text
    return parse


def writable_directory(path):
    """That files can be opened in past the page cache: what is measured is a disk."""
    try:
        with tempfile.NamedTemporaryFile(dir=path, prefix='ringbolt-bench-') as file:
            os.close(os.open(file.name, os.O_RDONLY | os.O_DIRECT))
    except OSError as error:
        raise argparse.ArgumentTypeError(f'{path}: {error.strerror} (a directory on a file system with O_DIRECT is needed)') from None
    return os.path.abspath(path)


def output_file(path):
    """It is written at the end of long measurements: whether that can be is better known before."""
    directory = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(directory) or not os.access(directory, os.W_OK) or os.path.isdir(path):
        raise argparse.ArgumentTypeError(f'{path}: no file can be written there')
    return os.path.abspath(path)


def output_directory(path):
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f'{path}: {error.strerror}') from None
    if not os.access(path, os.W_OK):
        raise argparse.ArgumentTypeError(f'{path}: not writable')
    return os.path.abspath(path)


def add_output(parser):
    parser.add_argument('--plots', metavar='DIR', type=output_directory, help='write plots (SVG) there')


def add_common(parser, runs, seconds):
    parser.add_argument('--build', help='where ringboltd is (build/)')
    parser.add_argument('--dir', type=writable_directory, default='/var/tmp', help='where volumes are made, and removed again: the disk that is measured')
    parser.add_argument('--runs', type=number(int, 1, 100), default=runs, help=f'of which the medians count ({runs})')
    parser.add_argument('--seconds', type=number(float, 0.1, 86400), default=seconds, help=f'of one measurement ({seconds})')
    parser.add_argument('--when-idle', action='store_true', help='before each measurement wait until the machine has little else to do')
    parser.add_argument('--idle-limit', metavar='SECONDS', type=number(float, 0.1, 86400), default=120, help='... this long at most; it is noted if that did not help')
    parser.add_argument('--congestion', metavar='NAMES', type=a_list(str), default=['host'],
                        help="TCP's congestion control: host (whatever it is) and others, in turn, in a network namespace: the host's setting stays")
    parser.add_argument('--json', metavar='FILE', type=output_file, help='everything that was measured; rewritten after each measurement')
    add_output(parser)


def add_ringbolt(parser, wal_size='256MiB'):
    parser.add_argument('--wal-size', type=size, default=size(wal_size), help=f'({wal_size})')
    parser.add_argument('--memory', type=size, default=size('256MiB'), help='of each daemon (256MiB); more where its volumes need it')
    parser.add_argument('--shards', type=number(int, 0, 256), default=0, help='of each daemon; 0: one per core')
    parser.add_argument('--pin', action='store_true', help='each shard stays on one core: for a machine with a core for each shard of all daemons, and for the client')
