"""A real Prometheus (Debian's package `prometheus`) on loopback that scrapes the daemons of a script and evaluates rules."""
import http.client
import json
import os
import shutil
import urllib.parse

from harness import CLIENT_PATH, Failure, free_port, wait_for

JOB = 'ringbolt'  # as the alert rules and the dashboard expect it
CONFIG = """\
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: {job}
    static_configs: [{{targets: {targets}}}]
"""


def missing():
    """Why there is no Prometheus here; empty: there is one."""
    programs = [program for program in ('prometheus', 'promtool') if not shutil.which(program, path=CLIENT_PATH)]
    return f'{programs[0]} is not installed' if programs else ''


class Prometheus:
    def __init__(self, script, nodes, rules):
        self.port = free_port()
        self._log_path = script.path('prometheus.log')
        config = script.path('prometheus.yml')
        with open(config, 'w') as file:
            file.write(CONFIG.format(rules=json.dumps(rules), job=JOB, targets=json.dumps([node.admin_address for node in nodes])))
        with open(self._log_path, 'w') as log:
            self._process = script.spawn(['prometheus', f'--config.file={config}', f'--storage.tsdb.path={script.path("prometheus-data")}',
                                          f'--web.listen-address=127.0.0.1:{self.port}', '--log.level=warn'], stdout=log, stderr=log)
        wait_for(self._is_ready, 'Prometheus')

    def _is_ready(self):
        if self._process.poll() is not None:
            with open(self._log_path, errors='replace') as log:
                raise Failure(f'Prometheus ended with exit code {self._process.returncode}:\n{log.read()[-2000:]}')
        try:
            return self._get('/-/ready')[0] == 200
        except ConnectionRefusedError:
            return False

    def _get(self, target):
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=60)
        try:
            connection.request('GET', target)
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def api(self, path, **parameters):
        """What its HTTP API answers; what it refuses is a failure, with its words."""
        status, text = self._get(f'/api/v1/{path}?{urllib.parse.urlencode(parameters)}')
        answer = json.loads(text)
        if status != 200:
            raise Failure(f'{path} {parameters}: {status}: {answer["error"]}')
        return answer['data']

    def query(self, expression):
        """The vector that the expression is now: pairs of labels and number."""
        return [(one['metric'], float(one['value'][1])) for one in self.api('query', query=expression)['result']]

    def targets(self):
        return {target['labels']['instance']: target for target in self.api('targets')['activeTargets']}

    def rules(self):
        return [rule for group in self.api('rules')['groups'] for rule in group['rules']]

    def alerts(self):
        """Those that are pending or firing."""
        return self.api('alerts')['alerts']

    def described(self):
        """Names of all families that were scraped, with their type and HELP."""
        return {one['metric']: one for one in self.api('targets/metadata')}
