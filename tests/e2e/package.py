#!/usr/bin/python3
# run-seconds: 1500
"""The Debian package: made of what is built, right in itself, and installed and run in a clean system: first without
systemd, then with a real one (systemd-nspawn), where the unit's limits, readiness, watchdog and reload are tried."""
import contextlib
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import tarfile

from debugging import thread_held
from harness import BUILD, CLIENT_PATH, TOP, Failure, Script, free_port, run, wait_for

# All that is installed. In the package pages of the manual are compressed, and there is its documentation.
FILES = {
    'etc/ringbolt/ringbolt.toml', 'usr/bin/ringboltctl', 'usr/bin/ringboltd', 'usr/lib/systemd/system/ringboltd.service',
    'usr/lib/sysusers.d/ringbolt.conf', 'usr/share/bash-completion/completions/ringboltctl',
    'usr/share/bash-completion/completions/ringboltd', 'usr/share/fish/vendor_completions.d/ringboltctl.fish',
    'usr/share/fish/vendor_completions.d/ringboltd.fish', 'usr/share/man/man1/ringboltctl.1', 'usr/share/man/man5/ringbolt.toml.5',
    'usr/share/man/man7/ringbolt.7', 'usr/share/man/man8/ringboltd.8', 'usr/share/zsh/vendor-completions/_ringboltctl',
    'usr/share/zsh/vendor-completions/_ringboltd'}
DOCUMENTATION = {'usr/share/doc/ringbolt/changelog.gz', 'usr/share/doc/ringbolt/copyright'}
PROGRAMS = ('usr/bin/ringboltctl', 'usr/bin/ringboltd')
VOLUME = '\n[[volume]]\nname = "vol0"\nsize = "64MiB"\nwal_size = "16MiB"\nrole = "primary"\n'
PACKAGE_SECONDS = 400
SYSTEM_SECONDS = 900
MIRROR = 'http://deb.debian.org/debian'
CAP_SYS_RESOURCE = 24
WATCHDOG_SECONDS = 10


def packaged(name):
    return name + '.gz' if '/man/' in name else name


class Package:
    """What is in a .deb."""

    def __init__(self, path):
        self.path = path
        self.members = self._members('--fsys-tarfile')
        self.scripts = self._members('--ctrl-tarfile')

    def _members(self, option):
        data = subprocess.run(['dpkg-deb', option, self.path], check=True, stdout=subprocess.PIPE, timeout=120).stdout
        members = {}
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                content = tar.extractfile(member).read() if member.isfile() else None
                members[member.name.removeprefix('./')] = (member, content)
        return members

    def files(self):
        return {name for name, (member, _) in self.members.items() if not member.isdir()}

    def content(self, name):
        return self.members[name][1]

    def field(self, name):
        return run(['dpkg-deb', '-f', self.path, name]).out.strip()


def make_package():
    return Package(run([os.path.join(TOP, 'tools', 'package'), BUILD], seconds=PACKAGE_SECONDS).out.splitlines()[-1])


def check_content(script, package):
    with script.test('the package has exactly the files that it should have'):
        expected = {packaged(name) for name in FILES} | DOCUMENTATION
        assert package.files() == expected, package.files() ^ expected
    with script.test('its files belong to root, and may be changed by nobody else'):
        for name, (member, _) in {**package.members, **package.scripts}.items():
            assert (member.uid, member.gid) == (0, 0), (name, member.uid, member.gid)
            runs = member.isdir() or name in PROGRAMS or name in ('postinst', 'prerm', 'postrm')
            assert member.mode == (0o755 if runs else 0o644), (name, oct(member.mode))
    with script.test('its programs are stripped, position-independent, and know nothing of where they were built'):
        for name in PROGRAMS:
            path = script.path(os.path.basename(name))
            with open(path, 'wb') as file:
                file.write(package.content(name))
            sections = run(['readelf', '-hSdW', path]).out
            assert ' .symtab ' not in sections and ' DYN ' in sections, sections[:2000]
            assert 'RUNPATH' not in sections and 'RPATH' not in sections, sections
        for name in package.files():
            assert TOP.encode() not in package.content(name), name
    with script.test('`meson install` installs the same files, byte for byte but for stripping and compression'):
        root = script.path('installed')
        run(['meson', 'install', '-C', BUILD, '--no-rebuild', '--quiet'], environment={'DESTDIR': root})
        installed = {os.path.relpath(os.path.join(folder, name), root) for folder, _, names in os.walk(root) for name in names}
        assert installed == FILES, installed ^ FILES
        for name in FILES - set(PROGRAMS):
            with open(os.path.join(root, name), 'rb') as file:
                content = package.content(packaged(name))
                assert file.read() == (gzip.decompress(content) if '/man/' in name else content), name
    with script.test('`meson install` does not overwrite a configuration that is there'):
        config = os.path.join(root, 'etc/ringbolt/ringbolt.toml')
        with open(config, 'a') as file:
            file.write('# mine\n')
        run(['meson', 'install', '-C', BUILD, '--no-rebuild', '--quiet'], environment={'DESTDIR': root})
        with open(config) as file:
            assert file.read().endswith('# mine\n')


