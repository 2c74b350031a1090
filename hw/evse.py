"""The contactors: one output pin for each connector that has one, high to close it."""

from machine import Pin


def build(connectors, log):
    """Return contactor(connector, closed), which switches the contactor of a connector.

    connectors: of config.json, {"contactor": pin} of connector 1, 2, …; all contactors are open on return. ValueError
    for what is no output pin.
    """
    pins = []
    for connector in connectors:
        pin = connector.get("contactor")
        pins.append(pin if pin is None else Pin(pin, Pin.OUT, value=0))

    def contactor(connector, closed):
        pin = pins[connector - 1] if connector <= len(pins) else None
        if pin:
            pin.value(closed)
        what = "contactor" if pin else "there is no contactor in config.json that would be"
        log("Connector %d: %s %s" % (connector, what, "closed" if closed else "open"))

    return contactor
