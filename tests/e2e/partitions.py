#!/usr/bin/python3
"""Partitions between nodes, both directions and one direction only, under writes that are verified: who goes on
and who waits, and that after the healing all copies come together by themselves."""
import nbd

from harness import Failure, Script, ctl, wait_for
from moving import BLOCKS, SEED, Clients, images_equal, order, replicas, state, wait_in_sync
from network import Network, missing
from registers import Registers


class Nodes:
    """n1 is the primary, all others are its replicas; each on a host of its own."""

    def __init__(self, script, network, prefix, count, durability='sync_all', timeout='2s', when_lost='drop'):
        options = {'replication.timeout': timeout, 'replication.when_lost': when_lost, 'replication.wal_retain': '90%'}
        network.heal()
        self.hosts = network.hosts[:count]
        self.nodes = [script.node(f'{prefix}{i + 1}', options=options, host=host) for i, host in enumerate(self.hosts)]
        volume = {'name': 'vol0', 'size': f'{2 * BLOCKS * 4}KiB', 'wal_size': '128MiB', 'durability': durability, 'epoch': 1}
        self.primary, *self.replicas = self.nodes
        for node in self.replicas:
            node.volumes = [{**volume, 'role': 'replica'}]
        self.primary.volumes = [{**volume, 'role': 'primary', 'replicas': [
            (node.name, node.replication_address) for node in self.replicas]}]
        for node in reversed(self.nodes):
            node.start()
        wait_in_sync(self.primary, *self.replicas)
        self.clients = Clients(self.nodes, registers=Registers(2 * BLOCKS, SEED))
        self.clients.start()
        self.clients.go_on()

    def decisions(self):
        """How often a replica has left the in-sync set by a recorded decision."""
        return self.primary.log_text().count('leaves the in-sync set')

    def replica(self, number=0):
        """What the primary says of it."""
        return self.primary.volume()['replicas'][number]

    def wait_out(self):
        self.primary.wait_volume(lambda v: not v['replicas'][0]['in_sync'], 'the replica to be dropped')

    def wait_lost(self):
        """Until the connection with the first replica has ended."""
        self.primary.wait_volume(lambda v: not v['replicas'][0]['connected'], 'the connection to be noticed as lost')

    def stop_and_compare(self):
        self.clients.stop_and_check(self.primary)
        for node in self.nodes:
            node.stop()
        assert images_equal(*self.nodes), 'the images differ'
        for node in self.nodes:
            self.clients.registers.check_image(node.image_path())


def both(network, one, other):
    network.cut_both(one, other)


def to_replica(network, primary, replica):
    network.cut(primary, replica)


def to_primary(network, primary, replica):
    network.cut(replica, primary)


DIRECTIONS = [('both directions', both), ('primary to replica', to_replica), ('replica to primary', to_primary)]


def vanishing(network):
    """Returns when packets vanish: the cut hits something."""
    before = network.vanished()
    wait_for(lambda: network.vanished() > before, 'packets to vanish')


def check_drop(script, network):
    pair = Nodes(script, network, 'a', 2)
    for count, (name, cut) in enumerate(DIRECTIONS, 1):
        with script.test(f'sync_all, {name} cut: the replica is dropped once and writes go on'):
            cut(network, *pair.hosts)
            vanishing(network)
            pair.wait_out()
            pair.clients.go_on(500)
            assert pair.decisions() == count, pair.primary.log_tail()
            assert not pair.primary.volume()['healthy']
            # Attempts to reach it fail meanwhile, and are no further decision.
            vanishing(network)
            pair.clients.go_on(500)
            assert pair.decisions() == count, pair.primary.log_tail()
        with script.test(f'sync_all, {name} healed: it catches up by itself and is in sync'):
            network.heal()
            wait_in_sync(pair.primary, *pair.replicas)
            pair.clients.go_on()
            assert pair.decisions() == count, pair.primary.log_tail()
    with script.test('sync_all: nothing acknowledged is missing, the images are equal'):
        pair.stop_and_compare()


