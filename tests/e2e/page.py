#!/usr/bin/python3
"""The live page in headless Chromium, served by a running pair: it shows what happens, also a rebuild and a restart of the
daemon; it asks nobody but its daemon; what the server says is text and never markup."""
import json
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import browser
from browser import Browser
from event_reader import EventReader
from harness import Pair, Script, wait_for
from rebuilding import clients_of, fill, order, set_rate

TEST = 'the live page in Chromium'
PAGE_BYTES_MAX = 150_000
EVIL = '<img src=x onerror="window.owned=1"><script>window.owned=1</script>'


def wait_text(window, selector, pattern, what):
    seen = {}

    def found():
        seen['text'] = window.text(selector)
        return seen['text'] is not None and re.search(pattern, seen['text'])
    try:
        return wait_for(found, what)
    except AssertionError as failure:
        raise AssertionError(f'{failure}; {selector} says: {seen["text"]}') from None


def no_complaints(window, allowed=()):
    """Only what the network says while the daemon is away may be `allowed`."""
    bad = [(source, text) for source, text in window.complaints() if source not in allowed]
    assert not bad, bad


def check_loads(script, pair, window):
    url = f'http://{pair.primary.admin_address}/'
    with script.test('the page loads and shows the volume, its replica and why it is healthy'):
        window.open(url)
        wait_text(window, '#link-text', '^live$', 'the page to be live')
        wait_text(window, '#name', '^vol0$', 'the volume')
        wait_text(window, '#mode', '^publish healthy$', 'its mode')
        wait_text(window, '#facts', r'primary[\s\S]*sync_all[\s\S]*2 of 2', 'its facts')
        wait_text(window, '#replicas', r'n2[\s\S]*in sync[\s\S]*keepup running', 'its replica')
        wait_text(window, '#why', 'so the mode is publish_healthy', 'the chain of facts')
        wait_text(window, '#node', 'n1', 'the node')
        assert window.text('#alarms') is None and window.text('#volumes') is None
    with script.test('plots show what clients do'):
        clients = clients_of(pair)
        wait_text(window, '.plot:nth-child(1) .now', r'^[1-9][\d.,]*\s*k?/s$', 'throughput')
        wait_text(window, '.plot:nth-child(2) .now', r'^[\d.]+\s*(µs|ms|s)$', 'latency')
        wait_text(window, '.plot:nth-child(3) .now', r'^[\d.]+\s*(B|KiB|MiB)$', 'lag')
        drawn = """const c = document.querySelectorAll('.plot canvas')[arguments[0]];
                   return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(byte => byte !== 0)"""
        assert all(window.run(drawn, number) for number in range(3))
    with script.test('it is one answer below 150 KB, and asks nobody else for anything'):
        reader = EventReader(pair.primary)   # the same from outside
        reader.wait('node', lambda data: data['id'] == 'n1', 'the node')
        reader.close()
        fetched = window.fetched()
        assert {urlsplit(one).netloc for one in fetched if not one.startswith('data:')} == {pair.primary.admin_address}, fetched
        assert {urlsplit(one).path for one in fetched if not one.startswith('data:')} == {'/', '/v1/events'}, fetched
        size = window.run("return performance.getEntriesByType('navigation')[0].encodedBodySize")
        assert 10_000 < size < PAGE_BYTES_MAX, size
        print(f'# the page has {size} bytes')
    with script.test('what the policy forbids is not done: another host, another script'):
        refused = window.run("""return Promise.all([
            fetch('http://127.0.0.1:1/').then(() => 'asked', () => 'refused'),
            new Promise(done => { const s = document.createElement('script'); s.textContent = 'document.title = "owned"'; document.body.append(s);
                                  setTimeout(() => done(document.title === 'owned' ? 'ran' : 'refused'), 0); }),
            new Promise(done => { const i = new Image(); i.onload = () => done('loaded'); i.onerror = () => done('refused'); i.src = '/favicon.ico'; })])""")
        assert refused == ['refused'] * 3, refused
        blocked = [text for _, text in window.complaints() if 'Content Security Policy' in text]
        assert len(blocked) >= 3, blocked
    return clients


