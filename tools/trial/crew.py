"""crew -- all workers, and the ledgers of what they write together.

They are processes: start the crew before any thread.  They end with whoever leads them, and not by a
signal to all: when to end is decided there.  pump() is how whoever leads them waits."""
import collections
import multiprocessing
import multiprocessing.connection
import signal
import time

from .agreed import Agreed
from .figures import Figures
from .ledger import Register, Total
from .settle import Item, Settler
from .tables import AGREED_KEYS
from .worker import Worker

ENDING = {signal.SIGINT, signal.SIGTERM}
GRACE_S = 120  # for an answer beyond the time that was given: a call may be under way


def work(worker, others):
    for pipe in others:  # came with the fork: while they are open here no end of who leads is seen
        pipe.close()
    worker.run()


class Crew:
    def __init__(self, workers, **options):
        self.began = time.monotonic()
        self.seconds = collections.defaultdict(Figures)  # since then -> what was done in it
        self.user = options["user"]
        self.pipes, self.processes = [], []
        agreed = Agreed(workers * AGREED_KEYS)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # workers keep that
        for number in range(workers):
            here, there = multiprocessing.Pipe()
            worker = Worker(number, there, agreed, **options)
            process = multiprocessing.Process(target=work, args=(worker, [*self.pipes, here]), daemon=True)
            process.start()
            there.close()
            self.pipes.append(here)
            self.processes.append(process)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def begin(self, addresses, tables):
        """`addresses` of nodes by name: each is home to its share of the workers."""
        self.addresses, self.tables = addresses, tables
        names = list(addresses)
        for number, pipe in enumerate(self.pipes):
            first = number % len(names)
            pipe.send(("begin", {name: addresses[name] for name in names[first:] + names[:first]}, tables))
        self.answers("begin", 0)

    def go(self):
        self.tell("go")

    def pump(self, seconds):
        """Let them work for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for pipe in multiprocessing.connection.wait(self.pipes, left):
                self.take_figures(pipe.recv())

    def pause_and_settle(self, timeout_s):
        """Violations of every kind, and how many records were in doubt and are there."""
        self.tell("pause")
        parts = self.answers("pause", 0)
        self.tell("settle", timeout_s)
        violations = self.settle_shared(parts, timeout_s)
        recovered = 0
        for found, more in self.answers("settle", timeout_s):
            violations += found
            recovered += more
        return violations, recovered

    def end(self):
        for process, pipe in zip(self.processes, self.pipes):
            try:
                pipe.send(("end",))
            except OSError:
                pass
        for process in self.processes:
            process.join(1)
            if process.is_alive():
                process.kill()
                process.join()

    def total(self):
        total = Figures()
        for figures in self.seconds.values():
            total.add(figures)
        return total

    # ---- what is written together

    def settle_shared(self, parts, timeout_s):
        sums = collections.defaultdict(Total)
        for mine, _ in parts:
            for key, part in mine.items():
                sums[key].add(part)
        items = [Item(self.tables.sums, key, self.judge_of_sum(total)) for key, total in sums.items()]
        items += [Item(self.tables.shared, key, self.judge_of_shared([mine.get(key, Register()) for _, mine in parts]))
                  for key in self.tables.shared_keys()]
        return Settler(self.addresses, timeout_s, self.user).settle(items)

    @staticmethod
    def judge_of_sum(total):
        def judge(records):
            wanted = f"{total.acknowledged} to {total.acknowledged + total.doubted}"
            return total.judge(records[0][1] if records else 0), wanted
        return judge

    @staticmethod
    def judge_of_shared(registers):
        """The last of one of them: which, nobody can say."""
        def judge(records):
            if not records:
                there = any(register.acknowledged for register in registers)
                return "lost" if there else None, "a record"
            _, writer, version = records[0]
            return registers[writer].judge(version), f"{registers[writer].acknowledged} of writer {writer}, or another's"
        return judge

    # ---- pipes

    def tell(self, *command):
        for pipe in self.pipes:
            pipe.send(command)

    def answers(self, command, seconds):
        """One of each; figures that come before are taken."""
        answers, end = [], time.monotonic() + seconds + GRACE_S
        for pipe in self.pipes:
            while True:
                if not pipe.poll(max(0, end - time.monotonic())):
                    raise RuntimeError(f"a worker does not answer {command}")
                name, *answer = pipe.recv()
                if name == command:
                    answers.append(answer)
                    break
                self.take_figures((name, *answer))
        return answers

    def take_figures(self, message):
        self.seconds[int(time.monotonic() - self.began)].add(message[1])
