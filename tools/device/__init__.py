"""What runs the tests of tests/device on a board, and a whole charger from the desk."""
