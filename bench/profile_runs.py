"""The runs of bench/profile: one that is only watched, one whose system calls are counted, one that perf looks into."""
import os
import time

import block_device
import counters
import cpu_stages
import facts
import harness
import tracing
from counters import Interval
from session import note
from workloads import Load, Target

STEADY = 0.6  # the part of a run in its middle that is looked at where a beginning and an end would be in the way
WORKER_LOOKS = 20
READS, WRITES, FLUSHES = ('read',), ('write', 'write_fua', 'trim', 'zeroes'), ('flush',)
STATES = ('working', 'spinning', 'asleep')


# --- parts of a run ---------------------------------------------------------------------------------------

def make_load(session, cluster):
    options = session.options
    load = Load(options.workload, Target([cluster.uri()]), options.size, options.seconds, seed=1)
    session.report['commands'][options.workload] = ' '.join(load.command)
    return load


def steady(cluster, load, look):
    """Runs the load; `look(seconds)` is called in the middle of it. What the client says, and what `look` returned."""
    seen = counters.scrape(cluster.primary)
    with load.start() as client:
        def begun():
            cluster.check()
            return not client.is_running() or Interval(seen, counters.scrape(cluster.primary)).requests() > 0
        harness.wait_for(begun, 'the client to begin')
        time.sleep(load.seconds * (1 - STEADY) / 2)
        looked = look(load.seconds * STEADY)
        return load.result(client), looked


def scrape_all(cluster):
    return [counters.scrape(node) for node in cluster.nodes]


def intervals(before, after):
    return [Interval(*pair) for pair in zip(before, after)]


def names(cluster):
    return [{'name': node.name, 'role': 'primary' if node is cluster.primary else 'replica'} for node in cluster.nodes]


# --- what the daemons count -------------------------------------------------------------------------------

def counted(session, cluster):
    """Without any other program that looks."""
    note('counting')
    device = block_device.device_of(session.directory)
    load, before = make_load(session, cluster), scrape_all(cluster)
    client, looked = steady(cluster, load, lambda seconds: watch(cluster, device, seconds))
    whole = intervals(before, scrape_all(cluster))
    requests = looked['intervals'][0].requests()
    if not requests:
        raise harness.Failure(f'{load.name}: in {load.seconds * STEADY:g} s nothing was done')
    daemons = [{**name, **figures(interval, scrape, requests), 'ring_workers': workers, **{f'{key}_per_request': value / requests for key, value in switches.items()}}
               for name, interval, scrape, workers, switches in zip(names(cluster), looked['intervals'], looked['scrapes'], looked['workers'], looked['switches'])]
    disk = device and {'name': os.path.basename(device), **{f'{key}_per_request': value / requests for key, value in looked['device'].items()}}
    return {'part': 'counters', 'client': client, 'requests': whole[0].requests(), 'steady_requests': requests,
            'stages': list(stages(cluster, client, whole)), 'daemons': daemons, 'device': disk}


def watch(cluster, device, seconds):
    pids = cluster.pids()
    first, before = scrape_all(cluster), scrape_all(cluster)
    disk, switches = device and block_device.counts(device), [context_switches(pid) for pid in pids]
    workers = [0] * len(pids)
    for _ in range(WORKER_LOOKS):
        time.sleep(seconds / WORKER_LOOKS)
        workers = [max(most, ring_workers(pid)) for most, pid in zip(workers, pids)]
    after, later = scrape_all(cluster), [context_switches(pid) for pid in pids]
    return {'intervals': intervals(before, after), 'scrapes': intervals(first, before), 'workers': workers, 'switches': [difference(*pair) for pair in zip(switches, later)],
            'device': device and difference(disk, block_device.counts(device))}


def difference(before, after):
    """Of a thread that has ended since nothing is known any more."""
    return {key: max(0, value - before[key]) for key, value in after.items()}


def allocated(interval):
    return interval.total('ringbolt_shard_allocated_bytes_total')


