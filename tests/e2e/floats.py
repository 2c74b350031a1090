"""Where the firmware has floats, and why single precision, exact up to 16,777,216, does for each of them.

tests/e2e/test_limits.py compares this with the sources. A time, a register in Wh, a position in a file and the number
of a message are ints all the way, and no float ever meets them.
"""

from __future__ import annotations

_TYPED = "calls.check() takes no float in place of an int; a float is only taken for a limit of a charging profile"
_OWN = "a record of our own, in which are only ints and text"
_LIMIT = "amps or watts up to 1,000,000; tenths of them up to 10,000,000 are exact"

FLOATS = {
    # {(file, expression): why}
    ("firmware/journal.py", "json.loads(self.store.get(_KEY) or b'{}')"): _OWN,
    ("firmware/push_peer.py", "json.loads(text)"): "only its texts are used",
    ("hw/board.py", "json.load(file)"): "config.json: hw/fitting.py takes ints only, and refuses what is none",
    ("hw/clock.py", "time.time()"): "an int on ESP32; a desk's float becomes one at once",
    ("hw/joining.py", "time.time()"): "an int on ESP32",
    ("hw/meter.py", "self.current(now) / 1000"): "mA of a phase, up to some 100,000, as A for a MeterValue",
    ("hw/pilot.py", "amps * _STEADY / 60"): "up to 51 A: a duty cycle of 55,705 at most",
    ("hw/pilot.py", "(amps / 2.5 + 64) * _STEADY / 100"): "up to 80 A: a product of 6,291,360 at most",
    ("hw/pilot.py", "amps / 2.5"): "up to 32",
    ("hw/pilot.py", "2.5"): "exact",
    ("ocpp/calls.py", "float"): "the type, in comparisons",
    ("ocpp/charging_profiles.py", "float"): "the type, in a table: limits up to 1,000,000",
    ("ocpp/charging_profiles.py", "0.05"): "compared with the rest of a limit of 10,000,000 tenths at most",
    ("ocpp/charging_profiles.py", "round(limit * 10)"): _LIMIT + "; a tenth read from decimals times 10 is whole again",
    ("ocpp/connectors.py", "json.loads(charge_point.store.get(_INOPERATIVE) or b'[]')"): _OWN,
    ("ocpp/id_tags.py", "json.loads(expiry)"): _OWN,
    ("ocpp/id_tags.py", "json.loads(parent)"): _OWN,
    ("ocpp/keys.py", "json.loads(store.get(_RECORD) or b'{}')"): "texts, of which keys.py makes ints by int()",
    ("ocpp/metering.py", "'%.1f' % number"): "amps of the meter or on offer; energy and power are ints",
    ("ocpp/reservation.py", "json.loads(charge_point.store.get(_RECORD) or b'[]')"): _OWN,
    ("ocpp/rpc.py", "json.loads(text)"): _TYPED,
    ("ocpp/schedules.py", "json.loads(line)"): _OWN,
    ("ocpp/schedules.py", "round(period['limit'] * 10)"): _LIMIT,
    ("ocpp/smart_charging.py", "'%.1f A' % limit"): _LIMIT,
    ("ocpp/smart_charging.py", "limit / 10"): _LIMIT,
    ("ocpp/smart_charging.py", "limit /= 10"): _LIMIT,
    ("ocpp/transaction_record.py", "json.loads(charge_point.files.read(_NAME) or _NOTHING)"): _OWN,
    ("ocpp/transaction_record.py", "json.loads(data)"): "a MeterValue: its values are text in JSON",
    ("ocpp/transaction_record.py", "json.loads(text)"): _OWN,
    ("tools/board/modules/config_copy.py", "json.loads(content)"): "only whether it is JSON, and an object",
}
