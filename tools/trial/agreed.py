"""agreed -- what all workers know together of records that one of them writes and all read.

Of each record: what it must be at least (the greatest version that was acknowledged to its writer, or
that somebody has read), and what it can be at most (the greatest that its writer has tried).  Who reads looks
at the first before and at the second after: a version outside is one of a history that no single
order explains.  A write in doubt may be done at any later time, so its writer never uses that record
again: it goes on with a new one, of the next generation.

Memory     shared by processes that were forked; one lock for all of it."""
import multiprocessing

class Agreed:
    def __init__(self, slots):
        self.slots = slots
        self.lock = multiprocessing.Lock()
        self.generation, self.least, self.most = (multiprocessing.Array("q", slots, lock=False) for _ in range(3))

    def before(self, slot):
        """(generation, least)"""
        with self.lock:
            return self.generation[slot], self.least[slot]

    def trying(self, slot):
        """The version to write, as its writer."""
        with self.lock:
            self.most[slot] += 1
            return self.generation[slot], self.most[slot]

    def after(self, slot, generation, version):
        """It was acknowledged, or read; at most what it can be is returned, None where nobody can say any more."""
        with self.lock:
            if self.generation[slot] != generation:
                return None
            self.least[slot] = max(self.least[slot], min(version, self.most[slot]))
            return self.most[slot]

    def give_up(self, slot):
        with self.lock:
            self.generation[slot] += 1
            self.least[slot] = self.most[slot] = 0
