"""partition -- engram-partition: a cluster of our own, cut by plans while it works, and healed."""
import pathlib
import random
import shutil
import signal
import sys

from . import crew, cuts, namespaces, options, outlet, relay_lines, relays
from .client import Client, Refused
from .cluster import Cluster, NotStarted, directory
from .healing import Round
from .marks import Marks
from .observer import Observer
from .report import Report, simple
from .tables import Tables

PROGRAM = "engram-partition"
NODES_MAX = 50  # of a cluster: replication/node_info.h
START_S = 60
WARM_S = 0.5
EPILOG = "plans:\n" + "\n".join(f"  {name:<12} {plan.text}" for name, plan in cuts.PLANS.items()) + """

Exit code: 0 passed, 1 a violation, 2 usage, 3 the cluster does not start."""


length_ms = options.within(0, options.LONGEST_S * 1000)


def parse(version):
    words = options.parser(PROGRAM, version, "Start a cluster, cut its network by plans while it is written to, heal it, "
                           "and say what was\nacknowledged, lost, recovered and unexpected.", EPILOG)
    words.add_argument("plans", nargs="*", metavar="PLAN", help="in this order; `all` for all of them [halves]")
    words.add_argument("--nodes", type=options.within(2, NODES_MAX, int), default=5, metavar="N", help="[%(default)s]")
    words.add_argument("--seconds", type=options.within(0, options.LONGEST_S), default=8, metavar="S",
                       help="that each cut lasts [%(default)s]")
    words.add_argument("--rounds", type=options.at_least(1), default=1, metavar="N", help="of all plans [%(default)s]")
    words.add_argument("--times", type=options.at_least(1), metavar="N", help="blips [100]")
    words.add_argument("--cut-ms", type=length_ms, metavar="MS", help="of a blip [4], of flapping [50 to 800]")
    words.add_argument("--whole-ms", type=length_ms, metavar="MS", help="between blips [20], of flapping [50 to 800]")
    words.add_argument("--network", choices=("auto", "namespaces", "relays"), default="auto",
                       help="what is cut: a network for each node, or relays on loopback [namespaces where allowed]")
    words.add_argument("--storage", choices=("ram", "disc", "disc_only"), default="ram", help="[%(default)s]")
    words.add_argument("--engramd", metavar="PROGRAM", help="[the one beside this program, else in PATH]")
    words.add_argument("--keep", action="store_true", help="keep logs and data, and say where")
    words.add_argument("--relays", nargs="+", metavar="NAME",
                       help="no cluster: relays for nodes of yours, cut by lines on standard input")
    asked = words.parse_args()
    asked.plans = list(cuts.PLANS) if asked.plans == ["all"] else asked.plans or ["halves"]
    for name in asked.plans:
        if name not in cuts.PLANS:
            words.error(f"no plan is called {name}; there are {' '.join(cuts.PLANS)}")
    asked.plans = [name for name in asked.plans if fits(words, asked, name)]
    asked.seed = random.randrange(1 << 32) if asked.seed is None else asked.seed
    return asked


def fits(words, asked, name):
    least = cuts.PLANS[name].nodes_min
    if asked.nodes < least and len(asked.plans) < len(cuts.PLANS):
        words.error(f"the plan {name} needs {least} nodes")
    return asked.nodes >= least


def main(version):
    asked = parse(version)
    for number in crew.ENDING:
        signal.signal(number, on_signal)
    try:
        return begin(asked, version)
    except KeyboardInterrupt:
        return options.INTERRUPTED


def on_signal(number, frame):
    """Once: what comes after it finds all stopping."""
    deafen()
    raise KeyboardInterrupt


def deafen():
    for number in crew.ENDING:
        signal.signal(number, signal.SIG_IGN)


