"""The steps from an empty board to a charger in service, in their order."""

from __future__ import annotations

import sys
from argparse import Namespace

from flashing import config, dry_run, files, micropython, ports, questions, watch
from flashing.board import Board
from flashing.charger import Charger
from flashing.errors import FlashError
from flashing.show import say, step


def main(arguments: Namespace) -> int:
    """Run tools/flash.py; return its exit status."""
    try:
        return Flow(arguments).run()
    except FlashError as error:
        print(f"flash.py: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):
        print("\nInterrupted; run it again, it goes on where it was.", file=sys.stderr)
        return 130


class Flow:
    """One run. What is found out before the board is touched: port, version (""), wanted."""

    def __init__(self, arguments: Namespace) -> None:
        self.arguments = arguments
        self.version = "" if arguments.only_config else arguments.version or files.default_version()
        self.port = self.what = ""
        self.wanted: config.Given | None = None

    def run(self) -> int:
        """Do all of it; return the exit status."""
        self.prepare()
        if self.arguments.dry_run:
            dry_run.tell(self.arguments, self.port, self.version, self.wanted)
            return 0
        changed = False
        if self.arguments.micropython:
            changed = micropython.put(
                self.port,
                self.arguments.micropython,
                len(files.bundle(self.version)),
                self.arguments.baud,
                anew=self.arguments.anew,
                yes=self.arguments.yes,
            )
        with Board(self.port) as board:
            charger = Charger(board, self.arguments, self.version, self.wanted)
            try:
                charger.set_up()
                with step("Restart") as line:
                    board.reset()
                    line.end("done" if changed or charger.changed else "done; nothing had to be changed")
            except BaseException:
                board.abandon()  # a charger that was in service is so again
                raise
            return 0 if self.arguments.no_watch else self.watch(board, charger)

    def prepare(self) -> None:
        """Find out all that can be found out before the board is touched."""
        arguments = self.arguments
        if not arguments.only_app:
            self.wanted = config.given(arguments)
            if not sys.stdin.isatty() and questions.ASK in self.wanted.fields.values():
                raise FlashError("there is no terminal to ask for the password or key: give it with its option")
            questions.secrets(self.wanted)
            config.check_given(self.wanted)
        with step("Port") as line:
            self.port, what = ports.find(arguments.port)
            line.end(f"{self.port} ({what})" if what and what != "n/a" else self.port)
        if not self.version:
            return
        with step(f"Application {self.version}") as line:
            bundle = files.bundle(self.version)
            line.end(f"{len(files.compiled(self.version))} files, {len(bundle) // 1024} KiB")

    def watch(self, board: Board, charger: Charger) -> int:
        """Watch the charger until it is registered; return the exit status."""
        patience = self.arguments.timeout
        print(f"What the charger says until it is registered, for {patience:g} s at most (Ctrl-C ends it):", flush=True)
        outcome = watch.follow(
            board,
            patience,
            lambda line: print(f"  | {line}", flush=True),
            lambda advice: print(f"  ! {advice}", flush=True),
        )
        if not outcome.registered:
            advice = outcome.advice or (
                f"press EN or RESET, and look at what it says: mpremote connect {self.port}"
                if not outcome.heard
                else "it may only be slow: --only-config --timeout 300 looks again, for longer"
            )
            print(f"flash.py: the charger is not registered: {advice}", file=sys.stderr)
            return 1
        place = f" at {charger.fields['csms']}" if charger.fields else ""
        print(f"{charger.fields.get('id', 'The charger')} is registered{place}.", flush=True)
        if self.version and outcome.version not in ("", self.version):
            say(f"Application {outcome.version} runs, of {outcome.slot}, and not {self.version}: see above")
        return 0
