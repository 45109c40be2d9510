"""worker -- a process that reads and writes through one node, its home, and remembers what it was told.

It stays with its home whatever happens there: so of what it writes alone the last is the last on all
clocks.  Commands come through a pipe; each but `go` is answered with (its name, ...):

    ("begin", addresses, tables)     who the nodes are (the home first), and what to write to
    ("go",)                          work until the next command; figures are sent now and then
    ("pause",)                       finish the call under way; answers with what it adds to shared ledgers
    ("settle", seconds)              look after its own records at all nodes; answers with violations, recovered
    ("end",)"""
import collections
import itertools
import random
import time

from .client import HAPPENED_NOT, Client, Refused
from .figures import Figures
from .ledger import REMOVED, Elements, Register, Total
from .settle import Item, Settler, violation
from .tables import AGREED_KEYS

FIGURES_EVERY_S = 0.25
REDIAL_S = 0.05
ELEMENTS = 24      # of a set before one is removed for each that comes
VIOLATIONS = 100   # of which one tells as much as a thousand


class Worker:
    def __init__(self, number, pipe, agreed, seed, keys, value_bytes, pause_s, user):
        self.number, self.pipe, self.keys, self.pause_s, self.user = number, pipe, keys, pause_s, user
        self.random = random.Random(f"{seed}/{number}")
        self.padding = "x" * value_bytes
        self.client, self.figures, self.told_at = None, Figures(), 0.0
        self.kept = collections.defaultdict(Register)
        self.sets = collections.defaultdict(Elements)
        self.sums = collections.defaultdict(Total)
        self.shared = collections.defaultdict(Register)
        self.agreed_by_all, self.agreed = agreed, collections.defaultdict(Register)
        self.highest = {}           # of this connection: counter -> the greatest value seen
        self.violations, self.violated = [], set()

    def run(self):
        going = False
        try:
            while True:
                if going and not self.pipe.poll():
                    self.work()
                    continue
                command, *arguments = self.pipe.recv()
                if command == "end":
                    break
                going = command == "go"
                if not going:
                    self.tell()
                    self.pipe.send((command, *(getattr(self, command)(*arguments))))
        except (EOFError, BrokenPipeError):
            pass  # whoever asked is gone

    # ---- commands

    def begin(self, addresses, tables):
        self.addresses, self.tables = addresses, tables
        self.home = next(iter(addresses))
        calls = {self.read_kept: 35, self.write_kept: 30, self.delete_kept: 5, self.write_shared: 10, self.add_to_sum: 10,
                 self.change_set: 10}
        if tables.majority:
            calls |= {self.write_agreed: 5, self.read_agreed: 10}
        self.calls, self.weights = list(calls), list(itertools.accumulate(calls.values()))
        return ()

    def pause(self):
        return dict(self.sums), dict(self.shared)

    def settle(self, timeout_s):
        """Every record that is its own, at all nodes."""
        self.recovered = set()
        items = [Item(self.tables.kept, key, self.judge_of(self.version_of, key, ledger))
                 for key, ledger in self.kept.items()]
        items += [Item(self.tables.sets, key, self.judge_of(self.elements_of, key, ledger))
                  for key, ledger in self.sets.items()]
        items += [Item(self.tables.agreed, key, self.judge_of(self.version_of, key, ledger))
                  for key, ledger in self.agreed.items()]
        found = Settler(self.addresses, timeout_s, self.user).settle(items)
        violations, self.violations = self.violations + found[:VIOLATIONS], []
        return violations, len(self.recovered)

    def judge_of(self, content, key, ledger):
        def judge(records):
            found = content(records)
            if ledger.in_doubt(found):
                self.recovered.add(key)
            return ledger.judge(found), self.wanted(ledger)
        return judge

    @staticmethod
    def wanted(ledger):
        if isinstance(ledger, Elements):
            return sorted(ledger.there)
        return "removed" if ledger.acknowledged == REMOVED else ledger.acknowledged

    @staticmethod
    def version_of(records):
        return records[0][1] if records else REMOVED

    def elements_of(self, records):
        return records[0][1 + self.number] if records else []

    # ---- work

    def work(self):
        if self.client is None and not self.dial():
            return
        began, (call,) = time.monotonic(), self.random.choices(self.calls, cum_weights=self.weights)
        outcome = call()
        if outcome == "acknowledged":
            self.figures.answered(time.monotonic() - began)
        else:
            self.figures.outcomes[outcome] += 1
        self.tell_now_and_then()
        if self.pause_s:
            time.sleep(self.pause_s)

    def read_kept(self):
        key = self.kept_key()
        outcome, records = self.ask("read", self.tables.kept, key)
        if outcome == "acknowledged" and key in self.kept:
            self.look_at(key, records)
        return outcome

    def look_at(self, key, records):
        ledger = self.kept[key]
        verdict = ledger.judge(self.version_of(records))
        if verdict is not None:
            self.violate("stale" if verdict == "lost" else verdict, self.tables.kept, key, records, self.wanted(ledger))

    def write_kept(self):
        key = self.kept_key()
        version = self.kept[key].next()
        return self.change(self.kept[key], version, "write", self.tables.kept, [key, version, self.padding])

    def delete_kept(self):
        key = self.kept_key()
        return self.change(self.kept[key], REMOVED, "delete", self.tables.kept, key)

    def write_shared(self):
        key = self.random.choice(self.tables.shared_keys())
        version = self.shared[key].next()
        return self.change(self.shared[key], version, "write", self.tables.shared, [key, self.number, version])

    def add_to_sum(self):
        key, more = self.random.choice(self.tables.sum_keys()), self.random.randint(1, 3)
        outcome, value = self.ask("update_counter", self.tables.sums, key, "sum", more)
        if outcome == "acknowledged":
            self.sums[key].acknowledged += more
            if value <= self.highest.get(key, 0):
                self.violate("backwards", self.tables.sums, key, value, f"more than {self.highest[key]}")
            self.highest[key] = value
        elif not outcome.startswith("refused"):
            self.sums[key].doubted += more
        return outcome

    def change_set(self):
        key = self.random.choice(self.tables.set_keys())
        ledger = self.sets[key]
        elements = sorted(ledger.there)
        if len(elements) >= ELEMENTS or (elements and self.random.random() < 0.3):
            elements.remove(self.random.choice(elements))
        if len(elements) < ELEMENTS:
            elements.append(ledger.next())
        return self.change(ledger, elements, "update", self.tables.sets, key,
                           {self.tables.field(self.number): elements})

    def write_agreed(self):
        slot = self.number * AGREED_KEYS + self.random.randrange(AGREED_KEYS)
        generation, version = self.agreed_by_all.trying(slot)
        key = self.tables.agreed_key(slot, generation)
        ledger = self.agreed[key]
        ledger.last = version
        outcome = self.change(ledger, version, "write", self.tables.agreed, [key, version])
        if outcome == "acknowledged":
            self.agreed_by_all.after(slot, generation, version)
        elif outcome == "in doubt":
            self.agreed_by_all.give_up(slot)
        return outcome

    def read_agreed(self):
        slot = self.random.randrange(self.agreed_by_all.slots)
        generation, least = self.agreed_by_all.before(slot)
        key = self.tables.agreed_key(slot, generation)
        outcome, records = self.ask("read", self.tables.agreed, key)
        if outcome == "acknowledged":
            version = self.version_of(records)
            most = self.agreed_by_all.after(slot, generation, version)
            if most is not None and not least <= version <= most:
                self.violate("two minds", self.tables.agreed, key, version, f"{least} to {most}")
        return outcome

    def kept_key(self):
        return self.tables.kept_key(self.number, self.random.randrange(self.keys))

    # ---- one call

    def change(self, ledger, content, *call):
        outcome, _ = self.ask(*call)
        if outcome == "acknowledged":
            ledger.set(content)
        elif outcome.startswith("refused"):
            ledger.refuse(content)
        else:
            ledger.doubt(content)
        return outcome

    def ask(self, *call):
        """("acknowledged", answer), ("refused: CODE", None) or ("in doubt", None)."""
        try:
            return "acknowledged", self.client.call(*call)
        except Refused as refused:
            if refused.code in HAPPENED_NOT:
                return f"refused: {refused.code}", None
            if refused.strange:
                key = call[2][0] if call[0] == "write" else call[2]
                self.violate("strange answer", call[1], key, str(refused), "a code that a fault explains")
            return "in doubt", None
        except OSError:
            self.hang_up()
            return "in doubt", None

    def dial(self):
        try:
            self.client = Client(self.addresses[self.home], user=self.user)
            return True
        except (OSError, Refused):
            self.figures.outcomes["unreachable"] += 1
            self.tell_now_and_then()
            time.sleep(REDIAL_S)
            return False

    def hang_up(self):
        self.client.close()
        self.client = None
        self.highest.clear()

    def violate(self, what, table, key, found, wanted):
        """Once of each record."""
        if len(self.violations) < VIOLATIONS and (what, table, str(key)) not in self.violated:
            self.violated.add((what, table, str(key)))
            self.violations.append(violation(what, Item(table, key, None), self.home, found, wanted))

    def tell_now_and_then(self):
        if time.monotonic() > self.told_at + FIGURES_EVERY_S:
            self.tell()

    def tell(self):
        self.told_at = time.monotonic()
        self.pipe.send(("figures", self.figures))
        self.figures = Figures()
