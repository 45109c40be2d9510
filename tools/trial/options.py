"""options -- what both programs can be told, and how they end.

Exit codes: 0 passed, 1 a violation, 2 usage, 3 no cluster, 130 interrupted."""
import argparse
import os
import sys

PASSED, VIOLATED, USAGE, NO_CLUSTER, INTERRUPTED = 0, 1, 2, 3, 130
Bad = argparse.ArgumentTypeError  # why a word is not taken
LONGEST_S = 1_000_000       # of whatever is given in seconds
LONGEST_PAUSE_MS = 60_000   # a worker that pauses hears nothing


def fail(program, code, text):
    print(f"{program}: {text}", file=sys.stderr)
    return code


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(USAGE, f"{self.prog}: {message}; see --help\n")

    def parse_args(self):
        asked = super().parse_args()
        if asked.output == "json" and "-" in (asked.json, asked.html):
            self.error("of --output json and a file - only one can go to standard output")
        return asked


def parser(program, version, description, epilog):
    words = Parser(prog=program, description=description, epilog=epilog,
                   formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--version", action="version", version=f"{program} {version}")
    words.add_argument("--workers", type=at_least(1), metavar="N", help="processes that read and write [one a node]")
    words.add_argument("--keys", type=at_least(1), default=200, metavar="N", help="records of each worker [%(default)s]")
    words.add_argument("--value-bytes", type=at_least(0), default=64, metavar="N", help="in each [%(default)s]")
    words.add_argument("--pause-ms", type=within(0, LONGEST_PAUSE_MS), default=0, metavar="MS",
                       help="of a worker between two calls [%(default)s]")
    words.add_argument("--copies", type=copies, default="all", metavar="N|all", help="of the trial's tables [%(default)s]")
    words.add_argument("--durability", choices=("async", "sync"), help="of tables on disc")
    words.add_argument("--no-majority", dest="majority", action="store_false",
                       help="leave out the majority table, whose calls must be linearizable")
    words.add_argument("--allow-behind", action="store_true",
                       help="just after views have changed a read may be older than what the reader knew: count it only")
    words.add_argument("--timeout", type=within(0, LONGEST_S), default=60, metavar="S",
                       help="until copies must be equal after a heal [%(default)s]")
    words.add_argument("--seed", type=int, metavar="N", help="of all chances [a new one]")
    words.add_argument("--output", choices=("text", "json"), default="text",
                       help="what goes to standard output [%(default)s]")
    words.add_argument("--json", type=writable, metavar="FILE", help="write what was seen, for programs")
    words.add_argument("--html", type=writable, metavar="FILE", help="write it as a page with charts")
    return words


def at_least(least):
    def number(text):
        value = int(text)
        if value < least:
            raise Bad(f"at least {least}, not {value}")
        return value
    return number


def within(least, most, kind=float):
    def number(text):
        value = kind(text)
        if not least <= value <= most:  # nor is it NaN
            raise Bad(f"{least} to {most}, not {text}")
        return value
    return number


def copies(text):
    return text if text == "all" else at_least(1)(text)


def writable(path):
    """A file that can be written is known to be before the run, not after it; what it holds stays until then."""
    if path == "-":
        return path
    is_new = not os.path.exists(path)
    try:
        with open(path, "a"):
            pass
    except OSError as why:
        raise Bad(f"{path} cannot be written: {why.strerror}") from why
    if is_new:
        os.unlink(path)
    return path


def table_options(asked, storage):
    options = {"storage": storage, "copies": asked.copies}
    if asked.durability:
        options["durability"] = asked.durability
    return options
