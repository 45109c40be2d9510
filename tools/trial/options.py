"""options -- what both programs can be told, and how they end.

Exit codes: 0 passed, 1 a violation, 2 usage, 3 no cluster, 130 interrupted."""
import argparse
import sys

PASSED, VIOLATED, USAGE, NO_CLUSTER, INTERRUPTED = 0, 1, 2, 3, 130


def fail(program, code, text):
    print(f"{program}: {text}", file=sys.stderr)
    return code


def parser(program, version, description, epilog):
    words = argparse.ArgumentParser(prog=program, description=description, epilog=epilog,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--version", action="version", version=f"{program} {version}")
    words.add_argument("--workers", type=at_least(1), metavar="N", help="processes that read and write [one a node]")
    words.add_argument("--keys", type=at_least(1), default=200, metavar="N", help="records of each worker [%(default)s]")
    words.add_argument("--value-bytes", type=at_least(0), default=64, metavar="N", help="in each [%(default)s]")
    words.add_argument("--pause-ms", type=float, default=0, metavar="MS",
                       help="of a worker between two calls [%(default)s]")
    words.add_argument("--copies", default="all", metavar="N|all", help="of the trial's tables [%(default)s]")
    words.add_argument("--durability", choices=("async", "sync"), help="of tables on disc")
    words.add_argument("--no-majority", dest="majority", action="store_false",
                       help="leave out the majority table, whose calls must be linearizable")
    words.add_argument("--allow-behind", action="store_true",
                       help="just after views have changed a read may be older than what the reader knew: count it only")
    words.add_argument("--timeout", type=float, default=60, metavar="S",
                       help="until copies must be equal after a heal [%(default)s]")
    words.add_argument("--seed", type=int, metavar="N", help="of all chances [a new one]")
    words.add_argument("--output", choices=("text", "json"), default="text",
                       help="what goes to standard output [%(default)s]")
    words.add_argument("--json", metavar="FILE", help="write what was seen, for programs")
    words.add_argument("--html", metavar="FILE", help="write it as a page with charts")
    return words


def at_least(least):
    def number(text):
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"at least {least}, not {value}")
        return value
    return number


def table_options(asked, storage):
    options = {"storage": storage, "copies": asked.copies if asked.copies == "all" else int(asked.copies)}
    if asked.durability:
        options["durability"] = asked.durability
    return options
