"""soak -- engram-soak: a load with checking against a cluster that there is, while faults befall it."""
import math
import os
import random
import re
import signal
import sys
import time

from . import options, outlet, schedule
from .client import Client, Refused
from .crew import Crew
from .healing import Round
from .marks import Marks
from .observer import Observer
from .report import Report, simple
from .tables import Tables

PROGRAM = "engram-soak"
ADMIN_S = 60
START_S = 60  # for nodes that have just been started to be in one view
PROGRESS_S = 10  # between lines, where there is no terminal
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
EPILOG = """The password of --user stands in ENGRAM_PASSWORD.

Exit code: 0 passed, 1 a violation, 2 usage, 3 a node cannot be reached, or the nodes are not in one view."""


def parse(version):
    words = options.parser(PROGRAM, version, "Read and write in a cluster for a time, with faults on a schedule, and check "
                           "all that was\nacknowledged after each.", EPILOG)
    words.add_argument("--connect", action="append", type=address, metavar="HOST:PORT",
                       help="a node, its clients' port; once for every node of the cluster [ENGRAM_CONNECT]")
    words.add_argument("--time", type=duration, default=60, metavar="T", help="30s, 10m, 2h, 1d [60s]")
    words.add_argument("--faults", metavar="FILE", help="what befalls it, and when: JSON, see engram-soak(1)")
    words.add_argument("--check-every", type=duration, default=60, metavar="T",
                       help="look at all records even where no fault ends [60s]")
    words.add_argument("--storage", choices=("ram", "disc", "disc_only"), default="ram",
                       help="of the trial's tables [%(default)s]")
    words.add_argument("--user", metavar="NAME", help="who asks")
    asked = words.parse_args()
    asked.seed = random.randrange(1 << 32) if asked.seed is None else asked.seed
    try:
        asked.connect = asked.connect or [address(os.environ.get("ENGRAM_CONNECT", "127.0.0.1:7340"))]
        asked.schedule = schedule.read(asked.faults) if asked.faults else []
    except (options.Bad, schedule.BadSchedule) as why:
        words.error(str(why))
    return asked


def duration(text):
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if match is None or not 0 < float(match[1]) * UNITS[match[2]] < math.inf:
        raise options.Bad(f"30s, 10m, 2h, 1d or the like, not {text}")
    return float(match[1]) * UNITS[match[2]]


def address(text):
    match = re.fullmatch(r"unix:.+|.+:(\d{1,5})", text)
    if match is None or (match[1] is not None and not 0 < int(match[1]) < 1 << 16):
        raise options.Bad(f"HOST:PORT or unix:PATH, not {text}")
    return text


def main(version):
    return Soak(parse(version), version).run()


