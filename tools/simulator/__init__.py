"""The ESP32 on the desk.

A chip is a folder with a flash file. Switched on (chip.Chip), its bootloader (bootloader.py) chooses and checks an OTA
slot as ESP-IDF's does; then the unix port of MicroPython runs what is in that slot and on the VFS, with modules/ for
esp32, machine and network. A reset ends the process and starts the next one.

modules/ runs on MicroPython only. flash.py, image.py, otadata.py, partitions.py and state.py run on both sides.
"""
