"""schedule -- faults that a user's own commands begin and end, again and again.

A file holds [{"name", "every_s", "for_s", "begin", "end"}, ...]: `begin` is run by the shell every
`every_s` seconds, and `end` `for_s` seconds later.  One lasts at a time; one whose time comes meanwhile
waits.  The first comes after its own `every_s`."""
import json
import subprocess
import time

from .options import LONGEST_S

COMMAND_S = 60


class BadSchedule(Exception):
    """What is wrong with it."""


class Fault:
    def __init__(self, words):
        if not isinstance(words, dict) or set(words) != {"name", "every_s", "for_s", "begin", "end"}:
            raise BadSchedule(f"a fault has name, every_s, for_s, begin and end: {words}")
        self.name, self.begin, self.end = (words[key] for key in ("name", "begin", "end"))
        self.every_s, self.for_s = words["every_s"], words["for_s"]
        for key in ("every_s", "for_s"):
            if isinstance(words[key], bool) or not isinstance(words[key], (int, float)) or \
                    not 0 < words[key] <= LONGEST_S:  # nor is it NaN
                raise BadSchedule(f"{key} is a number of seconds above 0, at most {LONGEST_S}: {json.dumps(words[key])}")
        for key in ("name", "begin", "end"):
            if not isinstance(words[key], str):
                raise BadSchedule(f"{key} is a string: {words[key]}")
        self.due = self.every_s  # from the beginning

    def command(self, which, pump):
        """None, or why it could not be done."""
        process = subprocess.Popen(which, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True,
                                   start_new_session=True)  # a signal that ends the time does not end this
        end = time.monotonic() + COMMAND_S
        while process.poll() is None and time.monotonic() < end:
            pump(0.01)
        if process.poll() is None:
            process.kill()
            process.wait()
            return f"{which}: not done within {COMMAND_S} s"
        said = process.stderr.read().strip()
        process.stderr.close()
        return None if process.returncode == 0 else f"{which}: exit code {process.returncode} {said}"


def read(path):
    try:
        with open(path) as file:
            faults = json.load(file)
    except (OSError, ValueError) as why:
        raise BadSchedule(f"{path}: {why}") from why
    if not isinstance(faults, list):
        raise BadSchedule(f"{path}: not an array of faults")
    return [Fault(words) for words in faults]
