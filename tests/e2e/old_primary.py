#!/usr/bin/python3
# run-under: asan
"""A primary dies under load, its replica is promoted under a higher epoch, clients go on there. The old primary comes
back with the old epoch in its configuration and is refused everywhere, until it is told to be a replica."""
import nbd

from harness import Pair, Script, ctl, run, wait_for
from moving import SEED, Clients, images_equal, order, post, replicas, state, wait_in_sync
from proxy import HELLO, REJECT, TO_PRIMARY, TO_REPLICA, Proxy, epoch_of, type_of


def answer_of(node):
    """What a client is answered that connects and reads: the error; None if it was served."""
    handle = nbd.NBD()
    try:
        handle.connect_uri(node.uri())
        handle.pread(4096, 0)
    except nbd.Error as error:
        return str(error)
    return None


def calls(proxy):
    """Of each connection through the proxy: the epoch of its hello, and type and epoch of the first answer."""
    with_answer = [c.messages for c in list(proxy.connections) if c.messages[TO_REPLICA] and c.messages[TO_PRIMARY]]
    assert all(type_of(m[TO_REPLICA][0]) == HELLO for m in with_answer)
    return [(epoch_of(m[TO_REPLICA][0]), type_of(m[TO_PRIMARY][0]), epoch_of(m[TO_PRIMARY][0])) for m in with_answer]


def check_stale_orders(node, current):
    """All orders of the old epoch, by the API and by ringboltctl; nothing changes."""
    before = state(node)
    for body in ('{"role": "primary", "epoch": 1}', '{"role": "replica", "epoch": 1}', '{"role": "none", "epoch": 1}',
                 '{"role": "primary", "epoch": 1, "promote": true}',
                 '{"role": "primary", "epoch": 1, "promote": true, "force": true}'):
        status, reply = post(node, body)
        assert status == 409 and reply['error']['code'] == 'stale_epoch', (node.name, body, status, reply)
        assert f'epoch {current}' in reply['error']['message'] or f'one is {current}' in reply['error']['message'], reply
    for words in (['assign', 'vol0', '--role', 'primary'], ['promote', 'vol0'], ['promote', 'vol0', '--force']):
        said = order(node, *words, '--epoch', '1', expect=1)
        assert str(current) in said and 'next: ' in said, said
    assert state(node) == before


with Script() as script:
    print(f'# seed {SEED}')
    pair = Pair(script, size='4MiB', wal_size='64MiB', options={'replication.timeout': '2s', 'replication.wal_retain': '90%'})
    old, new = pair.primary, pair.replica
    proxy = Proxy(new.replication_port)
    old.volumes[0]['replicas'] = [(new.name, proxy.address)]
    pair.start()
    clients = Clients([old, new])
    clients.start()
    with script.test('the primary is killed under load, its replica is promoted by force, clients go on there'):
        clients.go_on(500)
        assert pair.wait_healthy()['epoch'] == 1
        old.kill()
        order(new, 'promote', 'vol0', '--epoch', '2', expect=1)
        order(new, 'promote', 'vol0', '--epoch', '2', '--force')
        assert state(new) == ('primary', 2)
        clients.go_on(500)
    with script.test('what was acknowledged before and since is there'):
        clients.stop_and_check(new)
        clients.start()
    with script.test('the old primary returns: its call is refused with the current epoch named'):
        proxy.forget()
        old.start(wait=False)
        # Clients knock from the first moment on; none may be served, whatever it is on the way to.
        answers = []
        wait_for(lambda: answers.append(answer_of(old)) or old.try_get('/v1/volumes/vol0')[0] == 200 and old.volume()['role'] == 'replica',
                 'the old primary to give way', every=0.002)
        assert None not in answers, f'one of {len(answers)} clients was served'
        made = calls(proxy)
        assert (1, REJECT, 2) in made and all(kind == REJECT for _, kind, _ in made), made
        assert state(old) == ('replica', 2) and state(new) == ('primary', 2)
    with script.test('it has served no client and serves none'):
        assert 'serving clients' not in old.log_text().rpartition('starting: node')[2], old.log_tail()
        assert answer_of(old) is not None
        said = run(['qemu-img', 'info', old.uri()], check=False).err  # libnbd keeps the server's words to itself
        assert 'fenced by epoch 2' in said, said
        assert old.volume()['clients'] == 0
        clients.go_on()
    with script.test('orders of the old epoch are refused by both nodes, the current one is named'):
        check_stale_orders(old, 2)
        check_stale_orders(new, 2)
        clients.go_on()
    with script.test('volume show and why say what became of it'):
        shown, why = ctl(old, 'volume', 'show', 'vol0').out, ctl(old, 'why', 'vol0').out
        assert 'replica' in shown and 'fenced by epoch 2' in ' '.join(shown.split()), shown
        assert 'epoch 2' in ' '.join(why.split()), why
    with script.test('it remembers: started again, alone, it serves nobody and calls nobody'):
        old.kill()
        proxy.close_port()
        callers = len(proxy.connections)
        old.start()
        assert answer_of(old) is not None
        assert old.volume()['role'] == 'replica' and old.volume()['epoch'] == 2, old.volume()
        check_stale_orders(old, 2)
        assert answer_of(old) is not None
        assert 'serving clients' not in old.log_text().rpartition('starting: node')[2], old.log_tail()
        assert len(proxy.connections) == callers
        clients.go_on()
    with script.test('told to be a replica of the new epoch it discards its tail and catches up'):
        order(old, 'assign', 'vol0', '--role', 'replica', '--epoch', '2')
        order(new, 'assign', 'vol0', '--role', 'primary', '--epoch', '2', *replicas(old))
        wait_in_sync(new, old)
        clients.go_on()
    with script.test('nothing acknowledged is missing on its copy either: it takes the role back'):
        order(new, 'assign', 'vol0', '--role', 'replica', '--epoch', '3')
        order(old, 'promote', 'vol0', '--epoch', '3', *replicas(new))
        wait_in_sync(old, new)
        clients.go_on()
        clients.stop_and_check(old)
    with script.test('after a clean stop the images are equal'):
        for node in (old, new):
            node.stop()
        assert images_equal(old, new)
        for node in (old, new):
            clients.registers.check_image(node.image_path())
