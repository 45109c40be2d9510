"""Text queries against SQLite: thousands of generated queries over the same records give
the same rows.

    EG_SEED=7 EG_QUERIES=20000 tests/cluster/test_query_oracle.py

What the two mean differently, and documentation says so, is not generated: comparisons
of text with like in another case, arithmetic and sums of strings, and whether 1 or 1.0 stands
for a group that has both."""
import collections
import math
import os
import random
import re
import sqlite3

from harness import ClusterTest, Refused, main

SEED = int(os.environ.get("EG_SEED", random.randrange(1 << 32)))
QUERIES = int(os.environ.get("EG_QUERIES", 600 if "EG_QUICK" in os.environ else 40000))
WORDS = ["", "a", "A", "ab", "abc", "b%", "it's", "grün", "_x", "zz", "10"]
PATTERNS = ["%", "_", "a%", "%b%", "__", "%''%", "gr_n", "%%", "A%", "_b_", "", "z%z", "10", "ab%", "gr%n", "zz",
            "it_s"]
# What a table may be indexed by: nested paths and several attributes at once too.
INDEXES = ["a", "b", "s", "m", "j.p", "j.q.r", {"on": ["a", "s"]}, {"on": ["s", "b", "a"]}, {"on": ["j.p", "a"]},
           {"on": "k2", "unique": True}]


def literal(v):
    if v is None:
        return "null"
    if isinstance(v, str):
        return "'" + v.replace("'", "''") + "'"
    return repr(v)


class Columns:
    """What can be said of a table's columns: ints, numbers, strings, and any kind at all."""

    def __init__(self, prefix, key, ints, numbers, strings, mixed):
        dot = prefix + "." if prefix else ""
        self.key = dot + key
        self.ints = [dot + name for name in [key] + ints]
        self.numbers = self.ints + [dot + name for name in numbers]
        self.strings = [dot + name for name in strings]
        self.all = self.numbers + self.strings + [dot + name for name in mixed]

    def __add__(self, other):
        both = Columns("", "", [], [], [], [])
        both.key = self.key
        both.ints = self.ints + other.ints
        both.numbers = self.numbers + other.numbers
        both.strings = self.strings + other.strings
        both.all = self.all + other.all
        return both


