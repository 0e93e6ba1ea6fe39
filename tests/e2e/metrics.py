#!/usr/bin/python3
"""What a real Prometheus makes of GET /metrics, of the alert rules and of the dashboard: all that they name is exported, panels have data,
counters are what a client did, percentiles can be had, and a replica that is stopped raises alerts until it is back."""
import http.client
import itertools
import json
import math
import os
import re

import nbd

from harness import TOP, Failure, Pair, Script, ctl, run, wait_for
from prometheus import Prometheus, missing

RULES = os.path.join(TOP, 'tools', 'prometheus', 'ringbolt.rules.yml')
RULES_TEST = os.path.join(TOP, 'tools', 'prometheus', 'ringbolt.rules.test.yml')
DASHBOARD = os.path.join(TOP, 'tools', 'grafana', 'ringbolt.json')
# Requests of 4 KiB, by kind.
LOAD = {'write': 200, 'write_fua': 40, 'read': 100, 'flush': 10, 'trim': 5, 'zeroes': 5}
BLOCK = 4096
HISTOGRAMS = ('ringbolt_volume_request_duration_seconds', 'ringbolt_volume_request_stage_seconds', 'ringbolt_volume_stage_duration_seconds',
              'ringbolt_replica_round_trip_seconds')
# Exported only while there is a rebuild.
REBUILD = re.compile(r'ringbolt_replica_rebuild_(size|done|skipped)_bytes|ringbolt_replica_rebuild_(bytes_per|left)_second')
# What a machine that others load may raise, too.
OF_LOAD = {'RingboltWritesSlow', 'RingboltShardBusy'}
# At the primary; the replica's own is RingboltDaemonDown.
OF_A_LOST_REPLICA = {'RingboltVolumeNotRedundant', 'RingboltReplicaSetBelowDesired', 'RingboltReplicaOutOfSync', 'RingboltVolumeNotHealthy'}


def wait_for_none(find, what):
    """Until `find` returns nothing any more; what it returned last is in the failure."""
    last = []

    def none():
        last[:] = find()
        return not last
    try:
        wait_for(none, what, every=0.2)
    except Failure as failure:
        raise Failure(f'{failure}; last: {last}') from None


def check_rules(script):
    with script.test('promtool has nothing against the alert rules'):
        assert 'SUCCESS' in run(['promtool', 'check', 'rules', RULES]).out


def check_rules_tests(script):
    with script.test('each alert fires when it should, and not when it should not'):
        assert 'SUCCESS' in run(['promtool', 'test', 'rules', RULES_TEST]).out
        with open(RULES) as rules, open(RULES_TEST) as tests:
            text = tests.read()
            untested = [name for name in re.findall(r'- alert: (\w+)', rules.read()) if f'alertname="{name}",alertstate="firing",severity' not in text]
        assert not untested, untested


class Dashboard:
    def __init__(self):
        with open(DASHBOARD) as file:
            self.document = json.load(file)
        self.variables = {variable['name']: variable for variable in self.document['templating']['list']}
        self.panels = [panel for panel in self.document['panels'] if panel['type'] != 'row']

    def expressions(self):
        """As Grafana asks when all is chosen."""
        return [self.filled(target['expr']) for panel in self.panels for target in panel['targets']]

    @staticmethod
    def filled(expression):
        return expression.replace('$__rate_interval', '1m').replace('$instance', '.*').replace('$volume', '.*')

    def check(self):
        ids = [panel['id'] for panel in self.document['panels']]
        assert len(ids) == len(set(ids)), ids
        cells = set()
        for panel in self.document['panels']:
            at = panel['gridPos']
            own = set(itertools.product(range(at['x'], at['x'] + at['w']), range(at['y'], at['y'] + at['h'])))
            assert own and at['x'] + at['w'] <= 24 and not own & cells, (panel['title'], at)
            cells |= own
        assert self.variables['datasource']['type'] == 'datasource' and self.variables['datasource']['query'] == 'prometheus'
        source = {'type': 'prometheus', 'uid': '${datasource}'}
        for panel in self.panels:
            assert panel['title'] and panel['description'] and panel['fieldConfig']['defaults']['unit'], panel
            assert panel['targets'] and [target['refId'] for target in panel['targets']] == list('ABCDEF'[:len(panel['targets'])]), panel
            assert all(one['datasource'] == source for one in (panel, *panel['targets'])), panel
            for target in panel['targets']:
                wanted = {'instance', 'volume'} if re.search('ringbolt_(volume|replica)_', target['expr']) else {'instance'}
                for name, labels in selectors(target['expr']):
                    used = set(re.findall(r'\$(\w+)', labels))
                    assert used == wanted, (panel['title'], name, labels)
                assert target['legendFormat'], panel

    def choices(self):
        """Of each variable that has them in Prometheus: selector and label."""
        found = {}
        for name, variable in self.variables.items():
            if variable['type'] == 'query':
                found[name] = re.fullmatch(r'label_values\((.*), (\w+)\)', self.filled(variable['definition'])).groups()
                assert variable['query']['query'] == variable['definition'], variable
        return found


