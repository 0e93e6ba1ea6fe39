"""What a debugger can do to a daemon under test."""
import contextlib
import ctypes
import os

PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WALL = 0x40000000


def thread_of(pid, name):
    """The id of a process's thread of that name."""
    for task in os.listdir(f'/proc/{pid}/task'):
        with open(f'/proc/{pid}/task/{task}/comm') as file:
            if file.read().strip() == name:
                return int(task)
    raise AssertionError(f'process {pid} has no thread {name}')


@contextlib.contextmanager
def thread_held(pid, name=None):
    """One thread of a process stands still (the first one, or that of a name), the others go on."""
    tid = pid if name is None else thread_of(pid, name)
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
        if ptrace(request, tid, None, None) != 0:
            raise OSError(ctypes.get_errno(), f'ptrace {request:#x} of {tid}')
    os.waitpid(tid, WALL)
    try:
        yield
    finally:
        if ptrace(PTRACE_DETACH, tid, None, None) != 0:
            os.waitpid(tid, WALL)  # the process was killed meanwhile, and its parent hears of that only after us
