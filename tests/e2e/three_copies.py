#!/usr/bin/python3
"""A primary and two replicas in every durability mode. sync_quorum goes on at once with one of them dead, and when the
primary dies, too, the furthest copy is promoted and has everything; sync_all drops a dead one by one recorded decision
and goes on; with when_lost = "wait" it waits for it and then goes on."""
import os
import random
import time

from harness import Script, wait_for
from moving import SEED, Clients, images_equal, order, replicas, state, wait_in_sync
from registers import Registers

FAILOVERS = int(os.environ.get('RINGBOLT_FAILOVERS', '6'))


class Three:
    """`primary` is the one that serves, `others` are its replicas; all three are in sync."""

    def __init__(self, script, prefix, durability, timeout='1s', when_lost='drop'):
        options = {'replication.timeout': timeout, 'replication.when_lost': when_lost, 'replication.wal_retain': '90%'}
        self.nodes = [script.node(f'{prefix}{i + 1}', options=options) for i in range(3)]
        volume = {'name': 'vol0', 'size': '16MiB', 'wal_size': '64MiB', 'durability': durability, 'epoch': 1}
        self.primary, *self.others = self.nodes
        for node in self.others:
            node.volumes = [{**volume, 'role': 'replica'}]
        self.primary.volumes = [{**volume, 'role': 'primary', 'replicas': [
            (node.name, node.replication_address) for node in self.others]}]
        for node in reversed(self.nodes):
            node.start()
        self.epoch = 1
        self.wait_in_sync()

    def wait_in_sync(self):
        return wait_in_sync(self.primary, *self.others)

    def replica(self, node):
        return next(r for r in self.primary.volume()['replicas'] if r['id'] == node.name)

    def wait_lost(self, node):
        """Until the primary knows that the connection with it has ended."""
        wait_for(lambda: not self.replica(node)['connected'], f'{node.name} to be seen as cut off')

    def drops(self, node):
        return self.primary.log_text().count(f'replica {node.name} leaves the in-sync set')

    def promote(self, node):
        """The primary is dead; `node` takes its place by force, the dead one is to be a replica."""
        self.epoch += 1
        self.others = [other for other in self.nodes if other is not node]
        self.primary = node
        order(node, 'promote', 'vol0', '--epoch', str(self.epoch), '--force', *replicas(*self.others))

    def stop_and_compare(self, registers):
        self.primary.stop()
        for node in self.others:
            node.stop()
        assert images_equal(*self.nodes), 'the images differ'
        registers.check_image(self.primary.image_path())


def check_modes(script):
    three = Three(script, 'a', 'sync_all')
    clients = Clients(three.nodes)
    clients.start()
    for durability in ('best_effort', 'sync_quorum', 'sync_all'):
        with script.test(f'{durability}: three copies in sync under load, whichever is killed and comes back'):
            order(three.primary, 'assign', 'vol0', '--role', 'primary', '--epoch', '1', '--durability', durability)
            assert three.wait_in_sync()['durability'] == durability
            for node in (three.others[0], three.others[1], three.primary):
                clients.go_on()
                node.kill()
                node.start()
                three.wait_in_sync()
            clients.go_on()
    with script.test('nothing acknowledged is missing, and after a clean stop the three images are equal'):
        # What best_effort acknowledged was here at least, and every restart was of this same primary.
        clients.stop_and_check(three.primary)
        three.stop_and_compare(clients.registers)
    for durability in ('best_effort', 'sync_quorum'):
        with script.test(f'{durability}: after a clean stop under load the three images are equal'):
            for node in reversed(three.nodes):
                node.start()
            three.wait_in_sync()
            order(three.primary, 'assign', 'vol0', '--role', 'primary', '--epoch', '1', '--durability', durability)
            clients.start()
            clients.go_on()
            clients.stop()
            three.stop_and_compare(clients.registers)


def check_quorum(script):
    # A timeout that never comes: whoever waits for a dead one waits for ever.
    three = Three(script, 'q', 'sync_quorum', timeout='600s')
    clients = Clients(three.nodes)
    clients.start()
    rng = random.Random(SEED)
    for number in range(FAILOVERS):
        clients.go_on()
        dead, left = rng.sample(three.others, 2)
        with script.test(f'sync_quorum, {number}: with {dead.name} dead writes go on at once'):
            dead.kill()
            three.wait_lost(dead)
            clients.go_on(1000)
            assert three.replica(dead)['in_sync'] and three.drops(dead) == 0, three.primary.volume()
        with script.test(f'sync_quorum, {number}: the primary dies, {left.name} is promoted and, with {dead.name}, has everything'):
            old = three.primary
            old.kill()
            dead.start()
            three.promote(left)  # answered when the new term is on a majority
            clients.go_on()
            clients.stop_and_check(left)
        with script.test(f'sync_quorum, {number}: the old primary gives way and catches up'):
            old.start()
            three.wait_in_sync()
            assert state(old) == ('replica', three.epoch), state(old)
            clients.start()
    with script.test('nothing acknowledged is missing, and after a clean stop the three images are equal'):
        clients.stop_and_check(three.primary)
        three.stop_and_compare(clients.registers)


def position(node):
    return node.volume()['boundary']['written_lsn']


