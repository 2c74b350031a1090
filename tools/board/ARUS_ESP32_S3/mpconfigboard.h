#define MICROPY_HW_BOARD_NAME "Arus charger"
#define MICROPY_HW_MCU_NAME "ESP32-S3"

// The log goes to the UART as well, for modules with a USB bridge beside the native USB.
#define MICROPY_HW_ENABLE_UART_REPL (1)

// Chargers use neither: less code in the slot, more memory for TLS.
#define MICROPY_PY_BLUETOOTH (0)
#define MICROPY_PY_ESPNOW (0)