def check_control(script, package):
    with script.test('name, version and architecture are right, and it depends on the libraries that the programs need'):
        with open(os.path.join(BUILD, 'meson-info', 'intro-projectinfo.json')) as file:
            info = json.load(file)
        assert package.field('Package') == 'ringbolt' and package.field('Version') == info['version'], package.field('Version')
        assert package.field('Architecture') == run(['dpkg', '--print-architecture']).out.strip()
        needed = run(['readelf', '-dW', script.path('ringboltd')]).out
        for library, name in (('liburing.so.2', 'liburing2'), ('libsystemd.so.0', 'libsystemd0'), ('libc.so.6', 'libc6')):
            assert library in needed and re.search(rf'\b{name}\b', package.field('Depends')), (library, package.field('Depends'))
    with script.test('the configuration is a conffile, and valid as it is'):
        assert package.scripts['conffiles'][1].decode().split() == ['/etc/ringbolt/ringbolt.toml']
        path = script.path('packaged.toml')
        with open(path, 'wb') as file:
            file.write(package.content('etc/ringbolt/ringbolt.toml'))
        result = run([os.path.join(BUILD, 'ringboltd'), '--config', path, '--check'])
        assert not result.err, result.err
    with script.test('its checksums are those of its files'):
        sums = dict(reversed(line.split('  ', 1)) for line in package.scripts['md5sums'][1].decode().splitlines())
        assert set(sums) == {name for name in package.files() if name.startswith('usr/')}
        assert all(hashlib.md5(package.content(name)).hexdigest() == sums[name] for name in sums)
    with script.test('its scripts are shell scripts without mistakes of form'):
        for name in ('postinst', 'prerm', 'postrm'):
            content = package.scripts[name][1]
            assert content.startswith(b'#!/bin/sh\n') and b'\nset -e\n' in content, name
            run(['sh', '-n'], data=content)
    with script.test('made again it is the same package', seconds=PACKAGE_SECONDS + 60):
        with open(package.path, 'rb') as file:
            before = file.read()
        with open(make_package().path, 'rb') as file:
            assert file.read() == before


def check_refusals(script):
    with script.test('tools/package says what it lacks: a build, or a build that would install elsewhere'):
        result = run([os.path.join(TOP, 'tools', 'package'), script.path('nothing')], check=False)
        assert result.returncode == 1 and 'ringboltd is missing' in result.err, result.err
        other = script.path('other')
        os.mkdir(other)
        for name in ('ringboltd', 'ringboltctl'):
            os.symlink(os.path.join(BUILD, name), os.path.join(other, name))
        with open(shutil.copytree(os.path.join(BUILD, 'meson-info'), os.path.join(other, 'meson-info')) + '/intro-buildoptions.json', 'r+') as file:
            options = json.load(file)
            next(option for option in options if option['name'] == 'prefix')['value'] = '/usr/local'
            file.seek(0)
            file.truncate()
            json.dump(options, file)
        result = run([os.path.join(TOP, 'tools', 'package'), other], check=False)
        assert result.returncode == 1 and 'installs to /usr/local' in result.err, (result.out, result.err)


# --- a clean system ----------------------------------------------------------------------------------------------