def check_wait(script, network):
    pair = Nodes(script, network, 'b', 2, when_lost='wait', timeout='1s')
    for name, cut in DIRECTIONS:
        with script.test(f'when_lost = "wait", {name} cut: writes wait'):
            cut(network, *pair.hosts)
            vanishing(network)
            pair.wait_lost()
            # Now nothing comes in any more: what is committed, is. Further attempts change nothing.
            committed = pair.primary.volume()['boundary']['committed_lsn']
            vanishing(network)
            volume = pair.primary.wait_volume(lambda v: v['boundary']['wal_head'] > committed, 'a write that waits')
            assert volume['boundary']['committed_lsn'] == committed, volume
            assert volume['replicas'][0]['in_sync'] and not volume['healthy'], volume
            assert pair.decisions() == 0, pair.primary.log_tail()
        with script.test(f'when_lost = "wait", {name} healed: they go on'):
            network.heal()
            pair.clients.go_on()
            wait_in_sync(pair.primary, *pair.replicas)
            assert pair.decisions() == 0, pair.primary.log_tail()
    with script.test('when_lost = "wait": nothing acknowledged is missing, the images are equal'):
        pair.stop_and_compare()


def check_no_stall(script, network):
    """The timeout is far away: who goes on now has not waited for the one that was cut off."""
    for prefix, durability, count in (('c', 'best_effort', 2), ('d', 'sync_quorum', 3)):
        nodes = Nodes(script, network, prefix, count, durability=durability, timeout='600s')
        for name, cut in DIRECTIONS:
            with script.test(f'{durability}, {count} copies, {name} cut: writes go on without waiting'):
                cut(network, *nodes.hosts[:2])
                vanishing(network)
                nodes.clients.go_on(500)
                assert nodes.decisions() == 0, nodes.primary.log_tail()
                network.heal()
                # The very connection goes on: nobody has missed anything but packets.
                wait_in_sync(nodes.primary, *nodes.replicas)
                nodes.primary.wait_volume(lambda v: v['replicas'][0]['written_lsn'] == v['boundary']['written_lsn'] or
                                          v['replicas'][0]['lag_bytes'] == 0, 'the replica to follow')
        with script.test(f'{durability}: nothing acknowledged is missing, the images are equal'):
            nodes.stop_and_compare()


def check_quorum_drop(script, network):
    trio = Nodes(script, network, 'e', 3, durability='sync_quorum', timeout='1s')
    with script.test('sync_quorum, three copies, one isolated for long: it is let go once, and comes back'):
        network.isolate(trio.hosts[2])
        vanishing(network)
        trio.primary.wait_volume(lambda v: not v['replicas'][1]['connected'], 'the connection to be noticed as lost')
        trio.clients.go_on(500)
        assert trio.replica(0)['in_sync'] and trio.replica(0)['connected'], trio.replica(0)
        network.heal()
        wait_in_sync(trio.primary, *trio.replicas)
        assert trio.decisions() <= 1, trio.primary.log_tail()
    with script.test('sync_quorum, three copies, the primary alone: nothing is acknowledged'):
        network.isolate(trio.hosts[0])
        vanishing(network)
        trio.primary.wait_volume(lambda v: not any(r['connected'] for r in v['replicas']), 'both connections to be noticed as lost')
        committed = trio.primary.volume()['boundary']['committed_lsn']
        vanishing(network)
        volume = trio.primary.wait_volume(lambda v: v['boundary']['wal_head'] > committed, 'a write that waits')
        assert volume['boundary']['committed_lsn'] == committed, volume
        network.heal()
        trio.clients.go_on()
        wait_in_sync(trio.primary, *trio.replicas)
    with script.test('sync_quorum: nothing acknowledged is missing, the three images are equal'):
        trio.stop_and_compare()


def refused(node):
    """Whether `node` serves no client: neither a new connection nor a read on it."""
    handle = nbd.NBD()
    try:
        handle.connect_uri(node.uri())
        handle.pread(4096, 0)
    except nbd.Error:
        return True
    return False


def check_fenced(node, epoch, by):
    """The old primary after the healing: told by `by`, it gave way, and says so."""
    node.wait_log(f'fenced by epoch {epoch}')
    assert refused(node)
    node.wait_volume(lambda v: (v['role'], v['epoch'], v['clients']) == ('replica', epoch, 0), f'{node.name}: replica of epoch {epoch}')
    shown = ctl(node, 'volume', 'show', 'vol0').out
    assert 'replica' in shown and str(epoch) in shown, shown
    wait_for(lambda: by.name in order(node, 'why', 'vol0'), f'{node.name} to know its primary')


