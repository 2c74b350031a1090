"""The values of the configuration keys; what the keys are is in keys.py, which is loaded when that matters."""

from binascii import crc32


class Configuration:
    """The value of each key.

    store keeps what the central system changed (get, set); overrides: {key: value} that takes the place of defaults.
    forget(module name) is called when a module has done its part.
    """

    def __init__(self, store, overrides, log=print, forget=lambda name: None):
        from . import keys

        self.store = store
        self._log = log
        self.forget = forget
        self._listeners = []
        self._values = {_place(key): value for key, value in keys.load(store, overrides, log).items()}
        forget("ocpp.keys")

    def get(self, key):
        """Return an int, a bool, a str, or bytes (AuthorizationKey: the password; empty while none is set)."""
        return self._values[_place(key)]

    def set(self, key, text):
        """Change a key, durably. Return the status of ChangeConfiguration.conf."""
        from . import keys

        before = self._values.get(_place(key))
        status, value = keys.change(self.store, key, before, text, self._log)
        self.forget("ocpp.keys")
        if status == "Accepted" and value != before:
            self._values[_place(key)] = value
            for listened, function in self._listeners:
                if listened == key:
                    function()
        return status

    def on_change(self, key, function):
        """Have function() called after each change of a key."""
        self._listeners.append((key, function))


def _place(key):
    """Return what stands for a key: the names would take 2 KB of the heap for good."""
    return hash(crc32(key))  # hash() because a small int takes no memory