def selectors(expression):
    """What it asks of the data base: pairs of name and labels, "{...}" or empty."""
    bare = re.sub(r'\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)|\[[^\]]*\]', ' ', expression)
    words = re.findall(r'\b([a-zA-Z_:][\w:]*)\b(?!\s*\()(\{[^}]*\})?', bare)
    return [(name, labels) for name, labels in words if name not in ('and', 'or', 'unless', 'bool', 'offset')]


def check_scrapes(script, prometheus, pair):
    with script.test('Prometheus scrapes both daemons, and has nothing against what they tell'):
        def wrong():
            targets = prometheus.targets()
            how = {node.admin_address: targets.get(node.admin_address, {'health': 'unknown', 'lastError': ''}) for node in pair.nodes}
            return [(address, one['health'], one['lastError']) for address, one in how.items() if one['health'] != 'up' or one['lastError']]
        wait_for_none(wrong, 'both targets to be up')
    with script.test('every metric says of which type it is, and what it is'):
        families = prometheus.described()
        plain = [name for name in prometheus.api('label/__name__/values') if not re.match('up$|scrape_|ALERTS', name)]
        assert len(plain) > 80, plain
        for name in plain:
            family = families.get(name) or families[re.sub('_(bucket|sum|count)$', '', name)]
            assert family['type'] in ('counter', 'gauge', 'histogram') and len(family['help']) > 10, family
    with script.test('promtool has nothing against the text of either daemon'):
        for node in pair.nodes:
            connection = http.client.HTTPConnection(node.ip, node.admin_port, timeout=60)
            connection.request('GET', '/metrics')
            result = run(['promtool', 'check', 'metrics'], data=connection.getresponse().read(), check=False)
            connection.close()
            assert result.returncode == 0 and not result.err, result.err


def put_load(pair):
    client = nbd.NBD()
    client.connect_uri(pair.uri)
    data = os.urandom(BLOCK)
    for number in range(LOAD['write']):
        client.pwrite(data, number * BLOCK)
    for number in range(LOAD['write_fua']):
        client.pwrite(data, number * BLOCK, nbd.CMD_FLAG_FUA)
    for number in range(LOAD['read']):
        assert client.pread(BLOCK, number * BLOCK) == data
    for _ in range(LOAD['flush']):
        client.flush()
    for number in range(LOAD['trim']):
        client.trim(BLOCK, number * BLOCK)
    for number in range(LOAD['zeroes']):
        client.zero(BLOCK, number * BLOCK)
    client.shutdown()


def check_numbers(script, prometheus, pair):
    with script.test('counters are what the client did'):
        # They have been scraped as 0: only what is seen to rise has a rate.
        put_load(pair)
        here = f'{{instance="{pair.primary.admin_address}",volume="vol0"}}'

        expected = {'requests_total': LOAD, 'request_duration_seconds_count': LOAD, 'request_errors_total': dict.fromkeys(LOAD, 0),
                    'request_bytes_total': {op: count * BLOCK for op, count in LOAD.items() if op != 'flush'}}

        def wrong():
            seen = {name: {labels['op']: value for labels, value in prometheus.query(f'sum by (op) (ringbolt_volume_{name}{here})')} for name in expected}
            return [(name, seen[name], 'expected', expected[name]) for name in expected if seen[name] != expected[name]]
        wait_for_none(wrong, 'numbers of exactly these requests')
    with script.test('histograms give percentiles of all that happened, and these are finite'):
        def things(name):
            rates = prometheus.query(f'histogram_quantile(0.99, rate({name}_bucket[1m])) and rate({name}_count[1m]) > 0')
            assert all(math.isfinite(value) and value >= 0 for _, value in rates), rates
            return {labels.get('op') or labels.get('stage') or labels['replica'] for labels, _ in rates}
        for name, least in zip(HISTOGRAMS, (set(LOAD), {'admission', 'staging', 'commit', 'reply'}, {'wal_write', 'wal_flush'}, {pair.replica.name})):
            wait_for_none(lambda: least - things(name), f'percentiles of {name}')


def without_series(prometheus, expressions):
    """Of what they select: of which there is nothing."""
    asked = {name + labels for expression in expressions for name, labels in selectors(expression)}
    return sorted(selector for selector in asked if not prometheus.query(selector))


def without_data(prometheus, expressions):
    return [expression for expression in expressions if not prometheus.query(expression)]


def check_legends(script, prometheus, dashboard):
    """While there is data of every panel."""
    with script.test('what panels call their lines by is there, and no two lines are called the same'):
        for panel in dashboard.panels:
            names = []
            for target in panel['targets']:
                results = prometheus.query(dashboard.filled(target['expr']))
                assert all(label in labels for label in re.findall(r'{{(\w+)}}', target['legendFormat']) for labels, _ in results), (target, results)
                names += [re.sub(r'{{(\w+)}}', lambda match: labels[match[1]], target['legendFormat']) for labels, _ in results]
            assert names and len(names) == len(set(names)), (panel['title'], names)


