#!/usr/bin/env python3
"""claims -- what a page says proves its lines is there: tests/check/claims.py ROOT.

docs/contexts.md           the last column of each line names tests, or files of them
tests/cluster/README.md    each scenario names files, and what of them shows it

A name is that of a test (`cluster_majority`, `test_router`), of a file (`test_skew.py`, `linear.h`), or
`simulator`; what stands behind a file is a word that is in it."""
import pathlib
import re
import sys

NAME = r"[\w-]+(?:\.\w+)?"


def files_of(root, name):
    if name == "simulator":
        name = "test_sim_cluster"
    if name.startswith("cluster_"):
        name = f"test_{name.removeprefix('cluster_')}.py"
    pattern = name if "." in name else f"{name}.*"
    return sorted((root / "tests").rglob(pattern)) + sorted((root / "tools/trial").rglob(f"{name}.py"))


def lines_of(page):
    """(number, cells) of each line of a table below its head."""
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.startswith("|") and not line.startswith("|---"):
            yield number, [cell.strip() for cell in line.strip("|").split("|")]


def contexts(root):
    page = root / "docs/contexts.md"
    for number, cells in list(lines_of(page))[1:]:
        names = re.findall(rf"`({NAME})`", cells[-1]) + re.findall("simulator", cells[-1])
        if not names:
            yield f"docs/contexts.md:{number}: which test proves this line?"
        for name in names:
            if not files_of(root, name):
                yield f"docs/contexts.md:{number}: there is no {name}"


def scenarios(root):
    page = root / "tests/cluster/README.md"
    for number, cells in lines_of(page):
        if not re.match(r"\d+ ", cells[0]):
            continue
        claims = re.findall(r"`(test_\w+\.\w+)`([^`|]*)", cells[1])
        if not claims:
            yield f"tests/cluster/README.md:{number}: which test shows {cells[0]}?"
        for name, what in claims:
            files = files_of(root, name)
            if not files:
                yield f"tests/cluster/README.md:{number}: there is no {name}"
            text = "".join(path.read_text() for path in files)
            for word in re.findall(r"\w+[_.]\w+|\b\d\d\b", what.split(";")[0]):
                if (f"test_{word}_" if word.isdigit() else word) not in text:
                    yield f"tests/cluster/README.md:{number}: {name} has no {word}"


def main(root):
    failures = [*contexts(root), *scenarios(root)]
    print("\n".join(failures) if failures else "all that is claimed is there")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
