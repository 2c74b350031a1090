# An ESP32 module with 4 MiB of flash and no PSRAM, such as ESP32-WROOM-32E-N4.

set(IDF_TARGET esp32)
set(ARUS_FRAGMENTS
    boards/sdkconfig.base
    boards/sdkconfig.240mhz
)
include(${MICROPY_BOARD_DIR}/../arus.cmake)
