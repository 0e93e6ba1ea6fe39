#!/usr/bin/python3
# run-seconds: 1200
"""A WAL much smaller than what is written: it wraps again and again, checkpoints keep up or writers are
slowed, memory stays bounded, and both copies end up equal."""
from harness import Pair, Script, run

with Script() as script:
    # Little memory, too: clients wait for it all the time, and must always be woken.
    pair = Pair(script, size='128MiB', wal_size='8MiB', options={'node.memory': '32MiB'})
    pair.start()
    with script.test('40 laps of full-speed writing through an 8 MiB WAL', seconds=900):
        rss = max(node.rss_bytes() for node in pair.nodes)
        for bs, size in (('4k', '128M'), ('64k', '128M'), ('1M', '128M')):
            run(['fio', '--name=w', '--ioengine=nbd', f'--uri={pair.uri}', '--rw=randwrite', f'--bs={bs}', f'--size={size}',
                 '--iodepth=32', '--verify=crc32c', '--do_verify=1', '--verify_fatal=1', '--output-format=terse'], seconds=280)
        pair.wait_healthy()
        volume = pair.primary.volume()
        assert volume['wal']['used_bytes'] <= volume['wal']['capacity_bytes'], volume
        for node in pair.nodes:
            assert node.rss_bytes() - rss < 128 << 20, f'{node.name} grew from {rss} to {node.rss_bytes()} bytes'
    with script.test('after a clean stop both images hold what clients read before'):
        content = script.path('content')
        run(['nbdcopy', pair.uri, content])
        pair.stop_and_compare(content)
