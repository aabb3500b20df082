"""Prints a history for git fast-import: argv[1] commits over 40 files of text; the same on every run."""

import random
import sys

random.seed(1)
words = "the neap tide has the smallest range between high and low water of all tides in a month".split()
files = {f"file-{i}": [" ".join(random.choices(words, k=12)) for _ in range(300)] for i in range(40)}


def data(text):
    return f"data {len(text)}\n{text}\n"


out = sys.stdout
for number in range(1, int(sys.argv[1]) + 1):
    out.write(f"commit refs/heads/main\nmark :{number}\ncommitter A <a@example.org> {1600000000 + number} +0000\n")
    out.write(data(f"Change {number}"))
    if number > 1:
        out.write(f"from :{number - 1}\n")
    for name in files if number == 1 else random.sample(sorted(files), 3):
        lines = files[name]
        for _ in range(5):
            lines[random.randrange(len(lines))] = " ".join(random.choices(words, k=12))
        out.write(f"M 100644 inline {name}\n" + data("\n".join(lines) + "\n"))
    out.write("\n")
out.write("done\n")
