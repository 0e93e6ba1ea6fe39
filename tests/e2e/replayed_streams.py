#!/usr/bin/python3
# run-under: asan
"""The replication port and its callers under cut, damaged, stalled and replayed streams, between a real primary and
a real replica and under writes: both live, nothing wrong is applied, and the pair is healthy again by itself."""
import errno
import random
import socket

import nbd

from harness import Pair, Script, wait_for
from moving import SEED, Clients, images_equal, order, replicas, state, wait_in_sync
from proxy import (CONTROL, HELLO, NAMES, REJECT, SESSION_ACK, SYNC, SYNC_ACK, TO_PRIMARY, TO_REPLICA, WAL_ACK, WAL_DATA,
                   WELCOME, Proxy, cut, epoch_of, flip, leave_out, read_message, repeat, stall, type_of)

POSITIONS_BYTES = 104   # wal_data without records: header and fields
FRAME_BYTES = POSITIONS_BYTES + 4096
WHOLE = 1 << 30
HEADER_FIELDS = [0, 4, 6, 8, 24, 32, 40, 48, 52, 56, 60]
CUT_TAIL = 4            # the first byte of session_control's payload
GREETINGS = [(TO_REPLICA, HELLO), (TO_PRIMARY, WELCOME), (TO_REPLICA, SYNC), (TO_PRIMARY, SYNC_ACK), (TO_REPLICA, CONTROL),
             (TO_PRIMARY, SESSION_ACK)]


class Damaged:
    """A pair whose replication goes through a proxy, with clients that write all the time."""

    def __init__(self, script):
        self.pair = Pair(script, size='4MiB', wal_size='64MiB',
                         options={'replication.timeout': '1s', 'replication.wal_retain': '90%'})
        self.primary, self.replica = self.pair.primary, self.pair.replica
        self.proxy = Proxy(self.replica.replication_port)
        self.proxy.recording = False
        self.primary.volumes[0]['replicas'] = [(self.replica.name, self.proxy.address)]
        self.pair.start()
        self.clients = Clients([self.primary])
        self.clients.start()
        self.clients.go_on()

    def session(self):
        described = self.primary.volume()['replicas'][0]['session']
        return described and described['id']

    def wait_other_session(self, before):
        """Until the replica is in sync again, in another session: the one that was damaged has ended."""
        volume = self.primary.wait_volume(
            lambda v: v['mode'] == 'publish_healthy' and v['replicas'][0]['in_sync'] and v['replicas'][0]['session']['phase'] == 'running' and
            v['replicas'][0]['session']['id'] != before, 'the pair to be healthy in another session')
        assert self.replica.process.poll() is None, self.replica.log_tail()
        assert not self.proxy.errors, self.proxy.errors
        return volume

    def hurt(self, direction, kind, change, what, at_least=0):
        """Does it to one message and waits until the pair is healthy again."""
        before = self.session()
        self.proxy.damage(direction, kind, change, at_least)
        if (direction, kind) in GREETINGS:
            self.proxy.cut_all()
        try:
            wait_for(self.proxy.done, 'a message to be damaged')
            self.wait_other_session(before)
        except AssertionError as error:
            raise AssertionError(f'{NAMES[kind]} {direction}, {what}: {error}') from None


def check_cuts(script, damaged, rng):
    with script.test('the stream of records is cut at any offset'):
        for offset in (0, 1, 63, 64, 65, 103, 104, 105, 150, -4096, -4095, -1, WHOLE, *(rng.randrange(FRAME_BYTES) for _ in range(6))):
            damaged.hurt(TO_REPLICA, WAL_DATA, cut(offset, rng.choice(['closed', 'reset'])), f'cut at {offset}', FRAME_BYTES)
        damaged.clients.go_on()
    with script.test('the stream of acknowledgements is cut at any offset'):
        for offset in (0, 1, 63, 64, 65, -1, WHOLE):
            damaged.hurt(TO_PRIMARY, WAL_ACK, cut(offset, rng.choice(['closed', 'reset'])), f'cut at {offset}')
        damaged.clients.go_on()
    for direction, kind in GREETINGS:
        with script.test(f'the stream is cut within and around {NAMES[kind]}'):
            for offset in (0, rng.randrange(1, 64), 64, -1, WHOLE):
                damaged.hurt(direction, kind, cut(offset, rng.choice(['closed', 'reset'])), f'cut at {offset}')
    damaged.clients.go_on()