class Soak:
    def __init__(self, asked, version):
        self.asked = asked
        shown = {name: value for name, value in vars(asked).items() if name != "schedule"}
        self.report = Report(PROGRAM, version, shown, quiet=asked.output == "json")
        self.workers = asked.workers or len(asked.connect)
        self.tables = Tables(f"soak_{asked.seed:x}", self.workers, asked.majority)
        self.observer, self.stopping, self.told_at = None, False, 0.0

    def run(self):
        signal.signal(signal.SIGINT, self.on_signal)
        signal.signal(signal.SIGTERM, self.on_signal)
        self.crew = Crew(self.workers, seed=self.asked.seed, keys=self.asked.keys, value_bytes=self.asked.value_bytes,
                         pause_s=self.asked.pause_ms / 1000, user=self.asked.user)
        try:
            return self.run_with_crew()
        finally:
            self.crew.end()

    def run_with_crew(self):
        try:
            self.start()
        except (OSError, Refused, ValueError) as why:
            return options.fail(PROGRAM, options.NO_CLUSTER, why)
        while not self.stopping and self.report.at_s() < self.end_s:
            self.play()
        return self.finish()

    def on_signal(self, number, frame):
        """The first ends the time, in order; a second one ends the program."""
        self.stopping = True
        signal.signal(number, signal.SIG_DFL)

    def start(self):
        self.addresses = {}
        for address in self.asked.connect:
            client = Client(address, timeout_s=ADMIN_S, user=self.asked.user)
            self.addresses[client.call("cluster_status")["node"]] = address
            client.close()
        if len(self.addresses) < len(self.asked.connect):
            raise ValueError("--connect names a node twice")
        self.report.tell(f"nodes {' '.join(self.addresses)}, {self.workers} workers, seed {self.asked.seed}")
        self.observer = Observer(self.addresses, self.asked.user)
        if self.observer.wait_for_one_view(START_S) is None:
            raise ValueError(f"the nodes are not in one view within {START_S} s")
        if others := self.observer.others():
            self.report.tell(f"not looked at: {' '.join(others)}; name all nodes with --connect")
        client = Client(self.asked.connect[0], timeout_s=ADMIN_S, user=self.asked.user)
        self.tables.create(client, options.table_options(self.asked, self.asked.storage))
        client.close()
        self.marks = Marks(self.addresses, self.tables, self.asked.user)
        self.crew.begin(self.addresses, self.tables)
        self.end_s = self.report.at_s() + self.asked.time
        for fault in self.asked.schedule:
            fault.due += self.report.at_s()

    # ---- a fault, or a stretch without one, and the look afterwards

    def play(self):
        fault = min(self.asked.schedule, key=lambda each: each.due, default=None)
        check_s = min(self.report.at_s() + self.asked.check_every, self.end_s)
        self.crew.go()
        one = Round("check", self.report, self.crew, self.observer, self.marks, self.asked)
        if fault is None or fault.due > check_s:
            self.until(check_s)
            one.end()
            return
        one.name = fault.name
        self.until(fault.due)
        if not self.stopping:
            self.befall(fault, one)
        one.end(lambda: self.do(fault, fault.end, one))
        fault.due = max(fault.due + fault.every_s, self.report.at_s())

    def befall(self, fault, one):
        one.cut(fault.name)
        self.do(fault, fault.begin, one)
        self.until(min(self.report.at_s() + fault.for_s, max(self.end_s, self.report.at_s())))

    def do(self, fault, command, one):
        why = fault.command(command, self.crew.pump)
        if why is not None:
            one.violations.append(simple("fault not done", fault.name, why))

    def until(self, at_s):
        while not self.stopping and (left := at_s - self.report.at_s()) > 0:
            self.crew.pump(min(left, 0.5))
            self.progress()

    def progress(self):
        now = time.monotonic()
        terminal = sys.stdout.isatty()
        if self.report.quiet or now < self.told_at + (0.5 if terminal else PROGRESS_S):
            return
        self.told_at = now
        last = self.crew.seconds.get(max(self.crew.seconds, default=0) - 1)
        if last is None:
            return
        views = {ident for ident, _ in self.observer.views.values() if ident}
        line = (f"{last.of('acknowledged')} calls/s, p99 {last.latency_ms(0.99) or 0:.1f} ms, refused {last.of('refused')}, "
                f"in doubt {last.of('in doubt')}, {len(views)} view{'s' * (len(views) != 1)}, "
                f"{len(self.report.all_violations())} violations, {max(0, self.end_s - self.report.at_s()):.0f} s left")
        if terminal:
            print(f"\r\x1b[K{self.report.at_s():9.3f} s  {line}", end="", flush=True)
        else:
            self.report.tell(line)

    def finish(self):
        whole = self.report.whole(self.crew, self.observer)
        self.crew.end()
        self.observer.end()
        if whole["passed"]:
            self.clean_up()
        else:
            self.report.tell(f"the tables {self.tables.prefix}_* are left")
        return outlet.deliver(self.report, whole, self.asked)

    def clean_up(self):
        try:
            client = Client(self.asked.connect[0], timeout_s=ADMIN_S, user=self.asked.user)
            self.tables.drop(client)
            client.close()
        except (OSError, Refused) as why:
            print(f"{PROGRAM}: the tables {self.tables.prefix}_* are left: {why}", file=sys.stderr)
