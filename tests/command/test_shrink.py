"""neap shrink: the order, its answer, and what is said where it cannot be met."""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import unittest

from support import MIB, NEAP, CommandTest, eventually, neap, needs_root


class Shrink(CommandTest):
    def holding(self, *orders, **variables):
        """A program that has obeyed, and that keeps a page."""
        program = self.preloaded(**variables)
        for order in orders:
            program.tell(order)
        eventually(lambda: neap("stat", program.pid).returncode == 0, "there is a page")
        return program

    def anon(self, program):
        status = pathlib.Path(f"/proc/{program.pid}/status").read_text()
        return int(status.split("RssAnon:")[1].split()[0]) * 1024

    def test_a_process_that_is_under_the_size(self):
        program = self.holding("live 200", "drop", "live 20")
        result = neap("shrink", program.pid, "--to", "64M")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("under 64 MiB", result.stdout)
        self.assertLess(self.anon(program), 64 * MIB)

    def test_it_gives_back_at_once_what_was_just_freed(self):
        program = self.holding("live 200", "half")
        program.tell("drop")
        told = json.loads(neap("shrink", program.pid, "--to", "40M", "--json").stdout)
        self.assertTrue(told["under"])
        self.assertLess(told["anon"], 40 * MIB)
        self.assertLess(self.anon(program), 40 * MIB)

    def test_what_holds_a_process_over_the_size_is_named(self):
        program = self.holding("live 150", "half", "foreign 30", "live 50")
        result = neap("shrink", program.pid, "--to", "20M")
        self.assertEqual(result.returncode, 1)
        line = self.one_line(result.stderr, f"neap shrink: {program.pid} gave back ")
        self.assertRegex(line, r"over 20 MiB; held by: 1\d\d MiB live \(.*\), [23]\d MiB foreign \(")
        self.assertEqual(program.tell("live 1"), [])  # it goes on

    def test_an_order_is_answered_again_and_again(self):
        program = self.holding("live 100", "drop")
        for _ in range(20):
            self.assertEqual(neap("shrink", program.pid, "--to", "30M").returncode, 0)

    def test_a_program_without_a_thread_answers_when_it_allocates(self):
        program = self.holding("live 100", "half", NEAP_BACKGROUND="0", NEAP_STATS=str(self.folder / "page"))
        order = subprocess.Popen([NEAP, "shrink", str(program.pid), "--to", "80M"], stdout=subprocess.DEVNULL)
        self.addCleanup(order.kill)

        def answered():
            program.tell("live 4")
            program.tell("half")
            program.tell("drop")
            return order.poll() is not None

        eventually(answered, "the order is answered from a slow path")
        self.assertEqual(order.returncode, 0)

    def test_a_stopped_process_does_not_answer(self):
        program = self.holding("live 50", "drop")
        os.kill(program.pid, signal.SIGSTOP)
        result = neap("shrink", program.pid, "--to", "1M", "--timeout", "0.3")
        os.kill(program.pid, signal.SIGCONT)
        self.assertEqual(result.returncode, 4)
        self.assertIn("has not answered in 0.3 s", self.one_line(result.stderr, "neap shrink: "))
        self.assertEqual(neap("shrink", program.pid, "--to", "40M").returncode, 0)

    def test_refusals(self):
        program = self.holding("live 50", "drop")
        for code, words, arguments in (
                (2, "--to 'many' is not a size", [program.pid, "--to", "many"]),
                (2, "--to is required", [program.pid]),
                (2, "PID is required", ["--to", "1M"]),
                (2, "--timeout", [program.pid, "--to", "1M", "--timeout", "-1"]),
                (3, "there is no process", [999999999, "--to", "1M"]),
                (1, "is not on neap", [os.getpid(), "--to", "1M"])):
            result = neap("shrink", *arguments)
            self.assertEqual(result.returncode, code, arguments)
            self.assertIn(words, self.one_line(result.stderr, "neap shrink: "))

    @needs_root
    def test_the_process_of_another_user_is_left_alone(self):
        program = self.holding("live 50", "drop")
        result = neap("shrink", program.pid, "--to", "1M", user="nobody")
        self.assertEqual(result.returncode, 3, result.stderr)

    def test_what_holds_it_adds_up_to_what_it_has(self):
        program = self.holding("live 100", "half", "foreign 40")
        held = neap("shrink", program.pid, "--to", "1M").stderr.split("held by: ")[1]
        units = {"B": 1, "KiB": 1 << 10, "MiB": MIB}
        total = sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+) (B|[KM]iB) ", held))
        self.assertAlmostEqual(total / MIB, self.anon(program) / MIB, delta=5)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + ["-v"])
