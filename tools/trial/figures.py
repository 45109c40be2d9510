"""figures -- counts and latencies of a stretch of time; they add up over writers and stretches.

Latencies are counted in buckets of which each is a tenth longer than the one before."""
import collections
import math

STEP = math.log(1.1)


class Figures:
    def __init__(self):
        self.outcomes = collections.Counter()   # "acknowledged", "in doubt", "refused: busy", "unreachable"
        self.latencies = collections.Counter()  # bucket -> answers

    def answered(self, seconds):
        self.outcomes["acknowledged"] += 1
        self.latencies[int(math.log(max(seconds * 1e6, 1)) / STEP)] += 1

    def add(self, other):
        self.outcomes += other.outcomes
        self.latencies += other.latencies

    def latency_ms(self, share):
        """What so many of the answers did not take longer than; None where there were none."""
        wanted = share * sum(self.latencies.values())
        for bucket in sorted(self.latencies):
            wanted -= self.latencies[bucket]
            if wanted <= 0:
                return round(math.exp((bucket + 1) * STEP) / 1000, 3)
        return None

    def of(self, beginning):
        return sum(count for outcome, count in self.outcomes.items() if outcome.startswith(beginning))
