"""What a measurement must be read with: the host, versions, and CPU time from /proc."""
import os
import platform
import subprocess

TICKS_PER_SECOND = os.sysconf('SC_CLK_TCK')


def process_cpu_seconds(pids):
    """User and system time of these processes, all their threads (io_uring's workers too) included."""
    total = 0
    for pid in pids:
        with open(f'/proc/{pid}/stat') as file:
            fields = file.read().rsplit(')', 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS_PER_SECOND


def machine_busy_seconds():
    """CPU time of everything on the machine, interrupts included."""
    with open('/proc/stat') as file:
        user, nice, system, _idle, _iowait, irq, softirq = map(int, file.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / TICKS_PER_SECOND


def children_cpu_seconds():
    """CPU time of this program and of its children that have ended: the load clients."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def first_line(command):
    """Of what `command` prints; None if it cannot be run."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    lines = done.stdout.decode(errors='replace').splitlines()
    return lines[0].strip() if lines else None


def file_line(path, prefix=''):
    """The first line of `path` that begins with `prefix`, without it; None if there is none."""
    try:
        with open(path, errors='replace') as file:
            for line in file:
                if line.startswith(prefix):
                    return line[len(prefix):].strip(' \t:\n')
    except OSError:
        pass
    return None


def host_facts(build, data):
    """`build`: directory of the programs; `data`: where the volumes lie."""
    return {
        'kernel': platform.release(),
        'cpu': file_line('/proc/cpuinfo', 'model name'),
        'cores': os.cpu_count(),
        'memory': file_line('/proc/meminfo', 'MemTotal'),
        'file_system': first_line(['findmnt', '-n', '-o', 'SOURCE,FSTYPE', '-T', data]),
        'tcp_congestion_control': file_line('/proc/sys/net/ipv4/tcp_congestion_control'),
        'load_at_start': os.getloadavg(),
        'ringboltd': first_line([os.path.join(build, 'ringboltd'), '--version']),
        'commit': first_line(['git', '-C', os.path.dirname(os.path.abspath(__file__)), 'describe',
                              '--always', '--dirty']),
        'fio': first_line(['fio', '--version']),
        'qemu-nbd': first_line(['qemu-nbd', '--version']),
        'qemu-storage-daemon': first_line(['qemu-storage-daemon', '--version']),
        'nbdkit': first_line(['nbdkit', '--version']),
    }
