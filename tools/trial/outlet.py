"""outlet -- where the report goes when a run has ended: standard output, and the files that were asked for."""
import sys

from . import options
from .page import page
from .report import as_json, print_words


def deliver(report, whole, asked):
    """The exit code.  A file that cannot be written any more costs nothing but itself."""
    if asked.output == "json":
        print(as_json(whole), end="")
    else:
        print_words(report)
    for path, content in (asked.json, as_json), (asked.html, page):
        if path:
            write(report.program, path, content(whole))
    return options.PASSED if whole["passed"] else options.VIOLATED


def write(program, path, text):
    if path == "-":
        print(text, end="")
        return
    try:
        with open(path, "w") as out:
            out.write(text)
    except OSError as why:
        print(f"{program}: {path} cannot be written: {why.strerror}", file=sys.stderr)
