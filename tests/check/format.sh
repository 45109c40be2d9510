#!/bin/sh
# format.sh -- clang-format agrees with every C file below ROOT.  77: it is not installed.
set -eu
command -v clang-format >/dev/null || { echo "skipped: clang-format is not installed"; exit 77; }
cd "${1:-.}"
find include engine tables replication query node tools tests bench docs -name '*.[ch]' 2>/dev/null |
    sort | xargs clang-format --dry-run --Werror
