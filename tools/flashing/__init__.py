"""The parts of tools/flash.py: an empty board becomes a charger."""
