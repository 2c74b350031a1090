# An ESP32-S3 module with 8 MiB of flash, such as ESP32-S3-WROOM-1-N8 or -N8R2: PSRAM of 4 data lines is used if there.

set(IDF_TARGET esp32s3)
set(ARUS_FRAGMENTS
    boards/sdkconfig.base
    boards/sdkconfig.240mhz
    boards/sdkconfig.usb          # MicroPython 1.25 and 1.26
    boards/sdkconfig.spiram_sx    # up to 1.28
    boards/sdkconfig.spiram_quad  # from 1.29 on
)
include(${MICROPY_BOARD_DIR}/../arus.cmake)
