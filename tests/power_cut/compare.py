"""Compares the lines of the log files on the disk with the records of the stream.

    compare.py ROUNDS DELIVERY FOLDER RECORDS

FOLDER holds the files, RECORDS one record a line. Prints the summary. Fails if a line is lost or, with exactly_once,
repeated; but not for repeats in a file of which a cut took back what had been delivered, a named limit.
"""

import bisect
import collections
import pathlib
import re
import sys

SHOWN = 5


def number(line):
    """The boot that wrote the line, and its place there. None if a cut tore its beginning."""
    found = re.match(rb"boot=(\d+) line=(\d+) ", line)
    return (int(found[1]), int(found[2])) if found else None


# The agent skips so many NUL bytes at the beginning of a line (docs/SEMANTICS.md, Limits). A cut may leave them: ext4
# writes the new length of a file sooner than what was appended to its last block.
HOLE = re.compile(rb"^\0{64,}", re.MULTILINE)


def lines_of(file):
    lines = HOLE.sub(b"", file.read_bytes()).split(b"\n")
    return lines if lines[-1] else lines[:-1]


def main():
    rounds, delivery, folder, records = sys.argv[1:]
    on_disk = {line: file.name for file in sorted(pathlib.Path(folder).iterdir()) for line in lines_of(file)}
    received = collections.Counter(lines_of(pathlib.Path(records)))

    lost = [line for line in on_disk if line not in received]
    ghosts = [line for line in received if line not in on_disk]
    repeated = {line: times - 1 for line, times in received.items() if times > 1}

    # A ghost stood behind the last line before it that is still there, in the same file.
    written = sorted((number(line), name) for line, name in on_disk.items() if number(line))
    shortened = set()
    for ghost in filter(None, map(number, ghosts)):
        before = bisect.bisect(written, (ghost, ""))
        shortened.update(name for _, name in written[before - 1 : before])
    excused = sum(times for line, times in repeated.items() if line not in on_disk or on_disk[line] in shortened)

    for what, lines in ("lost", lost), ("ghost", ghosts), ("repeated", list(repeated)):
        for line in lines[:SHOWN]:
            print(f"  {what}: {on_disk.get(line, 'not on the disk')}: {line[:100].decode(errors='replace')}")
        if len(lines) > SHOWN:
            print(f"  {what}: and {len(lines) - SHOWN} more")
    print(
        f"rounds {rounds}, delivery {delivery}: lines {len(on_disk)}, lost {len(lost)}, "
        f"repeated {sum(repeated.values())} ({excused} of them in files that a cut made shorter), "
        f"ghost lines {len(ghosts)}"
    )
    if not on_disk:
        raise SystemExit("nothing was written: this proves nothing")
    if lost or (delivery == "exactly_once" and sum(repeated.values()) > excused):
        raise SystemExit(1)


main()
