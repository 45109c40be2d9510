"""tables -- what a trial writes to: tables of its own, named after it, removed when all is well.

    kept      each record has one writer: what it was told last is what must be there
    shared    all write the same records: the last of some writer stays, none of its older ones
    sums      counters that all add to: exact
    sets      records with a field for each writer, which is a set of its own: exact
    agreed    (unless --no-majority) a `majority` table: records with one writer, which all read
    marks     written at each node just before a cut heals, to see when they are everywhere"""

SHARED_KEYS = 16
SUM_KEYS = 8
SET_KEYS = 16
AGREED_KEYS = 4  # of each writer
MARKS = 32
WITHIN_S = 60  # for a view that takes a change of the schema


class Tables:
    def __init__(self, prefix, writers, majority=False):
        self.prefix, self.writers, self.majority = prefix, writers, majority
        self.kept, self.shared, self.sums, self.sets, self.agreed, self.marks = (
            f"{prefix}_{name}" for name in ("kept", "shared", "sums", "sets", "agreed", "marks"))

    def all(self):
        agreed = {self.agreed: {"attributes": ["key", "version"], "majority": True}} if self.majority else {}
        return {**agreed,
                self.kept: {"attributes": ["key", "version", "padding"]},
                self.shared: {"attributes": ["key", "writer", "version"]},
                self.sums: {"attributes": ["key", "sum"], "merge": "counter"},
                self.sets: {"attributes": ["key", *map(self.field, range(self.writers))], "merge": "set"},
                self.marks: {"attributes": ["key", "number"], "merge": "max"}}

    def create(self, client, options):
        for name, more in self.all().items():
            client.call_until_done(WITHIN_S, "create_table", name, {**more, **options})
        empty = [[key, *([] for _ in range(self.writers))] for key in self.set_keys()]
        client.call_until_done(WITHIN_S, "write_many", self.sets, empty)

    def drop(self, client):
        for name in self.all():
            client.call_until_done(WITHIN_S, "drop_table", name)

    @staticmethod
    def field(writer):
        return f"of_{writer}"

    @staticmethod
    def kept_key(writer, number):
        return f"{writer}/{number}"

    @staticmethod
    def agreed_key(slot, generation):
        return f"{slot // AGREED_KEYS}/{slot % AGREED_KEYS} {generation}"

    @staticmethod
    def shared_keys():
        return [f"shared {number}" for number in range(SHARED_KEYS)]

    @staticmethod
    def sum_keys():
        return [f"sum {number}" for number in range(SUM_KEYS)]

    @staticmethod
    def set_keys():
        return [f"set {number}" for number in range(SET_KEYS)]
