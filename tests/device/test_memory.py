"""How much of the stack and the heap is left, after whatever this board has done since its last reset.

FreeRTOS fills the stack of a task with 0xA5 when it starts: what still is has never been touched, by Python, TLS or
any other C. A soft reset keeps the task.
"""

import gc
import sys
import unittest

import uctypes

try:
    from esp32 import HEAP_DATA, idf_heap_info
except ImportError:
    idf_heap_info = None

OnChip = unittest.TestCase if idf_heap_info else object  # unittest runs the classes of the first kind
NAME = b"mp_task\0"  # of the task that runs Python, in its control block, behind the address of its stack
LEAST = 4096  # bytes of the stack that must be left
# Where each chip has its memory for data.
MEMORY = {
    "ESP32": (0x3FFB0000, 0x40000000),
    "ESP32S2": (0x3FFB0000, 0x40000000),
    "ESP32S3": (0x3FC88000, 0x3FD00000),
    "ESP32C3": (0x3FC80000, 0x3FCE0000),
}


def unused_stack():
    """Return how many bytes of the stack have never been touched, or None."""
    chip = sys.implementation._machine.split(" with ")[-1]
    if chip not in MEMORY:
        return None
    start, end = MEMORY[chip]
    memory = uctypes.bytearray_at(start, end - start)
    at = memory.find(NAME)
    while at >= 0:
        stack = int.from_bytes(memory[at - 4 : at], "little") - start
        if 0 <= stack < len(memory) and memory[stack] == 0xA5:
            count = 0
            while memory[stack + count] == 0xA5:
                count += 1
            if count > 64:  # else it was but a look-alike
                return count
        at = memory.find(NAME, at + 1)
    return None


class ChipTest(unittest.TestCase):
    @unittest.skipUnless(idf_heap_info, "no ESP-IDF here, whose memory could be looked at: no real chip")
    def test_there_is_a_chip(self):
        pass


class MemoryTest(OnChip):
    def test_the_stack_has_room(self):
        unused = unused_stack()
        if unused is None:
            raise unittest.SkipTest("where this chip keeps its stack is not known here")
        print("\n# stack: %d bytes never touched since the last reset" % unused)
        self.assertTrue(unused >= LEAST, "%d bytes of stack left, %d are needed" % (unused, LEAST))

    def test_the_heap_at_the_prompt(self):
        gc.collect()
        regions = idf_heap_info(HEAP_DATA)
        print("\n# heap at the prompt: %d bytes free" % gc.mem_free())
        free, largest = sum(region[1] for region in regions), max(region[2] for region in regions)
        print("# ESP-IDF: %d bytes free, the largest piece %d" % (free, largest))
        print("# ESP-IDF, least ever: %d bytes" % sum(r[3] for r in regions))


if __name__ == "__main__":
    unittest.main()