def check_failover(script, network):
    pair = Nodes(script, network, 'f', 2, when_lost='wait', timeout='1s')
    old, new = pair.nodes
    with script.test('a cut-off primary that waits; its replica is promoted with --force and serves others'):
        network.cut_both(*pair.hosts)
        vanishing(network)
        pair.wait_lost()
        committed = old.volume()['boundary']['committed_lsn']
        old.wait_volume(lambda v: v['boundary']['wal_head'] > committed, 'a tail that only the primary has')
        order(new, 'promote', 'vol0', '--epoch', '2', '--force', *replicas(old))
        others = Clients([new], registers=pair.clients.registers, blocks=range(BLOCKS, 2 * BLOCKS))
        others.start()
        others.go_on(500)
        assert state(old) == ('primary', 1) and state(new) == ('primary', 2)
        volume = old.volume()
        assert volume['boundary']['committed_lsn'] == committed and not volume['healthy'], volume
    with script.test('healed: the old primary is fenced, its clients move, its tail is cut, it catches up'):
        network.heal()
        check_fenced(old, 2, new)
        wait_in_sync(new, old)
        assert f'replica {old.name} cuts its log after Lsn' in new.log_text(), new.log_tail()
        pair.clients.go_on()
        others.go_on()
    with script.test('nothing acknowledged is missing on either side, the images are equal'):
        others.stop()
        pair.primary = new
        pair.stop_and_compare()


def connect(node):
    handle = nbd.NBD()
    handle.connect_uri(node.uri())
    return handle


def check_forced_failover(script, network):
    """The primary went on alone: what only it acknowledged is lost with --force, and nothing else."""
    pair = Nodes(script, network, 'g', 2, timeout='1s')
    old, new = pair.nodes
    pair.clients.stop()
    before, lost, kept = (bytes([value]) * 4096 for value in (1, 2, 3))
    first, second = 4096 * BLOCKS, 4096 * (BLOCKS + 1)
    with script.test('a cut-off primary goes on alone; its replica is promoted with --force'):
        client = connect(old)
        client.pwrite(before, first, nbd.CMD_FLAG_FUA)
        network.cut_both(*pair.hosts)
        client.pwrite(lost, first, nbd.CMD_FLAG_FUA)
        assert pair.decisions() == 1, old.log_tail()
        # Once it is in the base image it cannot be cut any more.
        old.wait_volume(lambda v: v['boundary']['checkpoint_lsn'] == v['boundary']['wal_head'], 'an idle volume to be checkpointed')
        order(new, 'promote', 'vol0', '--epoch', '2', '--force', *replicas(old))
        other = connect(new)
        assert other.pread(4096, first) == before
        other.pwrite(kept, second, nbd.CMD_FLAG_FUA)
        assert client.pread(4096, first) == lost
    with script.test('healed: the old primary is fenced and answers no client any more'):
        network.heal()
        check_fenced(old, 2, new)
        try:
            client.pread(4096, first)
        except nbd.Error:
            client = None
        assert client is None, 'a client of the old primary was answered'
    with script.test('its copy, which holds what never became history, is made anew before it counts'):
        new.wait_log('needs a rebuild: ')
        assert 'beyond the fork' in new.log_text(), new.log_tail()
        wait_in_sync(new, old)
        assert f'replica {old.name} is rebuilt at Lsn' in new.log_text(), new.log_tail()
    with script.test('the new primary keeps all that it acknowledged and what was acknowledged before the cut'):
        other.pwrite(kept, second + 4096, nbd.CMD_FLAG_FUA)
        assert other.pread(3 * 4096, first) == before + 2 * kept
        other.shutdown()
        pair.clients.registers.check_blocks(new.uri(), range(BLOCKS))
        for node in pair.nodes:
            node.stop()
        assert images_equal(*pair.nodes), 'the images differ'


with Script() as main:
    lacks = missing()
    if lacks:
        main.skip('partitions', lacks)
    else:
        print(f'# seed {SEED}')
        net = Network(main, 3)
        check_drop(main, net)
        check_wait(main, net)
        check_no_stall(main, net)
        check_quorum_drop(main, net)
        check_failover(main, net)
        check_forced_failover(main, net)
