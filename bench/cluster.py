"""ringbolt as a system to be measured: a daemon per copy, all on this machine."""
import os

import harness
import workloads
from workloads import Target

MEMORY_STEP = 8 << 20  # of a shard, for each four of its volumes


class Cluster:
    """`copies` daemons with the same volumes, the first one primary of all. `options`: wal_size, memory, shards, pin."""

    def __init__(self, directory, copies, volumes, options, durability='sync_all', label='rb'):
        """`volumes`: {name: bytes}."""
        self.volumes, self.durability = volumes, durability
        self._options, self._epoch = options, 1
        self.nodes = [harness.Node(f'{label}{copies}n{number + 1}', directory, options={
            'node.shards': options.shards, 'node.pin': options.pin, 'node.memory': f'{self._memory()}B', 'replication.when_lost': 'drop'})
            for number in range(copies)]
        self.primary, self.replicas = self.nodes[0], self.nodes[1:]
        self.is_filled = False

    def _memory(self):
        """What the volumes need where all of them are on one shard, as nobody says which is where."""
        shards = self._options.shards or os.cpu_count()
        return max(self._options.memory, shards * MEMORY_STEP * -(-len(self.volumes) // 4))

    def set_durability(self, durability):
        """At the next start: another assignment, so of a higher epoch."""
        if durability != self.durability:
            self.durability = durability
            self._epoch += 1

    def configure(self):
        for node in self.nodes:
            role = {'role': 'primary', 'replicas': [(replica.name, replica.replication_address) for replica in self.replicas]} \
                if node is self.primary else {'role': 'replica'}
            node.volumes = [{'name': name, 'size': f'{size}B', 'wal_size': f'{self._options.wal_size}B', 'durability': self.durability,
                             'epoch': self._epoch, **role} for name, size in self.volumes.items()]

    def start(self):
        self.configure()
        for node in (*self.replicas, self.primary):
            node.start()
        self.wait_healthy()

    def wait_healthy(self, seconds=harness.WAIT_SECONDS):
        def healthy():
            self.check()
            status, body = self.primary.try_get('/v1/volumes')
            return status == 200 and len(body) == len(self.volumes) and all(is_healthy(volume) for volume in body)
        harness.wait_for(healthy, 'all volumes to be healthy', seconds)

    def check(self):
        for node in self.nodes:
            if node.process is not None and node.process.poll() is not None:
                raise harness.Failure(f'{node.name} ended with exit code {node.process.returncode}\n{node.log_tail()}')

    def rest(self):
        """Until what was written is copied from the logs as far as it will be."""
        seen = []

        def at_rest():
            self.check()
            seen.append([(volume['boundary']['checkpoint_lsn'], volume['wal']['used_bytes'])
                         for node in self.nodes for volume in node.get('/v1/volumes')[1]])
            return len(seen) > 1 and seen[-1] == seen[-2]
        harness.wait_for(at_rest, 'the checkpoints to rest', every=0.3, seconds=600)

    def uri(self, volume='vol0'):
        return self.primary.uri(volume)

    def fill(self):
        """Every volume."""
        for name, size in self.volumes.items():
            workloads.fill(Target([self.uri(name)]), size)
        self.is_filled = True

    def pids(self):
        return [node.pid for node in self.nodes]

    def stop(self):
        """The primary first: then its replicas have all that it has."""
        for node in self.nodes:
            if node.process is not None:
                node.stop()

    def kill(self):
        for node in self.nodes:
            if node.process is not None:
                node.kill()


def is_healthy(volume):
    return volume['mode'] == 'publish_healthy' and volume['healthy'] and all(replica['in_sync'] for replica in volume['replicas'])


class Ringbolt:
    """One of systems.RINGBOLT; those with the same number of copies share a cluster."""

    def __init__(self, name, cluster, durability):
        self.name = name
        self.cluster, self._durability = cluster, durability

    def prepare(self):
        if not self.cluster.is_filled:
            self.cluster.start()
            self.cluster.fill()
            self.cluster.stop()

    def start(self):
        self.cluster.set_durability(self._durability)
        self.cluster.start()
        self.rest()

    def target(self, connections=1, volumes=1):
        """`connections` to each of the first `volumes`."""
        return Target([self.cluster.uri(name) for name in list(self.cluster.volumes)[:volumes]] * connections)

    def pids(self):
        return self.cluster.pids()

    def after(self):
        """How much of the work was still to be done when the client ended."""
        self.cluster.check()
        volumes = self.cluster.primary.get('/v1/volumes')[1]
        for volume in volumes:
            if not is_healthy(volume):
                raise harness.Failure(f'{self.name} is not healthy after a measurement: {volume["mode"]}, {volume["reason"]}')
        return {'wal_used_bytes': sum(volume['wal']['used_bytes'] for volume in volumes)}

    def rest(self):
        self.cluster.rest()

    def stop(self):
        self.cluster.stop()

    def kill(self):
        self.cluster.kill()

    def commands(self):
        return [f'ringboltd --config {os.path.basename(node.config_path)}' for node in self.cluster.nodes]
