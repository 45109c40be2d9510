"""report -- what a trial saw: told line by line as it goes, then in words, as JSON, as a page.

    {"program", "version", "began", "options", "passed",
     "rounds":     [{"name", "began_s", "cut_s" or null, "healed_s", "one_view_ms", "everywhere_ms", "settled_ms",
                     "acknowledged", "refused", "in_doubt", "recovered", "behind", "violations": [...]}, ...],
     "seconds":    [{"at_s", "acknowledged", "refused", "in_doubt", "p50_ms", "p99_ms", "max_ms"}, ...],
     "views":      [{"at_s", "views": {node: [members] or null}}, ...],
     "outcomes":   {"acknowledged": n, "refused: busy": n, ...}}

A violation is {"what", "table", "key", "node", "found", "wanted", "at", "when" (monotonic)}."""
import json
import re
import sys
import time

from .settle import now

VIOLATIONS_SHOWN = 5    # of each kind
SHOWN_CHARACTERS = 80   # of what was found
KINDS = {
    "lost": "acknowledged, and not there",
    "resurrected": "removed, and there",
    "unexpected": "there, and never written",
    "stale": "read older than what was acknowledged before",
    "backwards": "a counter that became less",
    "two minds": "a read of a majority table that no single order of all calls explains",
    "unequal": "copies that are not equal",
    "unreachable": "a node that does not answer",
    "strange answer": "an error that no fault explains",
    "died": "a node that ended",
    "fault not done": "a command of the schedule that failed",
    "no one view": "nodes that did not come together",
    "not everywhere": "what was written in a cut and did not come to all",
}


class Report:
    def __init__(self, program, version, options, quiet=False):
        self.program, self.version, self.options, self.quiet = program, version, options, quiet
        self.began, self.wall = time.monotonic(), time.time()
        self.rounds = []
        self.violations = []  # of no round

    def at_s(self, when=None):
        return round((time.monotonic() if when is None else when) - self.began, 3)

    def tell(self, text):
        if not self.quiet:
            clear = "\r\x1b[K" if sys.stdout.isatty() else ""
            print(f"{clear}{self.at_s():9.3f} s  {text}", flush=True)

    def all_violations(self):
        return [each for one in self.rounds for each in one["violations"]] + self.violations

    def whole(self, crew, observer):
        return {"program": self.program, "version": self.version,
                "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.wall)), "options": self.options,
                "passed": not self.all_violations(), "rounds": self.rounds, "violations": self.violations,
                "seconds": seconds_of(crew, crew.began - self.began),
                "views": [{"at_s": self.at_s(when), "views": views} for when, views in observer.changes],
                "outcomes": dict(crew.total().outcomes)}


def seconds_of(crew, ahead_s):
    return [{"at_s": round(second + ahead_s, 3), "acknowledged": figures.of("acknowledged"),
             "refused": figures.of("refused"), "in_doubt": figures.of("in doubt"),
             "p50_ms": figures.latency_ms(0.5), "p99_ms": figures.latency_ms(0.99), "max_ms": figures.latency_ms(1)}
            for second, figures in sorted(crew.seconds.items())]


def as_json(whole):
    return json.dumps(whole, indent=1, default=str) + "\n"


# ---- in words

COLUMNS = (("round", 14), ("view ms", 8), ("all ms", 8), ("acked", 9), ("refused", 8), ("doubt", 6),
           ("lost", 5), ("back", 5), ("unexp", 6), ("other", 6), ("recovered", 10))
OWN_COLUMN = ("lost", "resurrected", "unexpected")


def row(one):
    counts = {kind: sum(each["what"] == kind for each in one["violations"]) for kind in OWN_COLUMN}
    other = len(one["violations"]) - sum(counts.values())
    return (one["name"], number(one["one_view_ms"]), number(one["everywhere_ms"]), one["acknowledged"], one["refused"],
            one["in_doubt"], *(counts[kind] for kind in OWN_COLUMN), other, one["recovered"])


def number(value):
    return "-" if value is None else round(value)


def print_words(report):
    print("  ".join(f"{name:<{width}}" if at == 0 else f"{name:>{width}}" for at, (name, width) in enumerate(COLUMNS)))
    for one in report.rounds:
        print("  ".join(f"{cell:<{width}}" if at == 0 else f"{cell:>{width}}"
                        for at, (cell, (_, width)) in enumerate(zip(row(one), COLUMNS))))
    violations = report.all_violations()
    for kind in dict.fromkeys(each["what"] for each in violations):
        alike = [each for each in violations if each["what"] == kind]
        for each in alike[:VIOLATIONS_SHOWN]:
            print(f"violation: {sentence(each)}")
        if len(alike) > VIOLATIONS_SHOWN:
            print(f"violation: {kind}: {len(alike) - VIOLATIONS_SHOWN} more")
    print("passed" if not violations else f"failed: {len(violations)} violation{'s' * (len(violations) != 1)}")


def sentence(each):
    what = f"{each['what']} ({KINDS.get(each['what'], '')})"
    where = " ".join(short(each[part]) for part in ("table", "key") if each.get(part) is not None)
    text = f"{what}: {where} at {each['node']}, {each['at']}" if where else f"{what}: {each['node']}, {each['at']}"
    if each.get("found") is not None:
        text += f": found {short(each['found'])}"
    return text if each.get("wanted") is None else f"{text}, wanted {short(each['wanted'])}"


def short(value):
    text = re.sub(r"(x{8})x+", r"\1..", str(value))  # padding
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "..."


def simple(what, node, found=None):
    """A violation that is not of a record."""
    return {"what": what, "table": None, "key": None, "node": node, "found": found, "wanted": None, "at": now(),
            "when": time.monotonic()}