def figures(interval, scrape, requests):
    """Of one daemon, for each request of a client. `scrape`: in which there was nothing but one, as good as; there is one in `interval`, too."""
    def shard(name, **labels):
        return interval.total(f'ringbolt_shard_{name}', **labels)
    turns, enters, heap = shard('turns_total'), shard('ring_enters_total'), allocated(interval)
    result = {
        'turns_per_request': turns / requests, 'enters_per_request': enters / requests,
        'submissions_per_enter': shard('ring_submissions_total') / enters if enters else 0,
        'completions_per_turn': shard('ring_completions_total') / turns if turns else 0,
        'allocated_bytes_per_request': None if heap is None else max(0, heap - allocated(scrape)) / requests,
        'cpu_us_per_request': interval.total('process_cpu_seconds_total') * 1e6 / requests,
        'wal_bytes_per_request': interval.total('ringbolt_volume_wal_written_bytes_total') / requests,
        'checkpointed_bytes_per_request': interval.total('ringbolt_volume_checkpointed_bytes_total') / requests,
    }
    return {**result, **{f'{state}_us_per_request': shard('time_seconds_total', state=state) * 1e6 / requests for state in STATES}}


def threads(pid):
    """(name, status) of each thread, those of the kernel for the rings as well."""
    for thread in os.listdir(f'/proc/{pid}/task'):
        try:
            with open(f'/proc/{pid}/task/{thread}/comm') as comm, open(f'/proc/{pid}/task/{thread}/status') as status:
                yield comm.read().strip(), status.read()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended since


def is_ring_worker(name):
    return name.startswith('iou-wrk-')


def ring_workers(pid):
    return sum(is_ring_worker(name) for name, _ in threads(pid))


def context_switches(pid):
    """Of the daemon's own threads, and of the kernel's that work for its rings: these wait for work for some seconds before they end."""
    counts = {'voluntary_switches': 0, 'involuntary_switches': 0, 'worker_switches': 0}
    for name, status in threads(pid):
        lines = dict(line.split(':', 1) for line in status.splitlines())
        voluntary, involuntary = (int(lines[f'{kind}_ctxt_switches']) for kind in ('voluntary', 'nonvoluntary'))
        if is_ring_worker(name):
            counts['worker_switches'] += voluntary + involuntary
        else:
            counts['voluntary_switches'] += voluntary
            counts['involuntary_switches'] += involuntary
    return counts


# --- stages -----------------------------------------------------------------------------------------------

def stages(cluster, client, whole):
    """What a request passes, outermost first, of the whole run."""
    primary, *replicas = whole
    requests = primary.requests()
    seen = list(client_rows(client, primary))
    yield from seen
    daemon = primary.durations('ringbolt_volume_request_duration_seconds')
    reply = primary.durations('ringbolt_volume_request_stage_seconds', stage='reply')
    outside = (sum(row['count'] * row['mean_us'] for row in seen) - (daemon.seconds + reply.seconds) * 1e6) / requests
    yield {'stage': 'client, sockets, network (the difference)', 'count': requests, 'per_request': 1.0, 'mean_us': outside}

    def row(words, interval, name, **labels):
        durations = interval.durations(name, **labels)
        if durations.count:
            yield {'stage': words, 'count': durations.count, 'per_request': durations.count / requests, 'mean_us': durations.mean_us(),
                   'p50_us': durations.percentile_us(0.5), 'p99_us': durations.percentile_us(0.99)}
    for op in READS + WRITES + FLUSHES:
        yield from row(f'{op}, arrival to answer', primary, 'ringbolt_volume_request_duration_seconds', op=op)
    for stage in ('admission', 'staging', 'commit', 'reply'):
        yield from row(stage, primary, 'ringbolt_volume_request_stage_seconds', stage=stage)
    for node, interval in zip(cluster.nodes, whole):
        yield from row(f'{node.name}: round trip', primary, 'ringbolt_replica_round_trip_seconds', replica=node.name)
        for stage in ('wal_write', 'wal_flush', 'wal_read', 'base_read', 'checkpoint_base_write', 'checkpoint_base_flush'):
            yield from row(f'{node.name}: {stage.replace("_", " ")}', interval, 'ringbolt_volume_stage_duration_seconds', stage=stage)


