"""ledger -- what a writer was told, and so what must be found afterwards.

A call is acknowledged (it happened), refused (it did not) or in doubt (nobody knows, and it may
still show later).  Of each kind of data there is a ledger that takes these three in and judges what
is found:

    Register    one record with one writer: versions 1, 2, 3, ... or removed
    Elements    a set with one writer: what it added and removed
    Total       a counter with many writers: what all of them have added

A verdict is None or one of
    lost            acknowledged, and not there
    resurrected     its removal was acknowledged, and it is there
    unexpected      nobody has tried to write that, or was told that it did not happen
Found although it was in doubt is none of these: it is counted as recovered."""
import time

REMOVED = 0

# A write in doubt may be done after a later one of another connection, when a node that stood still
# reads both; or have been done where the clock is ahead, and win.  It takes this long at most after
# an acknowledgement: a node whose clock is further away than that orders nothing.
LATE_S = 0.5


class Register:
    """Versions are given out here; REMOVED is the one of no record."""

    def __init__(self):
        self.last = 0                  # given out last
        self.acknowledged = REMOVED    # what it was set to last, for certain
        self.removed_after = 0         # versions up to here were removed, for certain
        self.doubted = []              # [version or REMOVED, first acknowledgement after it or None]
        self.refused = set()           # since the last acknowledgement

    def next(self):
        self.last += 1
        return self.last

    def set(self, version):
        now, self.acknowledged = time.monotonic(), version
        if version == REMOVED:
            self.removed_after = self.last
        self.doubted = [[doubted, since or now] for doubted, since in self.doubted
                        if since is None or since > now - LATE_S]
        self.refused.clear()

    def doubt(self, version):
        self.doubted.append([version, None])

    def refuse(self, version):
        if version != REMOVED:
            self.refused.add(version)

    def in_doubt(self, version):
        return version != self.acknowledged and any(version == doubted for doubted, _ in self.doubted)

    def judge(self, version):
        if version == self.acknowledged or self.in_doubt(version):
            return None
        if version > self.last or version in self.refused:
            return "unexpected"
        if version != REMOVED and version <= self.removed_after and self.acknowledged == REMOVED:
            return "resurrected"
        return "lost"


class Elements:
    """Elements are given out here and never used twice."""

    def __init__(self):
        self.last = 0
        self.there = set()
        self.doubted = set()
        self.refused_ones = set()      # that would have been new

    def next(self):
        self.last += 1
        return self.last

    def set(self, elements):
        self.there = set(elements)

    def doubt(self, elements):
        """Whether this became the set is not known: so it is of each element in which they differ."""
        self.doubted |= self.there ^ set(elements)
        self.there &= set(elements)

    def refuse(self, elements):
        self.refused_ones |= set(elements) - self.there

    def in_doubt(self, elements):
        return bool(set(elements) & self.doubted)

    def judge(self, elements):
        found = set(elements)
        if self.there - found:
            return "lost"
        if found & self.refused_ones or any(not 1 <= element <= self.last for element in found):
            return "unexpected"
        return "resurrected" if found - self.there - self.doubted else None


class Total:
    """Only positive numbers are added."""

    def __init__(self, acknowledged=0, doubted=0):
        self.acknowledged, self.doubted = acknowledged, doubted

    def add(self, other):
        self.acknowledged += other.acknowledged
        self.doubted += other.doubted

    def in_doubt(self, value):
        return value > self.acknowledged

    def judge(self, value):
        if value < self.acknowledged:
            return "lost"
        return "unexpected" if value > self.acknowledged + self.doubted else None