def check_flips(script, damaged, rng):
    with script.test('one bit of a record, of its header or of the message around it is flipped'):
        for offset in (*HEADER_FIELDS, 64, 72, 80, 88, 96, 100, 104, 108, 150, -4096, -2048, -1):
            damaged.hurt(TO_REPLICA, WAL_DATA, flip(offset, rng.randrange(8)), f'bit at {offset}', FRAME_BYTES)
        damaged.clients.go_on()
    with script.test('one bit of an acknowledgement is flipped'):
        for offset in (*HEADER_FIELDS, 64, 72, 80):
            damaged.hurt(TO_PRIMARY, WAL_ACK, flip(offset, rng.randrange(8)), f'bit at {offset}')
        damaged.clients.go_on()
    with script.test('one bit of the greeting is flipped, on either side'):
        for direction, kind in GREETINGS:
            for offset in (rng.choice(HEADER_FIELDS), 64, -1):
                damaged.hurt(direction, kind, flip(offset, rng.randrange(8)), f'bit at {offset}')
        damaged.clients.go_on()


def check_chunks(script, damaged):
    with script.test('bytes come twice, or not at all'):
        for begin, end in ((0, None), (0, 64), (0, 1), (64, 104), (104, 168), (-4096, None), (-1, None)):
            damaged.hurt(TO_REPLICA, WAL_DATA, repeat(begin, end), f'{begin} to {end} twice', FRAME_BYTES)
            damaged.hurt(TO_REPLICA, WAL_DATA, leave_out(begin, WHOLE if end is None else end), f'{begin} to {end} left out', FRAME_BYTES)
        for begin, end in ((0, None), (0, 64), (64, None)):
            damaged.hurt(TO_PRIMARY, WAL_ACK, repeat(begin, end), f'{begin} to {end} twice')
            damaged.hurt(TO_PRIMARY, WAL_ACK, leave_out(begin, WHOLE if end is None else end), f'{begin} to {end} left out')
        for direction, kind in GREETINGS:
            damaged.hurt(direction, kind, repeat(0, None), 'twice')
        damaged.clients.go_on()


def check_stalls(script, damaged):
    with script.test('a stream that stops for ever within a message is given up'):
        for offset in (0, 30, POSITIONS_BYTES, -100):
            damaged.hurt(TO_REPLICA, WAL_DATA, stall(offset), f'silent at {offset}', FRAME_BYTES)
        damaged.hurt(TO_PRIMARY, WAL_ACK, stall(30), 'silent at 30')
        for direction, kind in GREETINGS:
            damaged.hurt(direction, kind, stall(70), 'silent at 70')
        damaged.clients.go_on()


def replay(node, stream):
    """Sends a recorded stream to the node's replication port; the messages that it answers until it hangs up."""
    answers = []
    with socket.create_connection((node.ip, node.replication_port), timeout=60) as sock:
        try:
            sock.sendall(stream)
            sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
                raise
            # It has refused in the middle of it, and what it said is here to be read.
        try:
            while len(message := read_message(sock)) >= 64:
                answers.append(message)
        except ConnectionResetError:
            return answers  # it hung up before it had read all
    return answers


def kinds(messages):
    return [NAMES[type_of(message)] for message in messages]


def record(damaged):
    """The stream of a new connection, from its hello, with records."""
    damaged.proxy.recording = True
    before = damaged.session()
    damaged.proxy.cut_all()
    damaged.wait_other_session(before)
    damaged.clients.go_on()
    damaged.proxy.recording = False
    connection = damaged.proxy.connections[-1]
    stream = connection.stream()
    damaged.proxy.forget()
    return stream