class CleanSystem:
    """A Debian with what is essential and apt, below a directory."""

    def __init__(self, script):
        self.root = script.path('system')

    def make(self):
        """Why it cannot be made; None if it was."""
        if os.geteuid() != 0:
            return 'not root'
        if not shutil.which('mmdebstrap', path=CLIENT_PATH):
            return 'mmdebstrap is not installed'
        mirrors = run(['apt-get', 'indextargets', '--format', '$(REPO_URI) $(CODENAME) $(COMPONENT)', 'Created-By: Packages', 'Origin: Debian'])
        # The one that this machine uses; what ends in "-security" or "-updates" has a part only.
        mirror = next((line.split()[0] for line in mirrors.out.splitlines() if line.endswith('/debian/ bookworm main')), MIRROR)
        # Whose indexes stay, so that apt knows where the package's dependencies are.
        result = run(['mmdebstrap', '--variant=minbase', '--skip=cleanup/apt/lists', '--dpkgopt=force-unsafe-io', '--aptopt=Acquire::Retries "3"',
                      'bookworm', self.root, mirror], seconds=SYSTEM_SECONDS, check=False)
        return None if result.returncode == 0 else f'mmdebstrap failed: {result.err[-300:]}'.replace('\n', ' ')

    def path(self, name):
        return os.path.join(self.root, name)

    def read(self, name):
        with open(self.path(name)) as file:
            return file.read()

    def write(self, name, text):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), 'w') as file:
            file.write(text)

    def run(self, command, **options):
        return run(['chroot', self.root, *command], environment={'DEBIAN_FRONTEND': 'noninteractive', 'LC_ALL': 'C'}, **options)


def check_installation(script, system, package):
    shutil.copy(package.path, system.path('ringbolt.deb'))
    with script.test('apt installs the package, with all that it depends on', seconds=SYSTEM_SECONDS + 60):
        system.run(['apt-get', 'install', '-q', '-y', '--no-install-recommends', '/ringbolt.deb'], seconds=SYSTEM_SECONDS)
        assert 'install ok installed' in system.run(['dpkg', '-s', 'ringbolt']).out
    with script.test('it has made its user, enabled the service, and left a valid configuration'):
        user = next(line for line in system.read('etc/passwd').splitlines() if line.startswith('ringbolt:')).split(':')
        assert user[5:] == ['/var/lib/ringbolt', '/usr/sbin/nologin'] and 0 < int(user[2]) < 1000, user
        assert os.path.islink(system.path('etc/systemd/system/multi-user.target.wants/ringboltd.service'))
        system.run(['ringboltd', '--config', '/etc/ringbolt/ringbolt.toml', '--check'])
        assert 'ringboltctl' in system.run(['ringboltctl', '--version']).out


def check_plain_run(script, system):
    with script.test('there the daemon serves a volume, and stops cleanly'):
        nbd, replication, admin = (f'127.0.0.1:{free_port()}' for _ in range(3))
        system.write('etc/ringbolt/plain.toml', f'[node]\nid = "n1"\ndata_dir = "/var/tmp/plain"\nmemory = "16MiB"\nshards = 1\n'
                     f'[nbd]\nlisten = ["{nbd}"]\n[replication]\nlisten = "{replication}"\n[admin]\nlisten = "{admin}"\n{VOLUME}')
        with open(script.path('plain.log'), 'w+') as log:
            daemon = script.spawn(['chroot', system.root, 'ringboltd', '--config', '/etc/ringbolt/plain.toml'], stderr=log)

            def answers():
                log.seek(0)
                assert daemon.poll() is None, log.read()
                return 'publish_healthy' in system.run(['ringboltctl', '--admin', admin, 'status'], check=False).out
            wait_for(answers, 'a healthy volume')
        write_and_read([], nbd)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(timeout=120) == 0
        shutil.rmtree(system.path('var/tmp/plain'))


def write_and_read(prefix, address):
    run([*prefix, 'qemu-io', '-f', 'raw', '-c', 'write -P 7 4k 256k', '-c', 'flush', '-c', 'read -P 7 4k 256k', f'nbd://{address}/vol0'])


# --- and with systemd --------------------------------------------------------------------------------------------