def check_rebuild(script, pair, window):
    with script.test('a running rebuild is shown as a map that fills, with both lanes, and goes when it has ended'):
        set_rate(pair.primary, '16MiB')
        order(pair.primary, pair.replica)
        wait_text(window, '.rebuild', r'Rebuilding n2[\s\S]*Base lane[\s\S]*Log lane', 'the rebuild')
        cells = "return [...document.querySelectorAll('.map i')].map(cell => cell.dataset.c || '.').join('')"
        shown = []

        def moved():
            now = window.run(cells)
            if now and (not shown or shown[-1] != now):
                shown.append(now)
            return len(shown) >= 5
        wait_for(moved, 'the map to fill')
        full = [len(re.findall('[0-9]', one)) for one in shown]
        assert all(len(one) == 256 for one in shown) and full == sorted(full) and full[0] < full[-1], shown
        wait_text(window, '.rebuild .percent', r'^\d+ %$', 'how far it is')
        wait_text(window, '.rebuild .steps [data-at=now]', '^copying$', 'its phase')
        wait_text(window, '#alarms', 'n2 is not in the in-sync set', 'the alarm')
        wait_text(window, '#mode', '^degraded$', 'the mode')
        set_rate(pair.primary, '0')
        pair.wait_healthy()
        wait_for(lambda: window.count('.rebuild') == 0, 'the rebuild to go')
        wait_for(lambda: window.text('#alarms') is None, 'the alarm to go')
        wait_text(window, '#events', r'rebuild running', 'what happened')
    with script.test('nothing was written to the console'):
        no_complaints(window)


def check_restart(script, pair, window, clients):
    with script.test('a daemon that is gone shows, and the page comes back by itself when it is there again'):
        clients.stop()
        pair.primary.kill()
        wait_text(window, '#link-text', r'^disconnected since [\d:]+: ', 'the connection to be lost')
        assert window.run('return document.body.hasAttribute("data-stale")')
        assert window.text('#name') == 'vol0', 'what was known is still shown'
        pair.primary.start()
        wait_text(window, '#link-text', '^live$', 'the page to be live again')
        wait_text(window, '#mode', '^publish healthy$', 'the mode after the restart')
        assert not window.run('return document.body.hasAttribute("data-stale")')
        wait_text(window, '#why', 'incarnation 2', 'the facts of the new daemon')
        no_complaints(window, allowed=('network',))
    with script.test('a daemon that is stopped says so'):
        pair.primary.stop()
        wait_text(window, '#link', 'disconnected since|stopping', 'the connection to be lost')
        pair.primary.start()
        wait_text(window, '#link-text', '^live$', 'the page to be live again')
        pair.wait_healthy()
        no_complaints(window, allowed=('network',))


def check_phone(script, window):
    with script.test('on a phone, light and dark, everything fits the width'):
        for dark in (False, True):
            window.size(360, 780, 2, True)
            window.colours(dark)
            wait_for(lambda: window.run('return innerWidth') == 360, 'the new size')
            widths = window.run('return [document.documentElement.scrollWidth, document.documentElement.clientWidth]')
            assert widths[0] <= widths[1] == 360, widths
            back = window.run('return getComputedStyle(document.body).backgroundColor')
            brightness = sum(map(int, re.findall(r'\d+', back)[:3]))
            assert (brightness < 200) == dark, back
        window.size(1240, 900)
        window.colours(False)


class Liar(ThreadingHTTPServer):
    """Serves the real page, and a stream with whatever is put into it."""
    daemon_threads = True

    def __init__(self, page, policy, events):
        self.page, self.policy, self.events = page, policy, events
        self.ended = threading.Event()
        super().__init__(('127.0.0.1', 0), Answer)


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Security-Policy', self.server.policy)
        self.send_header('Content-Type', 'text/event-stream' if self.path == '/v1/events' else 'text/html; charset=utf-8')
        self.end_headers()
        if self.path != '/v1/events':
            return self.wfile.write(self.server.page)
        for number, (name, data) in enumerate(self.server.events, 1):
            self.wfile.write(f'id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n'.encode())
        self.wfile.flush()
        self.server.ended.wait(300)

    def log_message(self, *_):
        pass


