"""Which stage of a request's way a sample of perf belongs to.

In the kernel by the first line of KERNEL that names any function of the chain of callers: what is done for a socket is that socket's, whatever
it is. In a program by the first line of PROGRAM that names the innermost function or the library that it is in: ringboltd keeps no frame
pointers, so of its own functions only that one is known.
"""
import collections
import itertools
import re
from typing import NamedTuple

WORKERS = 'io-wq workers'
UNRESOLVED = 'unresolved'

KERNEL = [
    ('scheduler: sleep, wake-up', r'__schedule|schedule|try_to_wake_up'),
    ('device: telling the driver', r'virtqueue_notify|virtqueue_kick|nvme_commit_rqs|nvme_write_sq_db'),
    ('interrupts', r'asm_sysvec_\w+|asm_common_interrupt|el1_interrupt|run_ksoftirqd'),
    ('loopback: delivery', r'do_softirq|process_backlog'),
    ('device: queueing', r'__blk_flush_plug|blk_mq_run_hw_queue'),
    ('file: flush', r'io_fsync|vfs_fsync_range|blkdev_issue_flush'),
    ('file: write', r'io_write(_fixed)?|vfs_writev?|vfs_iter_write'),
    ('file: read', r'io_read(_fixed)?|vfs_readv?'),
    ('file: space', r'io_fallocate|vfs_fallocate'),
    ('socket: receive', r'io_recv|io_recvmsg|sock_recvmsg'),
    ('socket: send', r'io_send|io_sendmsg|io_send_zc|io_sendmsg_zc|sock_sendmsg|____sys_sendmsg'),
    ('page faults', r'(asm_)?exc_page_fault|el0_da'),
    ('ring: completions', r'__io_run_local_work|__io_submit_flush_completions|task_work_run'),
    ('ring: enter', r'\w+_sys_io_uring_enter|io_submit_sqes'),
    ('system calls: way in and out, others', r'do_syscall_64|entry_SYSCALL_64\w*|invoke_syscall'),
]
PROGRAM = [
    ('spinning', r'RingIo::(spin|kernel_has_work|work_here)\b'),
    ('loop', r'\bRingIo::|\bTimerHeap::|\bDeferred|\bio::\w*[Tt]ransfer|\bio::skip_sent|liburing|clock_gettime|\[vdso\]'),
    ('checksums', r'crc|libisal|leave_vector_state_clean'),
    ('copying', r'\b_*mem(move|cpy|set|cmp|pcpy)'),
    ('NBD: parse', r'Connection::(on_received|pump|step|parse_|begin_|take_|arm_|compact_|issue_|submit|check_|staging_|piece_bytes|drain_payload|is_mid)|nbd::decode'),
    ('NBD: reply', r'\bnbd::'),
    ('requests, commit', r'repl::(Primary|Volume|RequestMeter|LatencyHistogram|UnstableWindow|ClientLoad)\b|satisfied_prefix'),
    ('WAL: staging', r'\b(Wal|FrameHeader|FramePlaces|Frame|Store)::'),
    ('dirty index', r'\bDirtyIndex\b'),
    ('checkpoint', r'Checkpoint|Superblock|\bReaderGate\b|\bBaseWriter\b'),
    ('reads', r'\bBlockReader\b'),
    ('replication', r'\b(repl|core)::'),
    ('buffers', r'BufferPool|MemoryShare|BufferReserve|libjemalloc'),
]
OTHER = {True: 'other, kernel', False: 'other, program'}
STAGES = [WORKERS, *(name for name, _ in KERNEL), OTHER[True], *(name for name, _ in PROGRAM), OTHER[False], UNRESOLVED]

_KERNEL = [(name, re.compile(pattern)) for name, pattern in KERNEL]
_PROGRAM = [(name, re.compile(pattern)) for name, pattern in PROGRAM]
_HEAD = re.compile(r'(\S.*?)\s+(\d+)\s*')
_FRAME = re.compile(r'\s+([0-9a-f]+) (.*) \((.*)\)')
_UNKNOWN = '[unknown]'
# What the compiler or the kernel's loader appended.
_SUFFIX = re.compile(r'\.(isra|part|constprop|cold|llvm)\b.*')


class Frame(NamedTuple):
    in_kernel: bool
    function: str
    object: str


class Sample(NamedTuple):
    thread: str
    pid: int
    frames: list  # innermost first


def parse(text):
    """Of `perf script -F comm,pid,ip,sym,dso`: a line with thread and process, one for each function, an empty one."""
    for block in re.split(r'\n\s*\n', text):
        lines = block.strip('\n').split('\n')
        head, frames = _HEAD.fullmatch(lines[0]), [_FRAME.fullmatch(line) for line in lines[1:]]
        if head and all(frames):
            yield Sample(head[1], int(head[2]), [Frame(len(at) == 16 and at.startswith('ffff'), _SUFFIX.sub('', function), where)
                                                 for at, function, where in (frame.groups() for frame in frames)])


def stage_of(sample):
    if sample.thread.startswith('iou-wrk'):
        return WORKERS
    if not sample.frames:
        return UNRESOLVED
    # Behind the program's innermost function there is nothing to rely on.
    kernel = [frame.function for frame in itertools.takewhile(lambda frame: frame.in_kernel, sample.frames)]
    if kernel:
        known = next((name for name, pattern in _KERNEL if any(map(pattern.fullmatch, kernel))), OTHER[True])
        return UNRESOLVED if set(kernel) == {_UNKNOWN} else known
    leaf = sample.frames[0]
    words = f'{leaf.function} {leaf.object.rsplit("/", 1)[-1]}'
    known = next((name for name, pattern in _PROGRAM if pattern.search(words)), None)
    return known or (UNRESOLVED if leaf.function == _UNKNOWN else OTHER[False])


def count(samples):
    """{pid: Counter of stages}, and the functions that no line names: {function: samples}."""
    stages, unnamed = {}, collections.Counter()
    for sample in samples:
        stage = stage_of(sample)
        stages.setdefault(sample.pid, collections.Counter())[stage] += 1
        if sample.frames and stage in (*OTHER.values(), UNRESOLVED):
            unnamed[f'{sample.frames[0].function} ({sample.frames[0].object.rsplit("/", 1)[-1]})'] += 1
    return stages, unnamed
