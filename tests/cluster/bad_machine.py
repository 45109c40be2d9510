"""bad_machine -- a disc that fails or is slow, and a clock that is wrong, for one node (bad_machine.c).

    machine = BadMachine(directory)
    node = Node(..., env=machine.env)
    machine.set(sync_fails=1)            from now on"""
import mmap
import os
import pathlib
import struct
import subprocess

from harness import shadow

FIELDS = ("sync_fails", "sync_delay_ms", "clock_ahead_s", "syncs")
SOURCE = pathlib.Path(__file__).with_name("bad_machine.c")


def why_not():
    """Why there can be none here, or None."""
    return "a sanitizer is loaded before everything else" if shadow() != 1 else None


class BadMachine:
    def __init__(self, directory, name="machine"):
        library, file = pathlib.Path(directory) / "bad_machine.so", pathlib.Path(directory) / name
        if not library.exists():
            subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", SOURCE, "-o", library, "-ldl"],
                           check=True, timeout=120)
        file.write_bytes(bytes(4 * len(FIELDS)))
        with open(file, "r+b") as opened:
            self.memory = mmap.mmap(opened.fileno(), 0)
        self.env = {"LD_PRELOAD": str(library), "BAD_MACHINE": str(file)}

    def set(self, **changes):
        for name, value in changes.items():
            struct.pack_into("i", self.memory, 4 * FIELDS.index(name), value)

    def get(self, name):
        return struct.unpack_from("i", self.memory, 4 * FIELDS.index(name))[0]