def check_replays(script, damaged, rng):
    with script.test('a stream is replayed while its session runs: no record of it is taken'):
        stream = record(damaged)
        for length in (len(stream), len(stream) // 2, 64, *(rng.randrange(len(stream)) for _ in range(3))):
            before = damaged.session()
            answers = replay(damaged.replica, stream[:length])
            assert 'session_ack' not in kinds(answers) and 'wal_ack' not in kinds(answers), kinds(answers)
            if answers:
                damaged.wait_other_session(before)
            damaged.clients.go_on()
    with script.test('the stream of an opening that is over is refused, the session that runs notices nothing'):
        damaged.clients.stop()
        damaged.primary.kill()
        damaged.primary.start()
        damaged.pair.wait_healthy()
        damaged.clients.start()
        damaged.clients.go_on()
        before = damaged.session()
        for length in (len(stream), len(stream) // 2):
            answers = replay(damaged.replica, stream[:length])
            assert kinds(answers) == ['reject'] and epoch_of(answers[0]) == 1, kinds(answers)
        damaged.clients.go_on()
        assert damaged.session() == before
    with script.test('the stream of an epoch that is over is refused with the current one named'):
        stream = record(damaged)
        order(damaged.primary, 'assign', 'vol0', '--role', 'primary', '--epoch', '2')
        damaged.pair.wait_healthy()
        damaged.clients.go_on()
        before = damaged.session()
        answers = replay(damaged.replica, stream)
        assert kinds(answers) == ['reject'] and epoch_of(answers[0]) == 2, kinds(answers)
        damaged.clients.go_on()
        assert damaged.session() == before
    with script.test('a stream that is sent to the primary itself is refused'):
        stream = record(damaged)
        before = damaged.session()
        answers = replay(damaged.primary, stream)
        assert kinds(answers) == ['reject'], kinds(answers)
        damaged.clients.go_on()
        assert damaged.session() == before and state(damaged.primary) == ('primary', 2)
    with script.test('a stream without records is replayed over an idle volume: nothing changes'):
        damaged.clients.stop()
        damaged.proxy.recording = True
        before = damaged.session()
        damaged.proxy.cut_all()
        damaged.wait_other_session(before)
        damaged.proxy.recording = False
        before, head = damaged.session(), damaged.replica.volume()['boundary']['wal_head']
        replay(damaged.replica, damaged.proxy.connections[-1].stream())
        damaged.wait_other_session(before)
        assert damaged.replica.volume()['boundary']['wal_head'] == head


def check_end(script, damaged):
    with script.test('after all that nothing acknowledged is missing, and both images hold exactly that'):
        damaged.clients.stop_and_check(damaged.primary)
        damaged.pair.stop()
        assert images_equal(*damaged.pair.nodes)
        for node in damaged.pair.nodes:
            damaged.clients.registers.check_image(node.image_path())


def check_old_cut(script):
    """An order to cut the tail was right once. Said again later it would take acknowledged records."""
    options = {'replication.timeout': '1s', 'replication.when_lost': 'wait', 'replication.wal_retain': '90%'}
    pair = Pair(script, size='4MiB', wal_size='64MiB', options=options, names=('n3', 'n4'))
    old, new = pair.primary, pair.replica
    forth, back = Proxy(new.replication_port), Proxy(old.replication_port)
    old.volumes[0]['replicas'] = [(new.name, forth.address)]
    pair.start()
    clients = Clients([old, new])
    with script.test('an old primary cuts the tail that never became history'):
        clients.start()
        clients.go_on()
        forth.close_port()
        head = old.wait_volume(lambda v: not v['replicas'][0]['connected'], 'the cut')['boundary']['wal_head']
        # What clients have open may be on the other copy already, unacknowledged. This one cannot be.
        tail = nbd.NBD()
        tail.connect_uri(old.uri())
        tail.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(4096)), 0)
        old.wait_volume(lambda v: v['boundary']['wal_head'] > head, 'a tail that only the primary has')
        order(new, 'promote', 'vol0', '--epoch', '2', '--force', '--replica', f'{old.name}={back.address}')
        wait_in_sync(new, old)
        clients.go_on()
        clients.stop()
    with script.test('the order to cut it is not taken again'):
        recorded = next(messages for messages in (connection.messages[TO_REPLICA] for connection in back.connections)
                        if any(type_of(message) == CONTROL and message[64] == CUT_TAIL for message in messages))
        last = next(i for i, message in enumerate(recorded) if type_of(message) == CONTROL and message[64] == CUT_TAIL)
        # The primary does not run meanwhile: what the replay takes nobody gives back.
        new.pause()
        head = old.volume()['boundary']['wal_head']
        try:
            answers = replay(old, b''.join(recorded[:last + 1]))
            assert old.volume()['boundary']['wal_head'] == head, old.log_tail()
        finally:
            new.resume()
        assert kinds(answers)[-1] == 'reject', kinds(answers)
    with script.test('and the pair is healthy, the images are equal'):
        wait_in_sync(new, old)
        clients.start()
        clients.go_on()
        clients.stop_and_check(new)
        pair.stop()
        assert images_equal(*pair.nodes)
        for node in pair.nodes:
            clients.registers.check_image(node.image_path())


with Script() as main:
    print(f'# seed {SEED}')
    random_choice = random.Random(SEED)
    the_pair = Damaged(main)
    check_cuts(main, the_pair, random_choice)
    check_flips(main, the_pair, random_choice)
    check_chunks(main, the_pair)
    check_stalls(main, the_pair)
    check_replays(main, the_pair, random_choice)
    check_end(main, the_pair)
    check_old_cut(main)
