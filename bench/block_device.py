"""What the disk below a directory did: everything on it, whoever asked for it."""
import os

SECTOR_BYTES = 512
# Documentation/admin-guide/abi-testing: /sys/block/<disk>/stat, by place.
FIELDS = {'reads': 0, 'read_bytes': 2, 'writes': 4, 'written_bytes': 6, 'flushes': 15}


def device_of(path):
    """Where its counters are; None if what it lies on is none of the machine's block devices."""
    number = os.stat(path).st_dev
    found = os.path.realpath(f'/sys/dev/block/{os.major(number)}:{os.minor(number)}')
    if os.path.exists(os.path.join(found, 'partition')):
        found = os.path.dirname(found)  # flushes are counted of whole disks only
    return found if os.path.exists(os.path.join(found, 'stat')) else None


def counts(device):
    with open(os.path.join(device, 'stat')) as file:
        return parse(file.read())


def parse(text):
    """Older kernels do not count flushes."""
    values = [int(word) for word in text.split()]
    return {name: values[place] * (SECTOR_BYTES if name.endswith('bytes') else 1) for name, place in FIELDS.items() if place < len(values)}
