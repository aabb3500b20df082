"""What malloc_info, mallinfo2, malloc_stats and neap_ledger say of a real process on neap, this one, preloaded: the text
is XML for a parser from outside, in glibc's shape, and everything adds up, also while other threads allocate."""
import ctypes
import os
import re
import sys
import tempfile
import threading
import unittest
import xml.etree.ElementTree as ElementTree

MIB = 1 << 20
SHARED, CLASS_OF_ARENA, ARENA, CLASS, NODE, TOTAL = range(6)
FIGURES = ("live", "requested", "cached", "dirty", "metadata", "resident")


class Row(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("size", "kind", "id", "parent")] + [("name", ctypes.c_char * 48)] + [
        (name, ctypes.c_uint64) for name in ("block_size", *FIGURES, "charged", "peak", "bound", "overruns", "foreign",
                                             "anon", "foreign_purges", "foreign_purged")]


class Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks",
                                                     "fsmblks", "uordblks", "fordblks", "keepcost")]


Visit = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(Row))
process = ctypes.CDLL(None)
for function, result, *arguments in (
        ("neap_arena_create", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t),
        ("neap_arena_malloc", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t),
        ("neap_arena_destroy", ctypes.c_int, ctypes.c_void_p),
        ("free", None, ctypes.c_void_p),
        ("fopen", ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p),
        ("fclose", ctypes.c_int, ctypes.c_void_p),
        ("malloc_info", ctypes.c_int, ctypes.c_int, ctypes.c_void_p),
        ("mallinfo2", Mallinfo2),
        ("neap_ledger", ctypes.c_int, Visit, ctypes.c_void_p)):
    getattr(process, function).restype = result
    getattr(process, function).argtypes = arguments


def ledger():
    rows = []

    def add(_, row):
        copy = Row()
        ctypes.pointer(copy)[0] = row[0]
        rows.append(copy)

    if process.neap_ledger(Visit(add), None) != 0:
        raise AssertionError("neap_ledger gives an error")
    return rows


def figures(element):
    return {name: int(value) for name, value in element.attrib.items() if value.isdigit()}


def size_of(elements, kind):
    return next(int(element.get("size")) for element in elements if element.get("type") == kind)


