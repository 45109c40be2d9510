"""healing -- the end of each fault: how long until nodes, then copies, are one again, and is all right.

    round = healing.Round(report, crew, observer, marks, timeout_s)
    ... the fault ...
    round.end(heal)"""
import time

from .report import sentence, simple

AFTERWARDS_S = 0.5  # of load on the healed cluster before the books are closed


class Round:
    def __init__(self, name, report, crew, observer, marks, asked):
        self.name, self.report, self.crew, self.observer, self.marks = name, report, crew, observer, marks
        self.timeout_s, self.allow_behind = asked.timeout, asked.allow_behind
        self.before = crew.total()
        self.began_s, self.cut_s = report.at_s(), None
        self.violations = []

    def cut(self, what):
        self.cut_s = self.report.at_s()
        self.report.tell(what)

    def end(self, heal=None):
        """heal() ends the fault, if there was one; then wait, look at everything, and book the round."""
        self.marks.write()
        if heal is not None:
            heal()
            self.report.tell("healed")
        self.healed = time.monotonic()
        one_view = self.await_step(self.observer.wait_for_one_view, "one view", "no one view")
        everywhere = self.await_step(self.marks.wait, "what was written meanwhile is everywhere", "not everywhere")
        self.crew.pump(AFTERWARDS_S)
        asked = time.monotonic()
        found, recovered = self.crew.pause_and_settle(self.timeout_s)
        settled_ms = (time.monotonic() - asked) * 1000
        behind = [each for each in found if each["what"] == "stale" and self.observer.changed_near(each["when"])]
        self.behind = len(behind)
        self.violations += [each for each in found if not (self.allow_behind and each in behind)]
        if behind and self.allow_behind:
            self.report.tell(f"{self.behind} reads were behind just after views had changed, the first: {sentence(behind[0])}")
        self.report.tell("all copies are equal and right" if not self.violations
                         else f"{len(self.violations)} violations, the first: {self.violations[0]['what']}")
        self.book(one_view, everywhere, settled_ms, recovered)
        return not self.violations

    def await_step(self, wait, good, bad):
        """Milliseconds from the heal, or None."""
        when = wait(self.timeout_s, self.crew.pump)
        if when is None:
            self.violations.append(simple(bad, "the cluster", f"{self.timeout_s:g} s after the heal"))
            return None
        if self.cut_s is not None:
            self.report.tell(f"{good}, {(when - self.healed) * 1000:.0f} ms after the heal")
        return round((when - self.healed) * 1000, 1)

    def book(self, one_view_ms, everywhere_ms, settled_ms, recovered):
        total = self.crew.total()
        self.report.rounds.append({
            "name": self.name, "began_s": self.began_s, "cut_s": self.cut_s, "healed_s": self.report.at_s(self.healed),
            "one_view_ms": one_view_ms, "everywhere_ms": everywhere_ms, "settled_ms": round(settled_ms, 1),
            "acknowledged": total.of("acknowledged") - self.before.of("acknowledged"),
            "refused": total.of("refused") - self.before.of("refused"),
            "in_doubt": total.of("in doubt") - self.before.of("in doubt"),
            "recovered": recovered, "behind": self.behind, "violations": self.violations})
