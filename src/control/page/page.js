'use strict';
// The live page. Everything it shows comes from the event stream v1/events; see openapi.json for what is in it. What the
// server says becomes text nodes and never markup, so no name of a volume and no word of a peer can do anything here.
(() => {
  const SILENCE_MS = 25000;   // the daemon gives a sign of life every 10 s
  const AGAIN_MS = 1000;
  const KEPT_MS = 15 * 60000;
  const EVENTS_MAX = 200;
  const DONE_MS = 8000;       // for how long a rebuild that has ended is still shown

  const byId = id => document.getElementById(id);

  /** An element with attributes, and children that are elements or text. */
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== undefined) element.setAttribute(name, value);
    element.append(...children.filter(child => child !== null && child !== undefined && child !== ''));
    return element;
  }
  function setText(element, text) { if (element.textContent !== text) element.textContent = text; }
  function tone(element, value) { if (element.dataset.tone !== value) element.dataset.tone = value; }

  // --- numbers as words ---------------------------------------------------------------------------

  const plain = new Intl.NumberFormat('en');
  const number = value => value === null || value === undefined ? '–' : plain.format(value);
  function digits(value) { return value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2); }
  /** [number, unit] */
  function bytes(value) {
    if (value === null || value === undefined) return ['–', ''];
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
    let unit = 0;
    while (value >= 1024 && unit < units.length - 1) { value /= 1024; ++unit; }
    return [digits(value), units[unit]];
  }
  const bytesText = value => bytes(value).join(' ').trim();
  function micros(value) {
    if (value === null || value === undefined) return ['–', ''];
    if (value < 1000) return [String(Math.round(value)), 'µs'];
    return value < 1e6 ? [digits(value / 1000), 'ms'] : [digits(value / 1e6), 's'];
  }
  function count(value) {
    if (value === null || value === undefined) return ['–', ''];
    return value < 100000 ? [plain.format(Math.round(value)), ''] : value < 1e6 ? [digits(value / 1000), 'k'] : [digits(value / 1e6), 'M'];
  }
  function duration(seconds) {
    if (seconds < 60) return `${seconds} s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
    if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds % 3600 / 60)} min`;
    return `${Math.floor(seconds / 86400)} d ${Math.floor(seconds % 86400 / 3600)} h`;
  }
  const clock = ms => new Date(ms).toLocaleTimeString([], {hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false});
  const spaced = word => word.replaceAll('_', ' ');

  // --- what is known ------------------------------------------------------------------------------

  const volumes = new Map();    // name -> {data, facts, maps}
  const series = new Map();     // name -> samples, which outlive a connection
  const news = new Map();       // name -> what happened, the newest first; '' is the node
  const alarms = new Map();     // key -> alarm
  let node = null, nodeAt = 0;
  let selected = null;
  let minutes = 1;
  let live = false;

  function toneOf(volume) {
    if (volume.healthy) return 'good';
    return volume.mode === 'needs_rebuild' || volume.alarms.some(alarm => alarm.code === 'copy_failed') ? 'bad' : 'warn';
  }

  function sample(name) {
    const volume = volumes.get(name);
    if (!volume) return;
    const load = volume.data.load, latency = load && load.latency_us;
    const lag = {};
    for (const replica of volume.data.replicas) lag[replica.id] = replica.lag_bytes;
    push(name, {t: Date.now(), requests: load && load.requests_per_second, records: load && load.records_per_second, log: load && load.log_bytes_per_second,
                p50: latency && latency.p50, p99: latency && latency.p99, p999: latency && latency.p999, lag});
  }
  function push(name, point) {
    let points = series.get(name);
    if (!points) series.set(name, points = []);
    points.push(point);
    let old = 0;
    while (old < points.length && points[old].t < point.t - KEPT_MS) ++old;
    if (old > 100) points.splice(0, old);
  }

  function tell(volume, time, level, title, text) {
    const key = volume === null ? '' : volume;
    let list = news.get(key);
    if (!list) news.set(key, list = []);
    list.unshift({time, tone: level, title, text});
    list.length = Math.min(list.length, EVENTS_MAX);
  }

  function replicaState(replica) {
    const session = replica.session;
    if (replica.in_sync) return replica.connected ? ['in sync', 'good'] : ['in sync, cut off', 'warn'];
    if (session && isRunning(session) && session.kind !== 'keepup') return [session.kind === 'rebuild' ? 'rebuilding' : 'catching up', 'work'];
    if (replica.rebuild_order === 'cancelled') return ['rebuild cancelled', 'bad'];
    if (session && session.kind === 'rebuild') return ['needs a rebuild', 'bad'];
    return replica.connected ? ['connected', 'warn'] : ['away', 'bad'];
  }
  const isRunning = session => ['accepted', 'running', 'base_complete', 'completed'].includes(session.phase);

  // --- events of the stream -----------------------------------------------------------------------

  const handlers = {
    node(data) {
      node = data;
      nodeAt = Date.now();
      volumes.clear();
      alarms.clear();
    },
    volume(data) {
      const known = volumes.get(data.name);
      volumes.set(data.name, {facts: [], maps: new Map(), ...known, data});
      for (const alarm of data.alarms) {
        const key = [data.name, alarm.code, alarm.replica].join(' ');
        if (alarms.has(key)) alarms.get(key).message = alarm.message;
      }
      sample(data.name);
    },
    projection(data) {
      const {mode, reason, healthy, role, epoch} = data;
      const known = volumes.get(data.volume);
      if (known) Object.assign(known.data, {mode, reason, healthy, role, epoch});
      if (role !== data.before.role || epoch !== data.before.epoch) {
        tell(data.volume, data.time_ms, 'work', role === 'none' ? 'no role' : role, `of epoch ${number(epoch)}; it was ${data.before.role} of epoch ${number(data.before.epoch)}`);
      }
      if (mode !== data.before.mode || reason !== data.before.reason || healthy !== data.before.healthy) {
        const more = reason.startsWith(`${mode}: `) ? reason.slice(mode.length + 2) : reason;
        tell(data.volume, data.time_ms, healthy ? 'good' : mode === 'needs_rebuild' ? 'bad' : 'warn', spaced(mode), more);
      }
      if (data.missed > 0) tell(data.volume, data.time_ms, 'warn', `${number(data.missed)} changes`, 'before this one were too many to be kept');
    },
    session(data) {
      const known = volumes.get(data.volume);
      const {connected, in_sync, rebuild_order, session} = data;
      if (known) {
        const replicas = known.data.replicas, at = replicas.findIndex(replica => replica.id === data.replica);
        if (!data.assigned && at >= 0) replicas.splice(at, 1);
        if (at >= 0 && data.assigned) Object.assign(replicas[at], {connected, in_sync, rebuild_order, session});
        const map = known.maps.get(data.replica);
        if (map && session && session.id === map.session && session.kind !== 'rebuild') map.ended = Date.now();
      }
      const before = data.before;
      if (!data.assigned) return tell(data.volume, data.time_ms, 'work', data.replica, 'is a replica no more');
      const words = [];
      if (!before) words.push('is a replica now');
      if (before && before.connected !== connected) words.push(connected ? 'connected' : 'connection lost');
      const was = before && before.session;
      if (session && (!was || was.id !== session.id || was.kind !== session.kind || was.phase !== session.phase || was.reason !== session.reason)) {
        words.push(`${session.kind} ${spaced(session.phase)}` + (session.reason ? `: ${session.reason}` : ''));
      }
      if (before && before.in_sync !== in_sync) words.push(in_sync ? 'counts again' : 'does not count any more');
      if (before && before.rebuild_order !== rebuild_order) words.push(rebuild_order === null ? 'the order for a rebuild is carried out' : `a rebuild is ${rebuild_order}`);
      const running = session && isRunning(session);
      const level = !running ? 'warn' : in_sync && connected && session.kind === 'keepup' ? 'good' : 'work';
      tell(data.volume, data.time_ms, level, data.replica, words.join(', '));
    },
    alarm(data) {
      const key = [data.volume === null ? '' : data.volume, data.code, data.replica].join(' ');
      if (data.active) alarms.set(key, data); else alarms.delete(key);
      tell(data.volume, data.time_ms, data.active ? 'bad' : 'good', data.active ? 'alarm' : 'alarm over', data.message);
    },
    why(data) {
      const known = volumes.get(data.name);
      if (known) known.facts = data.facts;
    },
    rebuild(data) {
      const known = volumes.get(data.volume);
      if (known) known.maps.set(data.replica, data);
    },
    gone(data) { volumes.delete(data.volume); },
    end() { setLink('off', 'the daemon is stopping'); },
  };

  function take(name, text) {
    const handler = Object.hasOwn(handlers, name) ? handlers[name] : null;
    if (!handler) return;   // of a newer daemon
    handler(JSON.parse(text));
    draw();
  }

  // --- the stream ---------------------------------------------------------------------------------

  // By hand rather than an EventSource: that tells neither why it was refused nor that the other end has fallen silent.
  async function listen() {
    const control = new AbortController();
    let silence = 0;
    const alive = () => {
      clearTimeout(silence);
      silence = setTimeout(() => control.abort(new Error('the daemon has fallen silent')), SILENCE_MS);
    };
    alive();
    try {
      const reply = await fetch('v1/events', {signal: control.signal, cache: 'no-store', headers: {Accept: 'text/event-stream'}});
      if (!reply.ok) {
        const body = await reply.json().catch(() => null);
        throw new Error(body && body.error ? body.error.message : `the daemon answers ${reply.status}`);
      }
      const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
      setLink('live', 'live');
      let rest = '';
      for (;;) {
        const {value, done} = await reader.read();
        if (done) throw new Error('the daemon has ended the stream');
        alive();
        const parts = (rest + value).split('\n\n');
        rest = parts.pop();
        parts.forEach(takeBlock);
      }
    } finally {
      clearTimeout(silence);
      control.abort();
    }
  }
  function takeBlock(block) {
    let name = '';
    const data = [];
    for (const line of block.split('\n')) {
      if (line.startsWith('event: ')) name = line.slice(7);
      if (line.startsWith('data: ')) data.push(line.slice(6));
    }
    if (name) take(name, data.join('\n'));
  }
  async function listenForEver() {
    let lost = null;
    for (;;) {
      let why = '';
      try {
        await listen();
      } catch (error) {
        why = error instanceof TypeError ? 'the daemon does not answer' : error.message;
      }
      if (live) {
        lost = Date.now();
        for (const name of volumes.keys()) push(name, {t: lost, lag: {}});   // a gap
      }
      setLink('off', lost === null ? why : `disconnected since ${clock(lost)}: ${why}`);
      await new Promise(resolve => setTimeout(resolve, AGAIN_MS));
    }
  }
  function setLink(state, text) {
    live = state === 'live';
    byId('link').dataset.state = state;
    setText(byId('link-text'), text);
    document.body.toggleAttribute('data-stale', state === 'off');
    draw();
  }

  // --- drawing ------------------------------------------------------------------------------------

  let drawing = false;
  function draw() {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      drawNode();
      drawAlarms();
      drawVolumes();
      drawVolume();
    });
  }

  /** Makes `parent` have one child per item, in order, and keeps those that it has: `key` says which belongs to which. */
  function keep(parent, items, key, create, update) {
    const old = new Map([...parent.children].map(child => [child.dataset.key, child]));
    items.forEach((item, index) => {
      const name = key(item);
      let child = old.get(name);
      if (child) old.delete(name); else (child = create(item)).dataset.key = name;
      if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] || null);
      update(child, item);
    });
    for (const child of old.values()) child.remove();
  }
  function pairs(list, items) {
    keep(list, items, item => item[0], item => make('div', {}, make('dt', {}, item[0]), make('dd')),
         (child, item) => setText(child.lastChild, item[1]));
  }

  function drawNode() {
    if (!node) return;
    const up = node.uptime_seconds + Math.floor((Date.now() - nodeAt) / 1000);
    pairs(byId('node'), [['node', node.id], ['version', node.version], ['up', live ? duration(up) : '–'], ['shards', number(node.shards)],
                         ['memory', `${bytesText(node.memory_used_bytes)} of ${bytesText(node.memory_limit_bytes)}`]]);
    const worst = ['bad', 'warn'].find(level => [...volumes.values()].some(volume => toneOf(volume.data) === level));
    document.title = `${!live ? '⚠ ' : worst ? '● ' : ''}${node.id} · ringbolt`;
  }

  const GRAVE = new Set(['copy_failed', 'copy_damaged', 'copies_differ', 'base_full', 'not_answering']);
  function drawAlarms() {
    const list = byId('alarms');
    list.hidden = alarms.size === 0;
    keep(list, [...alarms], ([key]) => key, () => make('div', {class: 'alarm'}, make('b'), make('span')), (child, [, alarm]) => {
      child.dataset.grave = GRAVE.has(alarm.code) ? 'yes' : 'no';
      setText(child.firstChild, alarm.volume === null ? 'node' : alarm.volume);
      setText(child.lastChild, alarm.message);
    });
  }

  function drawVolumes() {
    const empty = byId('empty');
    empty.hidden = volumes.size > 0;
    setText(empty, !live ? 'Waiting for the daemon.' : node && node.volumes === 0 ? 'This node has no volumes.' : 'Waiting for the volumes.');
    if (!volumes.has(selected)) selected = wanted() || volumes.keys().next().value || null;
    const list = byId('volumes');
    list.hidden = volumes.size < 2;
    if (list.hidden) return;
    keep(list, [...volumes.values()].map(volume => volume.data), volume => volume.name, volume => {
      const button = make('button', {type: 'button'}, make('i', {class: 'dot', 'aria-hidden': 'true'}), make('b', {title: volume.name}, volume.name), make('em'), make('span'));
      button.addEventListener('click', () => { location.hash = encodeURIComponent(volume.name); });
      return button;
    }, (button, volume) => {
      tone(button, toneOf(volume));
      if (volume.name === selected) button.setAttribute('aria-current', 'true'); else button.removeAttribute('aria-current');
      setText(button.children[2], volume.role);
      const requests = volume.load && volume.load.requests_per_second;
      setText(button.children[3], spaced(volume.mode) + (requests ? `, ${count(requests).join('')}/s` : ''));
    });
  }
  function wanted() {
    try {
      const name = decodeURIComponent(location.hash.slice(1));
      return volumes.has(name) ? name : null;
    } catch {
      return null;   // no name that this page has put there
    }
  }
  addEventListener('hashchange', () => {
    selected = wanted() || selected;
    draw();
    drawPlots();
  });

  function drawVolume() {
    const known = volumes.get(selected);
    byId('volume').hidden = !known;
    if (!known) return;
    const volume = known.data, level = toneOf(volume);
    setText(byId('name'), volume.name);
    setText(byId('mode'), spaced(volume.mode));
    tone(byId('mode'), level);
    byId('reason').hidden = volume.reason === '';
    setText(byId('reason'), volume.reason);
    pairs(byId('facts'), [['role', volume.role], ['epoch', number(volume.epoch)], ['durability', volume.durability], ['size', bytesText(volume.size)],
                          ['clients', number(volume.clients)], ['copies in sync', copies(volume)]]);
    drawRebuilds(known);
    drawReplicas(volume);
    drawLog(volume);
    const why = byId('why');
    tone(why, level);
    setText(byId('why-mode'), `it is ${spaced(volume.mode)}`);
    keep(why, known.facts.map((fact, index) => [String(index), fact]), item => item[0], () => make('li'), (child, item) => setText(child, item[1]));
    drawEvents();
  }
  function copies(volume) {
    if (volume.role !== 'primary') return '–';
    return `${1 + volume.replicas.filter(replica => replica.in_sync).length} of ${1 + volume.replicas.length}`;
  }

  function drawEvents() {
    const list = byId('events');
    const all = [...(news.get(selected) || []), ...(news.get('') || [])].sort((a, b) => b.time - a.time).slice(0, EVENTS_MAX);
    if (all.length === 0) return list.replaceChildren(make('li', {class: 'none'}, make('span'), 'nothing yet'));
    for (const item of all) if (!item.key) item.key = String(++eventKeys);
    keep(list, all, item => item.key, item => make('li', {'data-tone': item.tone}, make('time', {}, clock(item.time)), make('span', {}, make('b', {}, item.title), item.text ? ` ${item.text}` : '')), () => {});
  }
  let eventKeys = 0;

  // --- replicas and the log -----------------------------------------------------------------------

  function drawReplicas(volume) {
    const place = byId('replicas');
    if (volume.replicas.length === 0) {
      return place.replaceChildren(make('p', {class: 'none'}, volume.role === 'primary' ? 'It has none: this is the only copy.' : 'Its primary knows them; here is one copy.'));
    }
    if (!place.firstChild || place.firstChild.tagName !== 'TABLE') {
      place.replaceChildren(make('table', {class: 'table'},
        make('thead', {}, make('tr', {}, ...['replica', 'state', 'session', 'written', 'flushed'].map(title => make('th', {scope: 'col'}, title)), make('th', {scope: 'col', class: 'right'}, 'lag'))),
        make('tbody')));
    }
    keep(place.querySelector('tbody'), volume.replicas, replica => replica.id, replica => make('tr', {},
      make('td', {class: 'name'}, make('b', {}, replica.id), make('small', {})), make('td', {}, make('span', {class: 'tag'})),
      make('td', {class: 'session'}, make('span'), make('small')), make('td', {class: 'mono', 'data-title': 'written'}), make('td', {class: 'mono', 'data-title': 'flushed'}),
      make('td', {class: 'right', 'data-title': 'lag'})), (row, replica) => {
      const [name, state, session, written, durable, lag] = row.children;
      setText(name.lastChild, replica.address);
      const [word, level] = replicaState(replica);
      setText(state.firstChild, word);
      tone(state.firstChild, level);
      const known = replica.session;
      setText(session.firstChild, known ? `${known.kind} ${spaced(known.phase)}` + (known.id === null ? '' : ` · ${known.id}`) : '–');
      setText(session.lastChild, known ? known.reason : '');
      setText(written, number(replica.written_lsn));
      setText(durable, number(replica.durable_lsn));
      setText(lag, bytesText(replica.lag_bytes));
    });
  }

  function drawLog(volume) {
    const {used_bytes: used, capacity_bytes: capacity} = volume.wal, at = volume.boundary;
    setText(byId('log-use'), used === null ? '' : `${bytesText(used)} of ${bytesText(capacity)} used, ${digits(100 * used / capacity)} %`);
    const place = byId('log');
    if (!place.firstChild) {
      place.append(make('div', {class: 'wal', role: 'img'}, make('i', {class: 'soft'}), make('i')),
                   make('div', {class: 'key'}, make('span', {}, make('i', {class: 'open'}), 'not in the base image yet'), make('span', {}, make('i', {class: 'soft'}), 'in the base image, kept for replicas that lag')),
                   make('dl', {class: 'marks'}));
    }
    const [bar, , marks] = place.children;
    // Of what is used: the part that the base image has already is kept for replicas that lag.
    const records = at.wal_head === null ? 0 : at.wal_head - at.wal_tail + 1;
    const open = records > 0 && at.checkpoint_lsn !== null ? Math.max(0, at.wal_head - Math.max(at.checkpoint_lsn, at.wal_tail - 1)) / records : 0;
    const share = used === null ? 0 : 100 * used / capacity;
    bar.children[0].style.width = `${share}%`;
    bar.children[1].style.width = `${share * open}%`;
    bar.setAttribute('aria-label', `${digits(share)} percent used, ${digits(share * open)} percent not in the base image yet`);
    pairs(marks, [['tail', number(at.wal_tail)], ['checkpoint', number(at.checkpoint_lsn)], ['committed', number(at.committed_lsn)], ['flushed', number(at.durable_lsn)],
                  ['written', number(at.written_lsn)], ['head', number(at.wal_head)]]);
  }

  // --- a rebuild ----------------------------------------------------------------------------------

  const STEPS = ['accepted', 'running', 'base_complete', 'completed'];
  const STEP_WORDS = ['accepted', 'copying', 'base image complete', 'in step'];

  function drawRebuilds(known) {
    const now = Date.now();
    const shown = known.data.replicas.filter(replica => {
      const session = replica.session, map = known.maps.get(replica.id);
      if (!session || !map) return false;
      if (session.kind === 'rebuild' && isRunning(session)) return true;
      return session.id === map.session && map.ended && now - map.ended < DONE_MS;
    });
    keep(byId('rebuilds'), shown, replica => replica.id, makeRebuild, (place, replica) => drawRebuild(place, replica, known));
  }
  function makeRebuild(replica) {
    return make('section', {class: 'rebuild', 'aria-label': `Rebuild of ${replica.id}`},
      make('header', {}, make('h3', {}, `Rebuilding ${replica.id}`), make('span', {class: 'percent'}), make('span', {class: 'left'}), make('ol', {class: 'steps'}, ...STEP_WORDS.map(word => make('li', {}, word)))),
      make('div', {class: 'lane'}, make('h4', {}, make('span', {}, 'Base lane: the whole volume, in order'), make('small')), make('div', {class: 'map', role: 'img'}),
        make('div', {class: 'key'}, make('span', {}, make('i', {class: 'open'}), 'copied'), make('span', {}, make('i', {class: 'newer'}), 'left out: the log had something newer'), make('span', {}, make('i'), 'not reached yet'))),
      make('div', {class: 'lane'}, make('h4', {}, make('span', {}, 'Log lane: what clients have written since it began'), make('small')), make('div', {class: 'bar'}, make('i'))),
      make('dl', {class: 'numbers'}), make('p', {class: 'warning', hidden: ''}, 'Clients write faster than the replica takes it: as things are, it does not end.'));
  }
  function drawRebuild(place, replica, known) {
    const session = replica.session, map = known.maps.get(replica.id), head = known.data.boundary.wal_head;
    const over = session.kind !== 'rebuild';
    const [header, baseLane, logLane, numbers, warning] = place.children;
    const passed = over ? map.bytes_total : map.bytes_passed;
    const percent = map.bytes_total === 0 ? 100 : Math.floor(100 * passed / map.bytes_total);
    setText(header.children[1], `${percent} %`);
    setText(header.children[2], over ? 'it counts again' : session.phase === 'base_complete' ? 'the log follows' : session.seconds_left === null ? '' : `${duration(session.seconds_left)} left`);
    const step = over ? STEPS.length - 1 : STEPS.indexOf(session.phase);
    [...header.children[3].children].forEach((item, index) => { item.dataset.at = index < step || (over && index === step) ? 'past' : index === step ? 'now' : 'next'; });

    setText(baseLane.firstChild.lastChild, `${bytesText(passed)} of ${bytesText(map.bytes_total)}`);
    drawMap(baseLane.children[1], over ? map.cells.replaceAll(/[.>]/g, '0') : map.cells, percent);

    // Positions of the log are Lsns: one for each record.
    const from = session.base_lsn, written = replica.written_lsn;
    const known_lane = from !== null && written !== null && head !== null;
    const share = !known_lane ? 0 : head <= from ? 100 : Math.max(0, Math.min(100, 100 * (written - from) / (head - from)));
    logLane.children[1].firstChild.style.width = `${over ? 100 : share}%`;
    setText(logLane.firstChild.lastChild, !known_lane ? '–' : `${number(Math.max(0, written - from))} of ${number(Math.max(0, head - from))} records, ${bytesText(replica.lag_bytes)} behind`);

    if (over) return void (warning.hidden = true);
    pairs(numbers, [['copied', bytesText(session.base_bytes_done)], ['left out', bytesText(session.base_bytes_skipped)],
                    ['speed', session.base_bytes_per_second === null ? '–' : `${bytesText(session.base_bytes_per_second)}/s`], ['session', number(session.id)]]);
    warning.hidden = !session.losing_ground;
  }
  function drawMap(place, cells, percent) {
    while (place.children.length > cells.length) place.lastChild.remove();
    while (place.children.length < cells.length) place.append(make('i'));
    for (let i = 0; i < cells.length; ++i) {
      const cell = place.children[i], kind = cells[i];
      if (cell.dataset.c === kind || (kind === '.' && !cell.dataset.c)) continue;
      if (kind === '.') {
        delete cell.dataset.c;
      } else {
        cell.dataset.c = kind;
        cell.style.setProperty('--newer', kind === '>' ? '0%' : `${Math.round(Number(kind) * 100 / 9)}%`);
      }
    }
    place.setAttribute('aria-label', `${percent} percent of the volume passed`);
  }

  // --- plots --------------------------------------------------------------------------------------

  const PLOTS = [
    {title: 'Throughput', unit: '/s', words: count, lines: () => [['requests', '--teal', point => point.requests], ['log records', '--copper', point => point.records]], fill: true,
     more: point => point.log === null || point.log === undefined ? '' : `log ${bytesText(point.log)}/s`},
    {title: 'Latency', note: 'p99', words: micros, log: true, lines: () => [['p50', '--teal', point => point.p50], ['p99', '--blue', point => point.p99], ['p99.9', '--violet', point => point.p999]], lead: 1},
    {title: 'Lag', words: bytes, binary: true, fill: true, lines: volume => volume.replicas.map((replica, index) => [replica.id, ['--copper', '--blue', '--violet', '--teal'][index % 4], point => point.lag[replica.id]])},
  ];
  for (const plot of PLOTS) {
    plot.canvas = make('canvas', {role: 'img', 'aria-label': plot.title});
    plot.now = make('div', {class: 'now'}, make('span'), make('small'));
    plot.legend = make('div', {class: 'legend'});
    byId('plots').append(make('section', {class: 'plot'}, make('h3', {}, plot.title, plot.note ? make('small', {}, ` ${plot.note}`) : null), plot.now, plot.canvas, plot.legend));
    const point = event => {
      plot.at = event === null ? null : event.offsetX;
      drawPlots();
    };
    plot.canvas.addEventListener('pointermove', point);
    plot.canvas.addEventListener('pointerleave', () => point(null));
  }
  for (const button of document.querySelectorAll('.span button')) {
    button.addEventListener('click', () => {
      minutes = Number(button.dataset.minutes);
      for (const other of document.querySelectorAll('.span button')) other.setAttribute('aria-pressed', String(other === button));
      drawPlots();
    });
  }

  function drawPlots() {
    const known = volumes.get(selected);
    if (!known || document.hidden) return;
    const style = getComputedStyle(document.documentElement);
    const now = live ? Date.now() : lastTime(series.get(selected));
    for (const plot of PLOTS) drawPlot(plot, known.data, series.get(selected) || [], now, name => style.getPropertyValue(name).trim());
  }
  const lastTime = points => points && points.length > 0 ? points[points.length - 1].t : Date.now();

  /** The least of 1, 2, 5 times a power (of ten, or of two for bytes) that is not below `value`. */
  function nice(value, binary) {
    if (binary) return 2 ** Math.ceil(Math.log2(Math.max(value, 4096)));
    const power = 10 ** Math.floor(Math.log10(Math.max(value, 10)));
    return [1, 2, 5, 10].find(step => step * power >= value) * power;
  }

  function drawPlot(plot, volume, points, now, color) {
    const canvas = plot.canvas, ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (width === 0) return;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const pen = canvas.getContext('2d');
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.font = `11px ${getComputedStyle(document.body).fontFamily}`;

    const span = minutes * 60000, top = 8, bottom = height - 18;
    const lines = plot.lines(volume);
    const first = points.findIndex(point => point.t >= now - span);
    const seen = first < 0 ? [] : points.slice(Math.max(0, first - 1));
    const values = lines.flatMap(([, , of]) => seen.map(of)).filter(value => value !== null && value !== undefined);
    const max = plot.log ? 10 ** Math.ceil(Math.log10(Math.max(1000, ...values) * 1.01)) : nice(Math.max(0, ...values), plot.binary);
    const min = plot.log ? 10 ** Math.floor(Math.log10(Math.max(10, Math.min(max / 10, ...values)))) : 0;
    const x = time => width - (now - time) / span * width;
    const y = value => plot.log ? bottom - (Math.log10(Math.max(value, min)) - Math.log10(min)) / (Math.log10(max) - Math.log10(min)) * (bottom - top)
                                : bottom - value / max * (bottom - top);

    // lines to read it by
    pen.lineWidth = 1;
    const marks = plot.log ? Array.from({length: Math.round(Math.log10(max / min)) + 1}, (_, index) => min * 10 ** index) : [0, max / 2, max];
    let labelled = -Infinity;
    for (const mark of marks.reverse()) {
      const at = Math.round(y(mark)) + .5;
      pen.strokeStyle = color('--line-soft');
      pen.beginPath();
      pen.moveTo(0, at);
      pen.lineTo(width, at);
      pen.stroke();
      if (at - labelled < 16 || at + 14 > bottom) continue;
      labelled = at;
      pen.fillStyle = color('--faint');
      pen.fillText(plot.words(mark).join(' ').trim(), 2, at + 11);
    }
    for (let part = 0; part <= 2; ++part) {
      const text = part === 2 ? 'now' : `−${minutes === 1 ? `${60 - 30 * part} s` : `${digits(minutes * (1 - part / 2))} min`}`;
      pen.textAlign = ['left', 'center', 'right'][part];
      pen.fillStyle = color('--faint');
      pen.fillText(text, part * width / 2, height - 4);
    }
    pen.textAlign = 'left';

    lines.forEach(([, name, of], index) => {
      pen.strokeStyle = pen.fillStyle = color(name);
      pen.lineWidth = 1.6;
      pen.lineJoin = 'round';
      for (const run of runs(seen, of, now)) {
        pen.beginPath();
        run.forEach(([time, value], at) => at === 0 ? pen.moveTo(x(time), y(value)) : pen.lineTo(x(time), y(value)));
        pen.stroke();
        if (!plot.fill || index > 0) continue;
        pen.lineTo(x(run[run.length - 1][0]), bottom);
        pen.lineTo(x(run[0][0]), bottom);
        pen.globalAlpha = .13;
        pen.fill();
        pen.globalAlpha = 1;
      }
    });

    // what the pointer is at, or else what is now
    let shown = seen[seen.length - 1];
    if (plot.at !== null && plot.at !== undefined && seen.length > 0) {
      const time = now - (width - plot.at) / width * span;
      shown = seen.reduce((best, point) => Math.abs(point.t - time) < Math.abs(best.t - time) ? point : best);
      pen.strokeStyle = color('--faint');
      pen.lineWidth = 1;
      pen.beginPath();
      pen.moveTo(Math.round(x(shown.t)) + .5, top);
      pen.lineTo(Math.round(x(shown.t)) + .5, bottom);
      pen.stroke();
    }
    const [, , leading] = lines[plot.lead || 0] || [null, null, () => null];
    const worst = plot.title === 'Lag' && shown ? Math.max(...lines.map(([, , of]) => of(shown) ?? -1)) : null;
    const lead = shown ? worst === null ? leading(shown) : worst < 0 ? null : worst : null;
    const [value, unit] = plot.words(lead);
    setText(plot.now.firstChild, value);
    setText(plot.now.lastChild, value === '–' ? '' : `${unit}${plot.unit || ''}`);
    const more = shown && plot.more ? plot.more(shown) : '';
    keep(plot.legend, [...lines, ...(more ? [[more, null, null]] : [])].map((line, index) => [String(index), ...line]), item => item[0],
         () => make('span', {}, make('i', {'aria-hidden': 'true'}), make('em'), make('b')), (child, [, name, hue, of]) => {
      const [mark, label, reading] = child.children;
      mark.hidden = hue === null;
      if (hue !== null) mark.style.color = `var(${hue})`;
      label.style.fontStyle = 'normal';
      setText(label, name);
      setText(reading, of && shown ? plot.words(of(shown)).join(' ').trim() : '');
    });
  }
  /** Pieces without gaps. A number holds until the next one: no event says that nothing is different. */
  function runs(points, of, now) {
    const found = [];
    let run = null;
    for (const point of points) {
      const value = of(point);
      if (value === null || value === undefined) {
        run = null;
        continue;
      }
      if (!run) found.push(run = []);
      run.push([point.t, value]);
    }
    if (run && live) run.push([now, run[run.length - 1][1]]);
    return found;
  }

  // Nothing new comes while nothing changes, and the plots move on all the same.
  setInterval(() => {
    if (!live) return;
    const now = Date.now();
    for (const name of volumes.keys()) {
      const points = series.get(name);
      if (points && now - lastTime(points) > 900) sample(name);
    }
    draw();
  }, 1000);
  setInterval(() => { if (live) drawPlots(); }, 250);
  addEventListener('resize', drawPlots);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawPlots);

  listenForEver();
})();