class MallocInfo(unittest.TestCase):
    def setUp(self):
        self.file = tempfile.NamedTemporaryFile()
        self.addCleanup(self.file.close)

    def info(self):
        stream = process.fopen(self.file.name.encode(), b"w")
        self.assertEqual(process.malloc_info(0, stream), 0)
        process.fclose(stream)
        with open(self.file.name, "rb") as text:
            return ElementTree.fromstring(text.read())

    def arena(self, name, parent=None):
        arena = process.neap_arena_create(parent, name, 1 << 40)
        self.addCleanup(process.neap_arena_destroy, arena)
        return arena

    def check(self, root):
        """Its shape is glibc's, and its sums are those of its parts. Gives the ledger's total."""
        self.assertEqual((root.tag, root.get("version")), ("malloc", "1"))
        heaps = root.findall("heap")
        self.assertEqual(heaps[0].get("nr"), "0")
        of_all = {"count": 0, "free": 0, "system": 0, "space": 0}
        for heap in heaps:
            sizes = [figures(size) for size in heap.find("sizes")]
            for size in sizes:
                self.assertEqual(size["total"], size["count"] * size["to"])
                self.assertLess(size["from"], size["to"])
            rest = next(total for total in heap.findall("total") if total.get("type") == "rest")
            self.assertLessEqual(sum(size["total"] for size in sizes), int(rest.get("size")))
            self.assertLessEqual(sum(size["count"] for size in sizes), int(rest.get("count")))
            self.assertLessEqual(size_of(heap.findall("system"), "current"), size_of(heap.findall("system"), "max"))
            of_all["count"] += int(rest.get("count"))
            of_all["free"] += int(rest.get("size"))
            of_all["system"] += size_of(heap.findall("system"), "current")
            of_all["space"] += size_of(heap.findall("aspace"), "total")
        totals = {total.get("type"): figures(total) for total in root.findall("total")}
        self.assertEqual(set(totals), {"fast", "rest", "mmap"})
        total = figures(root.find("neap/ledger"))
        self.assertEqual(totals["rest"], {"count": of_all["count"], "size": of_all["free"]})
        self.assertEqual(size_of(root.findall("system"), "current"), of_all["system"])
        self.assertEqual(size_of(root.findall("aspace"), "total"), of_all["space"])
        self.assertEqual(total["cached"] + total["dirty"], of_all["free"])
        self.assertEqual(total["resident"], of_all["system"])
        self.assertEqual(total["live"] + total["cached"] + total["dirty"] + total["metadata"], total["resident"])
        shared = figures(root.find("neap/shared"))
        for rows in ([figures(arena) for arena in root.findall("heap/arena")],
                     [figures(row) for row in root.findall("neap/class")]):
            for name in ("live", "requested", "cached"):
                self.assertEqual(sum(row[name] for row in rows), total[name], name)
            self.assertEqual(sum(row["dirty"] for row in rows) + shared["dirty"], total["dirty"])
        return total

    def test_arenas_and_sizes(self):
        query = self.arena("query <1> & \"2\" 'é' \x01\n".encode() + b"\xff")
        below = self.arena("ü".encode() * 30, query)  # cut within a character
        blocks = [process.neap_arena_malloc(query, 1000, 0) for _ in range(5000)]
        for block in blocks[::2]:
            process.free(block)
        large = process.neap_arena_malloc(below, 3 * MIB, 0)
        ctypes.memset(large, 1, 3 * MIB)
        root = self.info()
        self.check(root)
        arenas = {heap.find("arena").get("name"): heap for heap in root.findall("heap")}
        self.assertEqual(set(arenas), {"root", "query <1> & \"2\" 'é' ???", "ü" * 23 + "?"})
        heap = arenas["query <1> & \"2\" 'é' ???"]
        of_query = figures(heap.find("arena"))
        self.assertEqual(of_query["bound"], 1 << 40)
        self.assertEqual(of_query["live"], 2500 * 1008)
        size, = (figures(size) for size in heap.find("sizes"))
        self.assertEqual((size["from"], size["to"]), (993, 1008))
        self.assertGreater(size["count"], 2000)
        of_below = arenas["ü" * 23 + "?"].find("arena")
        self.assertEqual((of_below.get("parent"), of_below.get("live")), (heap.get("nr"), str(3 * MIB)))
        for block in (*blocks[1::2], large):
            process.free(block)

    def test_the_same_figures_everywhere(self):
        total = self.check(self.info())
        info = process.mallinfo2()
        rows = ledger()
        # This program itself allocates between the calls.
        self.assertAlmostEqual(info.uordblks / MIB, total["live"] / MIB, delta=1)
        self.assertEqual(info.arena, info.uordblks + info.fordblks)
        self.assertAlmostEqual(rows[-1].live / MIB, total["live"] / MIB, delta=1)
        self.assertAlmostEqual(rows[-1].resident / MIB, total["resident"] / MIB, delta=2)
        read, write = os.pipe()
        error = os.dup(2)
        os.dup2(write, 2)
        process.malloc_stats()
        os.dup2(error, 2)
        text = os.read(read, 1 << 16).decode()
        for fd in (read, write, error):
            os.close(fd)
        in_use = [int(number) for number in re.findall(r"in use bytes +=\s*(\d+)", text)]
        self.assertEqual(sum(in_use[:-1]), in_use[-1])
        self.assertAlmostEqual(in_use[-1] / MIB, total["live"] / MIB, delta=1)

    def test_while_others_allocate(self):
        arena = self.arena(b"of threads")
        stop = threading.Event()

        def work():
            while not stop.is_set():
                kept = [bytes(size) for size in range(500, 9000, 100)]
                blocks = [process.neap_arena_malloc(arena, size, 0) for size in range(10, 70000, 999)]
                del kept
                for block in blocks:
                    process.free(block)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(100):
                self.check(self.info())
                rows = ledger()
                total = rows[-1]
                self.assertEqual(total.kind, TOTAL)
                for kind in (ARENA, CLASS):
                    for name in FIGURES:
                        self.assertEqual(sum(getattr(row, name) for row in rows if row.kind in (kind, SHARED)),
                                         getattr(total, name), name)
        finally:
            stop.set()
            for thread in threads:
                thread.join()


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + ["-v"])
