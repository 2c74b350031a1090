#define MICROPY_HW_BOARD_NAME "Arus charger"
#define MICROPY_HW_MCU_NAME "ESP32"

// MicroPython begins with 56 KiB and takes as much again when they are full, which TLS would lack then. A charger that
// charges and updates itself over TLS has 61 KB in use (tools/bench.py heap).
#define MICROPY_GC_INITIAL_HEAP_SIZE (72 * 1024)

// Chargers use neither: less code in the slot, more memory for TLS.
#define MICROPY_PY_BLUETOOTH (0)
#define MICROPY_PY_ESPNOW (0)
