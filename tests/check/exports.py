#!/usr/bin/env python3
"""exports -- a program that links libengram sees eg_* and nothing else.

    exports.py FILE ...     libengram.so and libengram.a

Internal names are short (table_get, mailbox_push); one that leaked would collide
with a name of the program's own."""
import subprocess
import sys


def visible(path):
    """Names that the file defines for others."""
    dynamic = ["-D"] if ".so" in path else []
    command = ["nm", *dynamic, "--defined-only", "--extern-only", "--format=posix", path]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for line in text.splitlines():
        name, *rest = line.split()
        if rest and rest[0] != "A":  # A: the name of a symbol version
            yield name.split("@")[0]


def main(paths):
    failures, count = [], 0
    for path in paths:
        names = list(visible(path))
        count += len(names)
        failures += [f"{path}: {name} is visible" for name in names if not name.startswith("eg_")]
        if not names:
            failures.append(f"{path}: exports nothing")
    print("\n".join(failures) if failures else f"{count} exported names, all eg_*")
    return bool(failures) or not paths


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