def begin(asked, version):
    if asked.relays:
        return relay_lines.main(asked.relays)
    engramd = asked.engramd or beside("engramd")
    if engramd is None:
        return options.fail(PROGRAM, options.NO_CLUSTER, "no engramd beside this program nor in PATH: --engramd")
    why = namespaces.enter() if asked.network != "relays" else ""
    if why and asked.network == "namespaces":
        return options.fail(PROGRAM, options.NO_CLUSTER, f"network namespaces are not allowed here: {why}")
    if why:
        print(f"{PROGRAM}: network namespaces are not allowed here ({why}): "
              "relays between nodes on loopback are cut instead", file=sys.stderr)
    return Trial(asked, version, engramd, relays.Network if why is not None else namespaces.Network).run()


def beside(program):
    own = pathlib.Path(sys.argv[0]).resolve().parent / program
    return str(own) if own.exists() else shutil.which(program)


class Trial:
    def __init__(self, asked, version, engramd, network):
        self.asked, self.engramd, self.make_network = asked, engramd, network
        self.report = Report(PROGRAM, version, {name: value for name, value in vars(asked).items()},
                             quiet=asked.output == "json")
        self.names = [f"n{number + 1}" for number in range(asked.nodes)]
        self.workers = asked.workers or asked.nodes
        self.tables = Tables("trial", self.workers, asked.majority)
        self.dir, self.crew, self.cluster, self.network, self.observer = directory(), None, None, None, None

    def run(self):
        try:
            self.start()
            for _ in range(self.asked.rounds):
                for plan in self.asked.plans:
                    self.play(plan)
            return self.finish()
        except (NotStarted, OSError, Refused) as why:
            return options.fail(PROGRAM, options.NO_CLUSTER, why)
        finally:
            self.stop()

    def start(self):
        self.crew = crew.Crew(self.workers, seed=self.asked.seed, keys=self.asked.keys, value_bytes=self.asked.value_bytes,
                              pause_s=self.asked.pause_ms / 1000, user=None)
        self.network = self.make_network(self.asked.nodes, self.names)
        self.report.tell(f"{self.asked.nodes} nodes, {self.network.kind}, seed {self.asked.seed}")
        self.cluster = Cluster(self.network, self.names, self.engramd, self.dir, self.asked.storage)
        self.cluster.start()
        self.observer = Observer(self.cluster.addresses)
        if self.observer.wait_for_one_view(START_S) is None:
            raise NotStarted("the nodes do not find each other")
        self.report.tell("one view")
        client = Client(self.cluster.addresses[self.names[0]], timeout_s=START_S)
        self.tables.create(client, options.table_options(self.asked, self.asked.storage))
        client.close()
        self.marks = Marks(self.cluster.addresses, self.tables)
        self.crew.begin(self.cluster.addresses, self.tables)

    def play(self, plan):
        self.crew.go()
        self.crew.pump(WARM_S)
        one = Round(plan, self.report, self.crew, self.observer, self.marks, self.asked)
        more = cuts.Options(self.asked.times, self.asked.cut_ms, self.asked.whole_ms)
        told, seed = None, f"{self.asked.seed}/{len(self.report.rounds)}"
        for step in cuts.steps_of(plan, self.asked.nodes, self.asked.seconds, more, seed):
            if told is None or plan == "swizzle":
                told = self.words(plan, step)
                one.cut(told)
            self.network.block(step.pairs)
            self.crew.pump(step.seconds)
        one.end(lambda: self.network.block(cuts.WHOLE))
        one.violations += [simple("died", name) for name in self.cluster.died()]

    def words(self, plan, step):
        pieces = cuts.pieces(self.asked.nodes, step.pairs, self.names)
        return f"{plan}: {pieces}" if pieces else f"{plan}: " + ", ".join(
            f"{self.names[one]} is not heard by {self.names[other]}" for one, other in sorted(step.pairs))

    def finish(self):
        return outlet.deliver(self.report, self.report.whole(self.crew, self.observer), self.asked)

    def stop(self):
        deafen()
        if self.crew is not None:
            self.crew.end()
        if self.observer is not None:
            self.observer.end()
        if self.cluster is not None:
            self.cluster.stop()
        if self.network is not None:
            self.network.close()
        if self.asked.keep:
            print(f"logs and data: {self.dir}", file=sys.stderr)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)
