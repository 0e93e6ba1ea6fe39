"""The commands, options and configuration keys that the built programs know, as they tell by themselves."""
import re

from harness import RINGBOLTCTL, RINGBOLTD, run


class Command:
    """What `program WORDS --help` shows."""

    def __init__(self, program, words=()):
        self.words = tuple(words)
        text = run([program, *words, '--help']).out
        parts = re.split(r'^(\w+):\n', text, flags=re.MULTILINE)
        sections = dict(zip(parts[1::2], parts[2::2]))
        self.options = re.findall(r'^  (?:-\w,)?(--[\w-]+)', sections.get('Options', ''), re.MULTILINE)
        self.positionals = re.findall(r'^  (\w+)', sections.get('Positionals', ''), re.MULTILINE)
        names = re.findall(r'^  (\w+)', sections.get('Subcommands', ''), re.MULTILINE)
        self.subcommands = [Command(program, (*words, name)) for name in names]
        assert self.options, text  # --help at least: else the text was not understood

    def all(self):
        """This one and all below it."""
        return [self] + [inner for command in self.subcommands for inner in command.all()]


def ringboltd():
    return Command(RINGBOLTD)


def ringboltctl():
    return Command(RINGBOLTCTL)


def config_keys():
    """(table, key, what holds without it or '(required)', when a change takes effect) of every key."""
    keys = []
    for line in run([RINGBOLTD, '--describe-config']).out.splitlines():
        name, standard, when = re.split(r'  +', line)
        table, key = name.rsplit('.', 1)
        keys.append((table, key, standard, when))
    return keys