def poisoned(value):
    """Every text in it is markup."""
    if isinstance(value, dict):
        return {key: poisoned(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [poisoned(inner) for inner in value]
    return EVIL + value if isinstance(value, str) else value


def check_markup(script, pair, window):
    with script.test('no text of the server can inject markup, wherever it is shown'):
        import urllib.request
        with urllib.request.urlopen(f'http://{pair.primary.admin_address}/', timeout=60) as reply:
            page, policy = reply.read(), reply.headers['Content-Security-Policy']
        reader = EventReader(pair.primary)
        reader.wait('why', lambda data: True, 'the facts')
        told = {name: data for _, name, data in reader.events}
        reader.close()
        volume = told['volume']
        state = {key: volume['replicas'][0][key] for key in ('connected', 'in_sync', 'rebuild_order', 'session')}
        events = [('node', told['node']), ('volume', {**volume, 'alarms': [], 'reason': 'r'}), ('volume', {**volume, 'name': 'other'}), ('why', told['why']),
                  ('projection', {'volume': volume['name'], 'time_ms': 1, 'missed': 0, 'mode': 'm', 'reason': 'r', 'healthy': False, 'role': 'x', 'epoch': 1,
                                  'before': {'mode': 'n', 'reason': 's', 'healthy': True, 'role': 'y', 'epoch': 2}}),
                  ('session', {'volume': volume['name'], 'time_ms': 1, 'replica': 'n9', 'address': 'a', 'assigned': True, **state, 'before': None}),
                  ('alarm', {'volume': volume['name'], 'time_ms': 1, 'code': 'c', 'replica': 'n2', 'message': 'm', 'active': True})]
        # The policy stands aside here: the page itself has to be right.
        liar = Liar(page, "default-src 'self' 'unsafe-inline' data:", [(name, poisoned(data)) for name, data in events])
        thread = threading.Thread(target=liar.serve_forever, daemon=True)
        thread.start()
        try:
            window.complaints()
            window.open(f'http://127.0.0.1:{liar.server_port}/')
            wait_text(window, '#name', re.escape(EVIL) + 'vol0', 'the name as it is')
            wait_text(window, '#why', re.escape(EVIL), 'the facts as they are')
            wait_text(window, '#events', re.escape(EVIL), 'the events as they are')
            wait_text(window, '#alarms', re.escape(EVIL), 'the alarm as it is')
            wait_text(window, '#replicas', re.escape(EVIL), 'the replica as it is')
            wait_text(window, '#volumes', re.escape(EVIL), 'the volumes as they are')
            assert window.count('img') == 0 and window.count('body script') == 1, window.run('return document.body.innerHTML')
            assert window.run('return window.owned') is None
            no_complaints(window)
        finally:
            liar.ended.set()
            liar.shutdown()
            thread.join(60)
            liar.server_close()
    assert policy.startswith("default-src 'none'"), policy


def main():
    with Script() as script:
        why_not = browser.missing()
        if why_not:
            return script.skip(TEST, why_not)
        pair = Pair(script, size='64MiB', wal_size='16MiB', options={'replication.timeout': '2s'})
        pair.start()
        fill(pair)
        with Browser() as window:
            clients = check_loads(script, pair, window)
            check_rebuild(script, pair, window)
            check_restart(script, pair, window, clients)
            check_phone(script, window)
            check_markup(script, pair, window)
        with script.test('both stop cleanly'):
            pair.stop()


if __name__ == '__main__':
    os.environ.setdefault('SE_OFFLINE', 'true')   # Selenium looks for no driver of its own
    main()
