"""Small records that survive power cuts: one namespace of ESP-IDF's NVS."""

import esp32
from micropython import const

_NOT_FOUND = const(-4354)  # ESP_ERR_NVS_NOT_FOUND
_INVALID_LENGTH = const(-4364)  # ESP_ERR_NVS_INVALID_LENGTH: the buffer is too small
_LARGEST = const(8192)


class Store:
    """Keys of at most 15 characters, values of at most 8,192 bytes. OSError when NVS fails."""

    def __init__(self, namespace):
        self.nvs = esp32.NVS(namespace)

    def get(self, key):
        """Return the value of `key` as bytes, or None when there is none."""
        size = 512
        while True:
            value = bytearray(size)
            try:
                return bytes(memoryview(value)[: self.nvs.get_blob(key, value)])
            except OSError as error:
                if error.errno == _NOT_FOUND:
                    return None
                if error.errno != _INVALID_LENGTH or size >= _LARGEST:
                    raise
                size *= 2

    def set(self, key, value):
        """Write `value` (bytes); it is durable on return, and a power cut leaves the old value or the new one."""
        self.nvs.set_blob(key, value)
        self.nvs.commit()