class Generator:
    def __init__(self, rng):
        self.rng = rng
        self.arguments = []

    # ---- values ----------------------------------------------------------------------

    def number(self):
        return self.rng.choice([self.rng.randrange(-5, 25), self.rng.randrange(-20, 80) / 4])

    def word(self):
        return self.rng.choice(WORDS)

    def any(self):
        return self.rng.choice([None, self.number(), self.number(), self.word()])

    def say(self, v):
        """A literal, or an argument."""
        if self.rng.random() < 0.2:
            self.arguments.append(v)
            return "?"
        return literal(v)

    # ---- expressions -----------------------------------------------------------------

    def arithmetic(self, columns, depth=2, divide=True):
        kind = self.rng.random()
        if depth == 0 or kind < 0.5:
            return self.rng.choice(columns)
        if kind < 0.6:
            return literal(self.number())
        if kind < 0.7:
            return f"-({self.arithmetic(columns, depth - 1, divide)})"
        op = self.rng.choice(["+", "-", "*"] + (["/", "%"] if divide else []))
        return (f"({self.arithmetic(columns, depth - 1, divide)} {op} "
                f"{self.arithmetic(columns, depth - 1, divide)})")

    def comparison(self, c):
        op = self.rng.choice(["=", "!=", "<>", "<", "<=", ">", ">="])
        kind = self.rng.random()
        if kind < 0.25:
            return f"{self.arithmetic(c.numbers)} {op} {self.arithmetic(c.numbers)}"
        if kind < 0.5:
            return f"{self.rng.choice(c.numbers)} {op} {self.say(self.number())}"
        if kind < 0.6:
            return f"{self.say(self.any())} {op} {self.rng.choice(c.all)}"
        if kind < 0.8:
            return f"{self.rng.choice(c.all)} {op} {self.rng.choice(c.all)}"
        return f"{self.rng.choice(c.strings)} {op} {self.say(self.word())}"

    def test(self, c):
        no = self.rng.choice(["", "not "])
        kind = self.rng.randrange(6)
        if kind == 0:
            column = self.rng.choice(c.all + [c.key] * 3)
            if self.rng.random() < 0.3:  # the same with or
                return " or ".join(f"{column} = {self.say(self.any())}" for _ in range(self.rng.randrange(2, 5)))
            values = ", ".join(self.say(self.any()) for _ in range(self.rng.choice([1, 2, 3, 4, 12])))
            return f"{column} {no}in ({values})"
        if kind == 1:
            return f"{self.rng.choice(c.strings)} {no}like {literal(self.rng.choice(PATTERNS))}"
        if kind == 2:
            return f"{self.rng.choice(c.all)} {no}between {self.say(self.any())} and {self.say(self.any())}"
        if kind == 3:
            return f"{self.rng.choice(c.all)} is {no}null"
        if kind == 4:
            return f"{c.key} {self.rng.choice(['=', '<', '>='])} {self.say(self.rng.randrange(-2, 65))}"
        return self.comparison(c)

    def several(self, c):
        """What an index on several attributes can be asked: some equal, then a few or a range."""
        def last():
            column, kind = self.rng.choice(c.all), self.rng.randrange(3)
            if kind == 0:
                return f"{column} > {self.number()}"
            if kind == 1:
                return f"{column} in (1, 2, {self.say(self.any())})"
            return f"{self.rng.choice(c.strings)} like {literal(self.rng.choice(PATTERNS))}"

        parts = [lambda: f"{self.rng.choice(c.ints)} = {self.rng.randrange(10)}",
                 lambda: f"{self.rng.choice(c.strings)} = {self.say(self.word())}", last]
        return " and ".join(part() for part in self.rng.sample(parts, self.rng.randrange(2, 4)))

    def condition(self, c, depth=3):
        kind = self.rng.random()
        if kind < 0.08:
            return self.several(c)
        if depth == 0 or kind < 0.35:
            return self.test(c)
        if kind < 0.5:
            return f"not ({self.condition(c, depth - 1)})"
        op = self.rng.choice(["and", "and", "or", "AND", "Or"])
        return f"({self.condition(c, depth - 1)}) {op} ({self.condition(c, depth - 1)})"

    def where(self, c):
        return f" where {self.condition(c)}" if self.rng.random() < 0.8 else ""

    # ---- statements ------------------------------------------------------------------

    def t(self, prefix):
        """j is a map in Engram, and SQLite has a column for each place in it."""
        return Columns(prefix, "k", ["a", "k2"], ["b"], ["s"], ["m", "j.p", "j.q.r"])

    def source(self):
        kind = self.rng.random()
        t = self.t("t")
        u = Columns("u", "k", ["x"], [], ["w"], ["y"])
        if kind < 0.7:
            return "t", self.t(""), ["k"]
        if kind < 0.75:
            return "u as z", Columns("z", "k", ["x"], [], ["w"], ["y"]), ["z.k"]
        left, right = self.rng.choice([("t.k", "u.k"), ("t.a", "u.k"), ("u.x", "t.k"), ("t.m", "u.y"),
                                       ("t.s", "u.w"), ("u.x", "t.a"), ("t.b", "u.x")])
        first, second = self.rng.choice([("t", "u"), ("u", "t")])
        return f"{first} join {second} on {left} = {right}", t + u, ["t.k", "u.k"]

    def limit(self):
        if self.rng.random() < 0.5:
            return ""
        text = f" limit {self.say(self.rng.randrange(0, 30))}"
        return text + (f" offset {self.say(self.rng.randrange(0, 12))}" if self.rng.random() < 0.5 else "")

    def orders(self, names):
        return ", ".join(name + self.rng.choice(["", " desc", " asc"]) for name in names)

    def rows(self):
        """A select without aggregates; ordered wholly where it is ordered at all."""
        source, c, keys = self.source()
        items = ["*"] if source.startswith("u as") else [  # of t SQLite has more columns
            self.rng.choice([self.rng.choice(c.all), self.arithmetic(c.numbers)])
            for _ in range(self.rng.randrange(1, 5))]
        if items != ["*"] and self.rng.random() < 0.2:
            items.append(f"{self.condition(c, 1)} as cond")
        text = f"select {', '.join(items)} from {source}{self.where(c)}"
        if self.rng.random() < 0.5:
            by = [self.rng.choice(c.all) for _ in range(self.rng.randrange(0, 3))]
            return f"{text} order by {self.orders(by + keys)}{self.limit()}", True, True
        return text, False, True

    def aggregate(self, c):
        kind = self.rng.randrange(6)
        if kind == 0:
            return "count(*)"
        if kind == 1:
            return f"count({self.rng.choice(c.all)})"
        if kind in (2, 3):
            return f"{self.rng.choice(['sum', 'avg', 'SUM'])}({self.arithmetic(c.numbers, 1)})"
        return f"{self.rng.choice(['min', 'max'])}({self.rng.choice(c.all)})"

    def groups(self):
        source, c, _ = self.source()
        groups = [self.rng.choice(c.all) for _ in range(self.rng.randrange(0, 3))]
        items = groups + [self.aggregate(c) for _ in range(self.rng.randrange(1, 4))]
        if self.rng.random() < 0.2:
            items.append(f"{self.aggregate(Columns('', c.key, [], [], c.strings, []))} is null")
        self.rng.shuffle(items)
        text = f"select {', '.join(items)} from {source}{self.where(c)}"
        if not groups:
            return text, False, False
        text += f" group by {', '.join(groups)}"
        if self.rng.random() < 0.3:
            text += f" having count(*) > {self.rng.randrange(0, 4)}"
        if self.rng.random() < 0.5:
            by = [self.aggregate(c) for _ in range(self.rng.randrange(0, 2))]
            return f"{text} order by {self.orders(by + groups)}{self.limit()}", True, False
        return text, False, False

    def select(self):
        self.arguments = []
        return self.rows() if self.rng.random() < 0.6 else self.groups()

    def change(self):
        self.arguments = []
        c = self.t("")
        kind = self.rng.randrange(4)
        if kind == 0:
            return f"delete from t where ({self.condition(c)}) and k % 5 = {self.rng.randrange(5)}"
        if kind == 1:
            return (f"update t set a = {self.rng.choice(['a + 1', 'k', 'null', '-a', 'a % 7'])}, "
                    f"m = {self.say(self.any())}{self.where(c)}")
        if kind == 2:  # on which an index may be that finds them
            return (f"update t set a = {self.rng.choice(['a + 1', 'a - 1', 'b', '9 - a'])}, "
                    f"b = b {self.rng.choice('+-')} 1 where {self.several(c)}")
        rows = [f"({self.say(self.rng.randrange(60))}, {self.say(self.rng.randrange(10))}, "
                f"{literal(self.number())}, {self.say(self.word())}, {self.say(self.any())})"
                for _ in range(self.rng.randrange(1, 4))]
        return f"insert into t (k, a, b, s, m) values {', '.join(rows)}"