class Container:
    """The clean system booted, with processes and network of its own."""

    def __init__(self, script, system):
        self._log_path = script.path('boot.log')
        command = ['systemd-nspawn', '--quiet', f'--directory={system.root}', f'--machine=ringbolt-e2e-{os.getpid()}', '--register=no', '--keep-unit',
                   '--private-network', '--capability=CAP_IPC_LOCK', '--console=pipe', '--boot']
        with open(self._log_path, 'w') as log:
            self._nspawn = script.spawn(command, stdout=log, stderr=log)
        self._leader = None

    def boot(self):
        """Why it does not work here; None if it does."""
        def is_up():
            if self._nspawn.poll() is not None:
                return 'ended'
            if self._leader is None:
                self._leader = next((int(pid) for pid in self._children() if self._is_init(pid)), None)
            # Also "degraded": of what else is in the system nothing matters here.
            return self._leader and self.run(['systemctl', 'is-system-running'], check=False).out.strip() in ('running', 'degraded')
        try:
            how = wait_for(is_up, 'systemd in the container')
        except Failure:
            how = 'does not come up'
        if how is True:
            return None
        with open(self._log_path, errors='replace') as log:
            return f'systemd-nspawn: {how}: {log.read()[-300:]}'.replace('\n', ' ')

    def _children(self):
        with open(f'/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children') as file:
            return file.read().split()

    @staticmethod
    def _is_init(pid):
        """The first process of its own, and by now the system's systemd, not systemd-nspawn any more."""
        with contextlib.suppress(FileNotFoundError):
            with open(f'/proc/{pid}/status') as file:
                ids = next(line for line in file if line.startswith('NSpid:')).split()
            with open(f'/proc/{pid}/comm') as file:
                return ids[-1] == '1' and len(ids) > 2 and file.read().strip() == 'systemd'
        return False

    def run(self, command, **options):
        return run(['nsenter', f'--target={self._leader}', '--all', *command], **options)

    def network(self):
        """What a client's command begins with: this host's programs, on the container's network."""
        return ['nsenter', f'--target={self._leader}', '--net']

    def show(self, *names):
        text = self.run(['systemctl', 'show', 'ringboltd', '-p', ','.join(names)]).out
        values = dict(line.split('=', 1) for line in text.splitlines())
        return [values[name] for name in names]

    def wait_active(self):
        def is_active():
            state, result = self.show('ActiveState', 'Result')
            if state == 'failed':
                raise Failure(f'the service has failed ({result}):\n{self.journal()}')
            return state == 'active'
        wait_for(is_active, 'the service')

    def pid(self):
        """The daemon's, as this host counts."""
        inner = self.show('MainPID')[0]
        for pid in filter(str.isdigit, os.listdir('/proc')):
            with contextlib.suppress(OSError, StopIteration):
                with open(f'/proc/{pid}/status') as file:
                    ids = next(line for line in file if line.startswith('NSpid:')).split()[1:]
                if ids[-1] == inner and len(ids) > 1 and os.readlink(f'/proc/{pid}/ns/pid') == os.readlink(f'/proc/{self._leader}/ns/pid'):
                    return int(pid)
        raise Failure(f'no process {inner} in the container')

    def journal(self, *options):
        return self.run(['journalctl', '-u', 'ringboltd', '-b', '--no-pager', '-o', 'cat', *options]).out

    def stop(self):
        self.run(['systemctl', 'poweroff', '--no-block'], check=False)
        self._nspawn.wait(timeout=120)


def prepare_service(system):
    """What the tests need of it: a volume, a watchdog that does not take a minute, and memory that may be locked also where no
    limit can be raised (this machine is a container itself)."""
    system.write('etc/ringbolt/ringbolt.toml', system.read('etc/ringbolt/ringbolt.toml') + VOLUME)
    drop_in = f'[Service]\nWatchdogSec={WATCHDOG_SECONDS}s\n'
    with open('/proc/self/status') as file:
        capabilities = int(next(line for line in file if line.startswith('CapEff:')).split()[1], 16)
    if not capabilities >> CAP_SYS_RESOURCE & 1:
        drop_in += 'CapabilityBoundingSet=CAP_IPC_LOCK\nAmbientCapabilities=CAP_IPC_LOCK\n'
    system.write('etc/systemd/system/ringboltd.service.d/test.conf', drop_in)