def check_furthest(script):
    """Both replicas answer when the primary has died, and what it acknowledged last is on one of them only."""
    three = Three(script, 'f', 'sync_quorum')
    registers = Registers(512, SEED)
    differed = 0
    rng = random.Random(SEED)
    with script.test(f'sync_quorum: {FAILOVERS} times the primary dies under load and the furthest of two takes its place'):
        for number in range(FAILOVERS):
            acknowledged = registers.acknowledged
            join = registers.load(three.primary.uri())
            # One of them is behind: it dies with what it has been sent unread.
            slow = three.others[number % 2]
            wait_for(lambda: registers.acknowledged > acknowledged, 'a client to get something done', every=0.005)
            slow.pause()
            acknowledged = registers.acknowledged
            wait_for(lambda: registers.acknowledged > acknowledged + 50, 'writes to go on', every=0.005)
            time.sleep(rng.uniform(0, 0.1))   # the moment of the crash is the point, not a wait
            # What was acknowledged before this is on a replica, and from here on nothing may be.
            other = three.others[1 - number % 2]
            other.pause()
            time.sleep(0.05)
            old = three.primary
            old.kill()
            slow.kill()
            slow.start()
            other.resume()
            join()
            for node in three.others:
                # It has read, and stored, all that had arrived from the dead one.
                node.wait_volume(lambda v: v['mode'] == 'bootstrap_pending', f'{node.name} to see its primary gone')
            first, second = sorted(three.others, key=position)
            differed += position(first) != position(second)
            three.promote(second)
            old.start()
            three.wait_in_sync()
            try:
                registers.check(three.primary.uri())
            except AssertionError as error:
                raise AssertionError(f'{number}: {error}') from None
        print(f'# {registers.acknowledged} blocks acknowledged; the two replicas differed {differed} times')
        assert differed > FAILOVERS // 2, differed
    with script.test('after a clean stop the three images are equal'):
        three.stop_and_compare(registers)


def check_all(script):
    three = Three(script, 's', 'sync_all')
    clients = Clients([three.primary])
    clients.start()
    dead, alive = three.others
    with script.test('sync_all: a dead replica is dropped by one decision, writes go on'):
        clients.go_on()
        dead.kill()
        wait_for(lambda: not three.replica(dead)['in_sync'], 'the dead one to leave the in-sync set')
        clients.go_on(1000)
        volume = three.primary.volume()
        assert volume['mode'] == 'degraded' and three.replica(alive)['in_sync'], volume
        assert (three.drops(dead), three.drops(alive)) == (1, 0), three.primary.log_tail()
    with script.test('the decision is recorded: after a restart the primary serves without the dead one, at once'):
        before = len(three.primary.log_text())
        three.primary.kill()
        three.primary.start()
        clients.go_on()
        log = three.primary.log_text()[before:]
        assert '1 of 2 replicas in sync' in log and 'leaves the in-sync set' not in log, three.primary.log_tail()
    with script.test('it comes back, catches up and counts again'):
        dead.start()
        three.wait_in_sync()
        clients.go_on()
    with script.test('with both replicas dead writes go on, too'):
        for node in three.others:
            node.kill()
        wait_for(lambda: not any(r['in_sync'] for r in three.primary.volume()['replicas']), 'both to leave the in-sync set')
        clients.go_on()
        assert (three.drops(dead), three.drops(alive)) == (2, 1), three.primary.log_tail()
        for node in three.others:
            node.start()
        three.wait_in_sync()
    with script.test('nothing acknowledged is missing, and after a clean stop the three images are equal'):
        clients.stop_and_check(three.primary)
        three.stop_and_compare(clients.registers)


def check_wait(script):
    three = Three(script, 'w', 'sync_all', when_lost='wait')
    clients = Clients([three.primary])
    clients.start()
    dead = three.others[1]
    with script.test('sync_all, when_lost = "wait": writes wait for a dead replica, which stays in the in-sync set'):
        clients.go_on()
        dead.kill()
        three.wait_lost(dead)
        # That it is not dropped shows only after the time at which it would be: the timeout is 1 s. The first of
        # these is for what was on its way to the clients.
        time.sleep(1)
        acknowledged = clients.acknowledged
        time.sleep(3)
        assert clients.acknowledged == acknowledged, 'a write was acknowledged'
        volume = three.primary.volume()
        assert three.replica(dead)['in_sync'] and three.drops(dead) == 0 and volume['mode'] == 'degraded', volume
        assert f'awaiting_shipper_connected: replica {dead.name}' in volume['reason'], volume
    with script.test('they go on when it is back'):
        dead.start()
        clients.go_on()
        three.wait_in_sync()
    with script.test('the same when the primary restarts while it waits'):
        dead.kill()
        three.wait_lost(dead)
        three.primary.kill()
        three.primary.start()
        volume = three.primary.wait_mode('bootstrap_pending')
        assert three.replica(dead)['in_sync'], volume
        dead.start()
        clients.go_on()
        three.wait_in_sync()
    with script.test('nothing acknowledged is missing, and after a clean stop the three images are equal'):
        clients.stop_and_check(three.primary)
        three.stop_and_compare(clients.registers)


with Script() as main:
    print(f'# seed {SEED}')
    check_modes(main)
    check_quorum(main)
    check_furthest(main)
    check_all(main)
    check_wait(main)