def client_rows(client, primary):
    """What it asked for, by kind; it says itself how long that took."""
    reads, writes, flushes = (primary.requests(*ops) for ops in (READS, WRITES, FLUSHES))
    kinds = [('read', reads, ''), ('write', writes, 'write_' if reads else ''), ('flush', flushes, 'flush_')]
    for words, count, prefix in kinds:
        if count:
            yield {'stage': f'{words}, as its client sees it', 'count': count, 'per_request': count / primary.requests(),
                   **{f'{key}_us': client[f'{prefix}{key}_us'] for key in ('mean', 'p50', 'p99')}}


# --- system calls -----------------------------------------------------------------------------------------

def calls(session, cluster):
    """perf where it works, else strace. Their counts are held against the enters that the daemons count, so it does not matter when they began."""
    note('counting system calls')
    tries = [tracing.by_strace] if session.options.no_perf else [tracing.by_perf, tracing.by_strace]
    reasons = []
    for begin in tries:
        try:
            return {'part': 'calls', **traced_calls(session, cluster, begin)}
        except tracing.Unavailable as reason:
            reasons.append(str(reason))
    return {'part': 'calls', 'how': None, 'why': '; '.join(reasons), 'daemons': []}


def traced_calls(session, cluster, begin):
    load, before = make_load(session, cluster), scrape_all(cluster)

    def look(seconds):
        with begin(cluster.pids(), session.directory) as tracer:
            time.sleep(seconds)
            return tracer.how, tracer.end()
    _, (how, counts) = steady(cluster, load, look)
    whole = intervals(before, scrape_all(cluster))
    requests, daemons = whole[0].requests(), []
    for name, interval, seen in zip(names(cluster), whole, counts):
        enters = seen.pop(tracing.ENTER, 0)
        if not enters:
            raise tracing.Unavailable(f'{how}: no {tracing.ENTER} of {name["name"]}')
        enters_per_request = interval.total('ringbolt_shard_ring_enters_total') / requests
        per_request = {call: count / enters * enters_per_request for call, count in seen.items()}
        daemons.append({**name, 'enters_per_request': enters_per_request, 'others_per_request': sum(per_request.values()), 'calls_per_request': per_request})
    return {'how': how, 'why': '', 'daemons': daemons}


# --- CPU --------------------------------------------------------------------------------------------------

def cpu(session, cluster):
    """The kernel says how much a daemon took, the samples where: so what could not be sampled is spread over what could."""
    if session.options.no_perf:
        return {'part': 'cpu', 'why': '--no-perf', 'daemons': []}
    note('looking where CPU time goes')
    try:
        return {'part': 'cpu', 'why': '', **sampled_cpu(session, cluster)}
    except tracing.Unavailable as reason:
        return {'part': 'cpu', 'why': str(reason), 'daemons': []}


def sampled_cpu(session, cluster):
    pids = cluster.pids()

    def look(seconds):
        with tracing.Samples(pids, session.directory) as samples:
            before, used = scrape_all(cluster), [facts.process_cpu_seconds([pid]) for pid in pids]
            time.sleep(seconds)
            used = [facts.process_cpu_seconds([pid]) - old for pid, old in zip(pids, used)]
            return intervals(before, scrape_all(cluster))[0].requests(), used, samples.end()
    _, (requests, used, text) = steady(cluster, make_load(session, cluster), look)
    samples = list(cpu_stages.parse(text))
    if not samples or not requests:
        raise tracing.Unavailable('perf record: no samples')
    found, unnamed = cpu_stages.count(samples)
    daemons = []
    for name, pid, seconds in zip(names(cluster), pids, used):
        counts = found.get(pid, {})
        total, us = sum(counts.values()), seconds * 1e6 / requests
        daemons.append({**name, 'samples': total, 'cpu_us_per_request': us,
                        'stages': {stage: us * counts[stage] / total for stage in cpu_stages.STAGES if counts.get(stage)}})
    return {'sees_kernel': any(sample.frames and sample.frames[0].in_kernel for sample in samples), 'daemons': daemons, 'unnamed': dict(unnamed.most_common(10))}


ALL = (counted, calls, cpu)