def check_service(script, system, container):
    address = '127.0.0.1:10809'
    with script.test('systemd: the service is started at boot, within its limits, and serves'):
        container.wait_active()
        assert container.show('SubState', 'StatusText') == ['running', 'serving 1 volumes'], container.journal()
        with open(f'/proc/{container.pid()}/status') as file:
            status = dict(line.rstrip('\n').split(':\t', 1) for line in file if ':\t' in line)
        assert status['NoNewPrivs'] == '1' and status['Seccomp'] == '2' and status['Uid'].split()[0] != '0', status
        write_and_read(container.network(), address)
    with script.test('systemd: ringboltctl talks to it, and only its user sees its data'):
        assert 'publish_healthy' in container.run(['ringboltctl', 'status']).out
        mode = os.stat(system.path('var/lib/ringbolt'))
        assert mode.st_mode & 0o777 == 0o700 and mode.st_uid != 0, oct(mode.st_mode)
    with script.test('systemd: reload rereads the configuration, and fails with the line if that has a mistake'):
        text = system.read('etc/ringbolt/ringbolt.toml')
        pid = container.show('MainPID')
        system.write('etc/ringbolt/ringbolt.toml', text.replace('[node]', '[rebuild]\nrate_max = "7MiB"\n[node]\nmemory = "128MiB"'))
        container.run(['systemctl', 'reload', 'ringboltd'])
        wait_for(lambda: 'needs a restart: node.memory' in container.journal(), 'the reload in the journal')
        assert 'rebuild.rate_max is now "7MiB"' in container.journal(), container.journal()
        system.write('etc/ringbolt/ringbolt.toml', text + 'nonsense')
        assert container.run(['systemctl', 'reload', 'ringboltd'], check=False).returncode == 1
        wait_for(lambda: '/etc/ringbolt/ringbolt.toml:' in container.journal('-p', 'err'), 'the mistake in the journal')
        system.write('etc/ringbolt/ringbolt.toml', text)
        assert container.show('MainPID', 'ActiveState') == [*pid, 'active']
    with script.test('systemd: the journal has lines by their priority'):
        warnings = container.journal('-p', 'warning')
        assert 'needs a restart: node.memory' in warnings and 'publish_healthy' not in warnings, warnings
        assert 'mode publish_healthy' in container.journal('-p', 'info')
    with script.test('systemd: a daemon whose shard hangs is ended and started again, and has what was flushed'):
        pid = container.show('MainPID')
        with thread_held(container.pid(), 'shard-0'):
            wait_for(lambda: 'Watchdog timeout' in container.journal(), 'the watchdog')
        wait_for(lambda: container.show('MainPID') not in (pid, ['0']), 'the restart')
        container.wait_active()
        run([*container.network(), 'qemu-io', '-f', 'raw', '-c', 'read -P 7 4k 256k', f'nbd://{address}/vol0'])
    with script.test('an update neither restarts the daemon nor touches the configuration'):
        pid = container.show('MainPID')
        container.run(['dpkg', '-i', '/ringbolt.deb'])
        assert container.show('MainPID', 'ActiveState') == [*pid, 'active']
        assert system.read('etc/ringbolt/ringbolt.toml') == text
    with script.test('systemd: stop is clean'):
        container.run(['systemctl', 'stop', 'ringboltd'])
        assert container.show('ActiveState', 'Result', 'ExecMainStatus') == ['inactive', 'success', '0'], container.journal()
    with script.test('removal stops the daemon; a purge takes the configuration and leaves volumes'):
        container.run(['systemctl', 'start', 'ringboltd'])
        container.run(['dpkg', '--remove', 'ringbolt'])
        assert container.show('ActiveState', 'LoadState') == ['inactive', 'not-found']
        container.run(['dpkg', '--purge', 'ringbolt'])
        assert not os.path.exists(system.path('etc/ringbolt/ringbolt.toml'))
        assert os.path.exists(system.path('var/lib/ringbolt/volumes/vol0/wal'))


def check_system(script, package):
    system = CleanSystem(script)
    with script.test('a clean system is made, or it is clear why not', seconds=SYSTEM_SECONDS + 120):
        why_not = system.make()
    names = ('the package is installed in a clean system', 'the service runs under a real systemd')
    if why_not is not None:
        for name in names:
            script.skip(name, why_not)
        return
    check_installation(script, system, package)
    check_plain_run(script, system)
    if not shutil.which('systemd-nspawn', path=CLIENT_PATH):
        script.skip(names[1], 'systemd-nspawn is not installed')
        return
    prepare_service(system)
    container = Container(script, system)
    why_not = container.boot()
    if why_not is not None:
        script.skip(names[1], why_not)
        return
    check_service(script, system, container)
    container.stop()


with Script() as main:
    with main.test('tools/package makes a package of what is built', seconds=PACKAGE_SECONDS + 60):
        the_package = make_package()
    check_content(main, the_package)
    check_control(main, the_package)
    check_refusals(main)
    check_system(main, the_package)
