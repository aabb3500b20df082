"""JSON there and back, dictionaries of strings, and sorting: objects by the million."""
import json
import random

random.seed(7)
rows = [{"id": i, "name": f"name {i}", "tags": ["a", "b", str(i)], "value": random.random()} for i in range(20_000)]
for _ in range(12):
    rows = json.loads(json.dumps(rows))
counts = {}
for i in range(1_000_000):
    key = f"key {random.randrange(200_000)}"
    counts.setdefault(key, []).append(i)
longest = sorted(counts.items(), key=lambda item: (-len(item[1]), item[0]))[:10]
words = sorted(" ".join(random.choices("abcdefgh", k=6)) for _ in range(300_000))
print(longest[0], words[0])
