# What all boards of this project share. A board's mpconfigboard.cmake sets IDF_TARGET and ARUS_FRAGMENTS, the sdkconfig
# fragments of MicroPython's port that it wants, and includes this file.

# The version gets into the application descriptor of the image, and from there into BootNotification.
if(NOT ARUS_VERSION AND NOT UPDATE_SUBMODULES)
    message(FATAL_ERROR "No version: run tools/build.py image --version 1.2.3, or give make CMAKE_ARGS=-DARUS_VERSION=1.2.3")
endif()
set(PROJECT_VER "${ARUS_VERSION}")

# Names of fragments have come and gone between versions of MicroPython; the base is one that every version has.
set(SDKCONFIG_DEFAULTS "")
foreach(fragment ${ARUS_FRAGMENTS})
    if(EXISTS ${CMAKE_SOURCE_DIR}/${fragment})
        list(APPEND SDKCONFIG_DEFAULTS ${CMAKE_SOURCE_DIR}/${fragment})
    endif()
endforeach()
if(NOT EXISTS ${CMAKE_SOURCE_DIR}/boards/sdkconfig.base)
    message(FATAL_ERROR "This MicroPython has no ports/esp32/boards/sdkconfig.base: tools/board knows 1.25 to 1.29")
endif()

# Only cmake knows where the table is: ESP-IDF would look for a relative path in the port's folder.
set(ARUS_TABLE ${CMAKE_BINARY_DIR}/sdkconfig.table)
file(WRITE ${ARUS_TABLE}
    "CONFIG_PARTITION_TABLE_CUSTOM=y\n"
    "CONFIG_PARTITION_TABLE_CUSTOM_FILENAME=\"${MICROPY_BOARD_DIR}/partitions.csv\"\n"
)

# The last word on a setting counts.
list(APPEND SDKCONFIG_DEFAULTS
    ${MICROPY_BOARD_DIR}/../sdkconfig.arus
    ${MICROPY_BOARD_DIR}/sdkconfig.board
    ${ARUS_TABLE}
)

# Puts the project's name into the application descriptor.
list(APPEND EXTRA_COMPONENT_DIRS ${MICROPY_BOARD_DIR}/../app_name)

# For a make without FROZEN_MANIFEST.
set(MICROPY_FROZEN_MANIFEST ${MICROPY_BOARD_DIR}/../manifest.py)
