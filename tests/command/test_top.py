"""neap top, in tmux at 80 columns and 24 lines, as over ssh."""
import os
import shutil
import subprocess
import unittest

from support import DEADLINE, MIB, NEAP, CommandTest, eventually, neap

TMUX = shutil.which("tmux")


@unittest.skipUnless(TMUX, "no tmux")
class TopTest(CommandTest):
    def tmux(self, *arguments):
        return subprocess.run([TMUX, "-S", self.folder / "socket", *arguments], capture_output=True, text=True, timeout=DEADLINE,
                              env={**os.environ, "LC_ALL": "C.UTF-8", "TERM": "screen"})

    def start(self, *arguments):
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", " ".join([NEAP, "top", *map(str, arguments)]))
        self.addCleanup(self.tmux, "kill-server")

    def keys(self, *keys):
        self.tmux("send-keys", *keys)

    def screen(self):
        return self.tmux("capture-pane", "-p").stdout.split("\n")

    def shows(self, text, absent=None):
        def seen():
            lines = self.screen()
            return any(text in line for line in lines) and not (absent and any(absent in line for line in lines)) and lines
        return eventually(seen, f"'{text}' on the screen: {self.screen()}")

    def held(self, mib):
        program = self.preloaded()
        program.tell(f"live {2 * mib}")
        program.tell("half")
        eventually(lambda: 0.9 * mib * MIB < program.stat()["live"] < 1.2 * mib * MIB, "half of it is gone")
        return program

    def row(self, lines, program):
        """The figures of a process, by column."""
        head = next(line for line in lines if "COMMAND" in line).split()
        cells = next(line for line in lines if line.split()[:1] == [str(program.pid)]).split()
        return dict(zip(head, cells))

    def test_a_process_is_shown_alone_and_in_the_list(self):
        large, small = self.held(200), self.held(40)
        self.start()
        lines = self.shows(str(large.pid))
        self.assertTrue(all(len(line) <= 80 for line in lines))
        self.assertIn("q quit", lines[23])
        row = self.row(lines, large)
        self.assertEqual(row["COMMAND"], "command_hold")
        self.assertTrue(180 <= float(row["LIVE"].removesuffix("M")) <= 240, row)
        order = [line.split()[0] for line in lines if line.split()[:1] in ([str(large.pid)], [str(small.pid)])]
        self.assertEqual(order, [str(large.pid), str(small.pid)])  # by anon

        self.keys("s", "s", "s", "s", "s")
        lines = self.shows("by pid")
        self.keys("/")
        self.keys("-l", str(small.pid))
        self.keys("Enter")
        lines = self.shows(f"with '{small.pid}'", absent=str(large.pid))
        self.row(lines, small)

        self.keys("Enter")
        lines = self.shows("live  ░ anon")
        self.assertTrue(any("resident" in line for line in lines), lines)
        self.keys("NPage")
        self.shows("root")
        self.keys("NPage")
        self.shows("64K")
        self.keys("q")
        self.shows(f"with '{small.pid}'")
        self.keys("q")
        eventually(lambda: self.tmux("list-sessions").returncode != 0, "it has quit")

    def test_it_starts_with_a_process_and_returns_to_the_list_when_that_ends(self):
        program = self.held(40)
        self.start(program.pid)
        self.shows("command_hold (pid")
        program.end()
        self.shows("neap top:")

    def test_without_a_terminal(self):
        result = neap("top")
        self.assertEqual(result.returncode, 2)
        self.one_line(result.stderr, "neap top: needs a terminal: ")

    def test_no_such_process(self):
        self.start(999999999)
        eventually(lambda: self.tmux("list-sessions").returncode != 0, "it has said so and ended")


if __name__ == "__main__":
    unittest.main()