def plain(v):
    return int(v) if isinstance(v, bool) else v


def flat(row):
    """A record in which the map j is its places, as SQLite's columns are."""
    out = []
    for v in row:
        if isinstance(v, dict):
            q = v.get("q")
            out += [v.get("p"), q.get("r") if isinstance(q, dict) else None]
        else:
            out.append(v)
    return out


def for_sqlite(text):
    return re.sub(r"\bj\.(p|q\.r)\b", r'"j.\1"', text)


def order_key(row):
    kinds = {type(None): 0, int: 1, float: 1, str: 2}
    return ([(kinds[type(v)], 0 if v is None else v) for v in row],
            [isinstance(v, float) for v in row])  # of equals the integer first


def same_row(mine, theirs):
    """Floats may differ in their last digits: sums come in another order."""
    return len(mine) == len(theirs) and all(
        x == y or (isinstance(x, float) and isinstance(y, float) and math.isclose(x, y, rel_tol=1e-9))
        for x, y in zip(mine, theirs))


def differ(mine, theirs, ordered, strict):
    """Why the rows are not the same, or None."""
    mine = [[plain(v) for v in row] for row in mine]
    theirs = [list(row) for row in theirs]
    if not ordered:
        mine, theirs = sorted(mine, key=order_key), sorted(theirs, key=order_key)
    if len(mine) != len(theirs) or not all(map(same_row, mine, theirs)):
        return f"engram {mine}\nsqlite {theirs}"
    if strict and [[type(v) for v in row] for row in mine] != [[type(v) for v in row] for row in theirs]:
        return f"kinds: engram {mine}\nsqlite {theirs}"
    return None