def check_expressions(script, prometheus, pair, dashboard):
    alerts = [rule['query'] for rule in prometheus.rules()]
    panels = dashboard.expressions()
    with script.test('rules and panels name only what is exported'):
        families = prometheus.described()
        names = {'up', *families, *(name + end for name in HISTOGRAMS for end in ('_bucket', '_sum', '_count'))}
        used = {name for expression in alerts + panels for name, _ in selectors(expression)}
        assert len(used) > 50 and used <= names, used - names
    with script.test('Prometheus evaluates every rule without an error'):
        wait_for_none(lambda: [(rule['name'], rule['health'], rule.get('lastError')) for rule in prometheus.rules() if rule['health'] != 'ok'], 'every rule to be evaluated')
        with open(RULES) as file:
            assert sorted(rule['name'] for rule in prometheus.rules()) == sorted(re.findall(r'- alert: (\w+)', file.read()))
    with script.test('the dashboard offers the daemons and the volumes that there are'):
        offered = {name: {labels[label] for labels, _ in prometheus.query(selector)} for name, (selector, label) in dashboard.choices().items()}
        assert offered == {'instance': {node.admin_address for node in pair.nodes}, 'volume': {'vol0'}}, offered
    with script.test('on a healthy pair all that rules select is there, and every panel has data, but for rebuilds'):
        ctl(pair.primary, 'verify', 'vol0')
        for find, expressions in ((without_series, alerts + panels), (without_data, panels)):
            wait_for_none(lambda: [one for one in find(prometheus, expressions) if not REBUILD.search(one)], 'data')
    with script.test('and while a replica is rebuilt nothing is missing'):
        ctl(pair.primary, 'rebuild', 'vol0', pair.replica.name)
        for find, expressions in ((without_series, alerts + panels), (without_data, panels)):
            wait_for_none(lambda: find(prometheus, expressions), 'data of a rebuild')
    check_legends(script, prometheus, dashboard)
    with script.test('the rebuild ends'):
        pair.primary.options['rebuild.rate_max'] = '0'
        pair.primary.write_config()
        ctl(pair.primary, 'reload')
        pair.wait_healthy()


def check_alerts(script, prometheus, pair):
    def raised():
        return {alert['labels']['alertname'] for alert in prometheus.alerts()} - OF_LOAD

    def what(alert):
        return alert['labels']['alertname'], alert['labels'].get('instance')
    with script.test('a healthy pair raises no alert'):
        wait_for_none(raised, 'no alert')
    with script.test('a replica that is stopped raises those of a lost replica, which name what they are about'):
        expected = {(name, pair.primary.admin_address) for name in OF_A_LOST_REPLICA} | {('RingboltDaemonDown', pair.replica.admin_address)}
        # A machine that others load may be late with a scrape.
        possible = expected | {(name, node.admin_address) for name in OF_LOAD | {'RingboltDaemonDown'} for node in pair.nodes}
        pair.replica.stop()
        wait_for_none(lambda: expected - {what(alert) for alert in prometheus.alerts() if alert['state'] == 'firing'}, 'alerts')
        for alert in prometheus.alerts():
            assert what(alert) in possible, alert
            texts = alert['annotations']
            assert ('vol0' in texts['summary']) == ('volume' in alert['labels']) and '<' not in texts['summary'] + texts['description'], texts
    with script.test('and when it is back they are gone'):
        pair.replica.start()
        pair.wait_healthy()
        wait_for_none(raised, 'no alert')


def at_once(script):
    """The rules, but that alerts do not wait for minutes."""
    path = script.path('ringbolt.rules.yml')
    with open(RULES) as rules, open(path, 'w') as file:
        file.write(re.sub(r'\bfor: \w+', 'for: 1s', rules.read()))
    return path


def main():
    with Script() as script:
        dashboard = Dashboard()
        with script.test('the dashboard is whole: panels with words, units and room, which follow what is chosen'):
            dashboard.check()
        if missing():
            script.skip('the rules, the metrics and the dashboard work with Prometheus', missing())
            return
        check_rules(script)
        # A rebuild lasts so long that all of it can be seen, on a slow machine, too.
        pair = Pair(script, size='16MiB', wal_size='8MiB', options={'replication.timeout': '2s', 'rebuild.rate_max': '128KiB'})
        # It begins to scrape some seconds after its start: something else is done meanwhile.
        prometheus = Prometheus(script, pair.nodes, at_once(script))
        check_rules_tests(script)
        pair.start()
        check_scrapes(script, prometheus, pair)
        check_numbers(script, prometheus, pair)
        check_expressions(script, prometheus, pair, dashboard)
        check_alerts(script, prometheus, pair)
        pair.stop()


main()
