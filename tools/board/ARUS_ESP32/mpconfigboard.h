#define MICROPY_HW_BOARD_NAME "Arus charger"
#define MICROPY_HW_MCU_NAME "ESP32"

// Chargers use neither: less code in the slot, more memory for TLS.
#define MICROPY_PY_BLUETOOTH (0)
#define MICROPY_PY_ESPNOW (0)