class QueryOracle(ClusterTest):
    def setUp(self):
        super().setUp()
        print(f"EG_SEED={SEED} EG_QUERIES={QUERIES}", flush=True)
        self.rng = random.Random(SEED)
        self.generate = Generator(self.rng)
        self.client = self.node().client()
        self.sqlite = sqlite3.connect(":memory:", isolation_level=None)
        self.sqlite.execute("pragma case_sensitive_like = on")

    def tables(self, kind, index):
        for name, attributes, columns in (("t", "k a b s m j k2", 'k, a, b, s, m, "j.p", "j.q.r", k2'),
                                          ("u", "k x w y", "k, x, w, y")):
            try:
                self.client.call("drop_table", name)
            except Refused:
                pass
            self.sqlite.execute(f"drop table if exists {name}")
            mine = [i for i in index if (i in ("x", "w", "y")) == (name == "u")]
            self.client.call("create_table", name, {"type": kind, "attributes": attributes.split(), "index": mine})
            self.sqlite.execute(f"create table {name} ({columns}, primary key (k))")
        g = self.generate
        maybe = lambda v: None if self.rng.random() < 0.2 else v
        for k in self.rng.sample(range(60), 45):
            self.put("t", [k, maybe(self.rng.randrange(10)), maybe(g.number()), maybe(g.word()), g.any(),
                           self.rng.choice([{}, {"p": g.any()}, {"p": g.any(), "q": {"r": g.any()}}, {"q": 7},
                                            {"q": {"r": g.any(), "s": 1}, "p": g.any()}]), maybe(k * 7 % 61)])
        for k in self.rng.sample(range(30), 20):
            self.put("u", [k, maybe(self.rng.randrange(10)), maybe(g.word()), g.any()])

    def put(self, table, record):
        self.client.call("write", table, record)
        record = flat(record)
        self.sqlite.execute(f"insert into {table} values ({', '.join('?' * len(record))})", record)

    def pages(self, text, arguments):
        """The rows, asked for in pages now and then."""
        if self.rng.random() < 0.8:
            return self.client.call("query", text, arguments)["rows"]
        first = self.client.call("query", text, arguments, {"limit": self.rng.randrange(1, 9)})
        rows, cursor = first["rows"], first["cursor"]
        while cursor is not None:
            more, cursor = self.client.call("select_next", cursor)
            rows += more
        return rows

    def compare(self, text, arguments, ordered, strict):
        try:
            mine = self.pages(text, arguments)
        except Refused as refused:
            mine = refused
        theirs = self.sqlite.execute(for_sqlite(text), arguments).fetchall()
        why = str(mine) if isinstance(mine, Refused) else differ(mine, theirs, ordered, strict)
        self.assertIsNone(why, f"EG_SEED={SEED}\n{text}\n{arguments}\n{why}")

    def change(self):
        text, arguments = self.generate.change(), self.generate.arguments
        try:
            theirs = self.sqlite.execute(for_sqlite(text), arguments).rowcount
        except sqlite3.IntegrityError:
            theirs = "exists"
        try:
            mine = self.client.call("query", text, arguments)["rows"][0][0]
        except Refused as refused:
            mine = refused.code
        self.assertEqual(mine, theirs, f"EG_SEED={SEED}\n{text}\n{arguments}")
        self.compare("select k, a, b, s, m, j.p, j.q.r, k2 from t", [], False, True)

    def test_the_rows_are_those_of_sqlite(self):
        paths = collections.Counter()
        plans = [("set", []), ("ordered_set", [])] + [
            (kind, self.rng.sample(INDEXES, few) + ["x", "w", "y"][:few])
            for kind in ("set", "ordered_set") for few in (1, 2, 4)] + [("set", INDEXES), ("ordered_set", INDEXES[6:])]
        for kind, index in plans:
            self.tables(kind, index)
            for number in range(QUERIES // len(plans)):
                if number % 10 == 9:
                    self.change()
                text, ordered, strict = self.generate.select()
                self.compare(text, self.generate.arguments, ordered, strict)
                if number % 4 == 0:
                    plan = self.client.call("explain", text, self.generate.arguments)["plan"]
                    paths[plan["path"], plan.get("index")] += 1
        if QUERIES < 20000:
            return
        for path in "key", "keys", "key range", "index", "index values", "index range", "all":
            self.assertGreater(sum(n for (p, _), n in paths.items() if p == path), 0, f"{path} in {paths}")
        for index in "j.p", "j.q.r", "a,s", "s,b,a", "k2":
            self.assertGreater(sum(n for (_, i), n in paths.items() if i == index), 0, f"{index} in {paths}")

    def test_a_difference_would_be_seen(self):
        """SQLite is asked something slightly else: that has to be noticed."""
        self.tables("set", [])
        seen = 0
        for _ in range(300):
            text, ordered, strict = self.generate.select()
            other = text.replace(">=", "<").replace(") and (", ") or (").replace("count(", "max(")
            if other == text or "max(*)" in other:
                continue
            mine = self.client.call("query", text, self.generate.arguments)["rows"]
            theirs = self.sqlite.execute(for_sqlite(other), self.generate.arguments).fetchall()
            seen += differ(mine, theirs, ordered, strict) is not None
        self.assertGreater(seen, 10)


if __name__ == "__main__":
    main()
