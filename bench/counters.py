"""What daemons have counted, as GET /metrics tells it, and what of that fell into a part of time."""
import http.client
import re
from typing import NamedTuple

import harness

SAMPLE = re.compile(r'([a-zA-Z_:][\w:]*)(?:{(.*)})? (\S+)')
FINEST_US = 8  # the first bucket of include/ringbolt/duration_histogram.h
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def scrape(node):
    """{(name, labels): value} of now."""
    connection = http.client.HTTPConnection(node.ip, node.admin_port, timeout=60)
    try:
        connection.request('GET', '/metrics')
        reply = connection.getresponse()
        text = reply.read().decode()
    finally:
        connection.close()
    if reply.status != 200:
        raise harness.Failure(f'{node.name}: status {reply.status} for /metrics')
    return parse(text)


def parse(text):
    samples = {}
    for line in text.splitlines():
        if not line.startswith('#'):
            name, labels, value = SAMPLE.fullmatch(line).groups()
            samples[name, frozenset(LABEL.findall(labels or ''))] = float(value)
    return samples


class Interval(NamedTuple):
    """Between two scrapes of one daemon."""
    before: dict
    after: dict

    def total(self, name, **labels):
        """By how much a counter has grown, all series with these labels together; None where it is not exported."""
        wanted = set(labels.items())
        found = [value - self.before.get(key, 0) for key, value in self.after.items() if key[0] == name and wanted <= key[1]]
        return sum(found) if found else None

    def requests(self, *ops):
        """That were answered; of these kinds, or of all."""
        if not ops:
            return self.total('ringbolt_volume_requests_total')
        return sum(self.total('ringbolt_volume_requests_total', op=op) for op in ops)

    def durations(self, name, **labels):
        """What a histogram has counted."""
        counts = {}
        for (sample, own), _ in self.after.items():
            if sample == f'{name}_bucket' and set(labels.items()) <= own:
                bound = dict(own)['le']
                counts[float(bound)] = self.total(sample, **labels, le=bound)
        return Durations(self.total(f'{name}_count', **labels) or 0, self.total(f'{name}_sum', **labels) or 0, sorted(counts.items()))


class Durations(NamedTuple):
    count: float
    seconds: float
    counts: list  # (bound in seconds, how many took no longer)

    def mean_us(self):
        return self.seconds * 1e6 / self.count if self.count else 0

    def percentile_us(self, part):
        """As if they lay evenly within a bucket, whose bounds differ by a factor of two; of the last one its lower bound. None: in the first
        one, which has all that took less than can be told apart."""
        lower, below = 0.0, 0
        for bound, count in self.counts:
            if count >= part * self.count and count > below:
                if lower == 0:
                    return None
                within = (part * self.count - below) / (count - below)
                return (lower if bound == float('inf') else lower + within * (bound - lower)) * 1e6
            lower, below = bound, count
        return None
