"""What tools/bench.py measures: one file per subject; on_mpy/ holds what runs on MicroPython."""
