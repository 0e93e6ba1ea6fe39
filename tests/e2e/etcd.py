"""A real etcd (Debian's packages `etcd-server` and `etcd-client`) on loopback: one member or several, plain or with TLS."""
import os
import shutil
import signal

from harness import CLIENT_PATH, free_port, run, wait_for


def missing():
    """Why there is no etcd here; empty: there is one."""
    programs = [program for program in ('etcd', 'etcdctl', 'openssl') if not shutil.which(program, path=CLIENT_PATH)]
    return f'{programs[0]} is not installed' if programs else ''


class Member:
    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name
        self.client_port, self.peer_port = free_port(), free_port()
        self.process = None

    @property
    def url(self):
        return f'{"https" if self.cluster.certificate else "http"}://127.0.0.1:{self.client_port}'

    @property
    def peer_url(self):
        return f'http://127.0.0.1:{self.peer_port}'

    def start(self):
        cluster = self.cluster
        peers = ','.join(f'{member.name}={member.peer_url}' for member in cluster.members)
        command = ['etcd', '--name', self.name, '--data-dir', os.path.join(cluster.directory, self.name), '--initial-cluster', peers,
                   '--listen-client-urls', self.url, '--advertise-client-urls', self.url, '--listen-peer-urls', self.peer_url,
                   '--initial-advertise-peer-urls', self.peer_url, '--initial-cluster-token', cluster.directory, '--logger', 'zap', '--log-level', 'warn']
        if cluster.certificate:
            command += ['--cert-file', cluster.certificate, '--key-file', cluster.key]
        with open(os.path.join(cluster.directory, self.name + '.log'), 'ab') as log:
            self.process = cluster.script.spawn(command, stdout=log, stderr=log, start_new_session=True)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def pause(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self):
        os.kill(self.process.pid, signal.SIGCONT)


class Etcd:
    def __init__(self, script, name, members=1, tls=False):
        self.script = script
        self.directory = script.path(name)
        os.mkdir(self.directory)
        self.certificate = self.key = None
        if tls:
            self.certificate, self.key = os.path.join(self.directory, 'cert.pem'), os.path.join(self.directory, 'key.pem')
            run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=etcd',
                 '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', self.key, '-out', self.certificate])
        self.members = [Member(self, f'm{i + 1}') for i in range(members)]
        self.arguments = []  # further ones of every etcdctl

    @property
    def urls(self):
        return [member.url for member in self.members]

    def start(self):
        for member in self.members:
            member.start()
        self.wait_healthy()

    def wait_healthy(self):
        wait_for(lambda: self.ctl('get', 'x', check=False).returncode == 0, 'etcd to answer')

    def ctl(self, *arguments, check=True):
        running = ','.join(member.url for member in self.members if member.process is not None)
        tls = ['--cacert', self.certificate] if self.certificate else []
        return run(['etcdctl', '--endpoints', running, '--command-timeout=10s', *tls, *self.arguments, *arguments], check=check, environment={'ETCDCTL_API': '3'})

    def leader(self):
        """The member that leads."""
        for member in self.members:
            if member.process is None:
                continue
            answer = run(['etcdctl', '--endpoints', member.url, '--command-timeout=10s', 'endpoint', 'status'], environment={'ETCDCTL_API': '3'}).out.split(', ')
            if answer[4] == 'true':
                return member
        return None

    def revision(self):
        out = self.ctl('get', 'x', '-w', 'json').out
        return int(out.split('"revision":')[1].split(',')[0].split('}')[0])

    def kill(self):
        for member in self.members:
            if member.process is not None:
                member.kill()
