import unittest

from ocpp.calls import answer, check
from ocpp.rpc import CallError
from station import Station

# The calls of OCPP 1.6 that a charge point gets, with payloads as a central system sends them.
CALLS = {
    "CancelReservation": {"reservationId": 1},
    "ChangeAvailability": {"connectorId": 0, "type": "Operative"},
    "ChangeConfiguration": {"key": "HeartbeatInterval", "value": "60"},
    "ClearCache": {},
    "ClearChargingProfile": {},
    "DataTransfer": {"vendorId": "Foo"},
    "GetCompositeSchedule": {"connectorId": 1, "duration": 60},
    "GetConfiguration": {},
    "GetDiagnostics": {"location": "foo"},
    "GetLocalListVersion": {},
    "RemoteStartTransaction": {"idTag": "TAG"},
    "RemoteStopTransaction": {"transactionId": 1},
    "ReserveNow": {"connectorId": 1, "expiryDate": "2026-08-21T13:00:00Z", "idTag": "TAG", "reservationId": 1},
    "Reset": {"type": "Soft"},
    "SendLocalList": {"listVersion": 1, "updateType": "Full"},
    "SetChargingProfile": {
        "connectorId": 0,
        "csChargingProfiles": {
            "chargingProfileId": 1,
            "stackLevel": 0,
            "chargingProfilePurpose": "TxDefaultProfile",
            "chargingProfileKind": "Relative",
            "chargingSchedule": {
                "chargingRateUnit": "A",
                "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 10.5}],
            },
        },
    },
    "TriggerMessage": {"requestedMessage": "Heartbeat"},
    "UnlockConnector": {"connectorId": 1},
    "UpdateFirmware": {"location": "http://host/file", "retrieveDate": "2026-08-21T13:00:00Z"},
}
SECURITY = (
    "CertificateSigned DeleteCertificate ExtendedTriggerMessage GetInstalledCertificateIds GetLog InstallCertificate "
    "SignedUpdateFirmware"
)


def code_of(function, *arguments):
    """Return the code of the CallError that a call raises, or None."""
    try:
        function(*arguments)
    except CallError as error:
        return error.code


class Answer(unittest.TestCase):
    def setUp(self):
        self.station = Station()

    def code(self, action, payload):
        return code_of(answer, self.station.point, action, payload)

    def test_every_call_of_the_standard_is_answered_with_an_object(self):
        self.station.point.updater.request = lambda *arguments: None
        self.station.point.upload = None
        for action, payload in CALLS.items():
            if action == "GetDiagnostics":
                continue  # see test_diagnostics
            result, _ = answer(self.station.point, action, dict(payload))
            self.assertIsInstance(result, dict, action)

    def test_every_call_refuses_a_field_that_the_standard_does_not_have(self):
        for action, payload in CALLS.items():
            self.assertEqual(self.code(action, dict(payload, foo=1)), "FormationViolation", action)

    def test_every_call_refuses_a_missing_field_and_one_of_another_type(self):
        optional = "GetConfiguration ClearCache ClearChargingProfile GetLocalListVersion"
        for action, payload in CALLS.items():
            if action not in optional.split():
                self.assertEqual(self.code(action, {}), "OccurenceConstraintViolation", action)
            for name in payload:
                for value in (None, True, [], {}, 1.5):
                    if type(value) is not type(payload[name]):
                        code = self.code(action, dict(payload, **{name: value}))
                        self.assertEqual(code, "TypeConstraintViolation", (action, name, value))

    def test_payload_is_checked_before_the_handler_runs(self):
        self.assertEqual(self.code("Reset", {}), "OccurenceConstraintViolation")
        self.assertEqual(self.station.resets, [])

    def test_handler_may_name_what_follows_the_answer(self):
        result, after = answer(self.station.point, "Reset", {"type": "Soft"})
        self.assertEqual((result, self.station.resets), ({"status": "Accepted"}, []))
        after()
        self.assertEqual(self.station.resets, ["Soft"])

    def test_calls_of_the_security_extension_are_not_supported(self):
        for action in SECURITY.split():
            self.assertEqual(self.code(action, {}), "NotSupported", action)

    def test_other_action_is_not_implemented(self):
        for action in (
            "Foo",
            "",
            " ",
            "core",
            "clearcache",
            "Heartbeat",
            "FirmwareStatusNotification",
            "ClearCache DataTransfer",
            "x" * 999,
        ):
            self.assertEqual(self.code(action, {}), "NotImplemented", action)


FIELDS = {
    "text": (str, 5, True),
    "kind": (str, ("Hard", "Soft"), False),
    "date": (str, "date-time", False),
    "number": (int, 100, False),
    "level": (int, (-5, 5), False),
    "id": (int, None, False),
    "limit": (float, 1000, False),
    "rate": (float, None, False),
    "texts": (list, (str, 5, 3), False),
    "whatever": (dict, None, False),
    "part": (dict, {"name": (str, 5, True), "items": (list, (dict, {"at": (int, 9, True)}, 2), False)}, False),
}


class Check(unittest.TestCase):
    def code(self, **payload):
        payload.setdefault("text", "x")
        return code_of(check, payload, FIELDS)

    def each(self, code, name, *values):
        for value in values:
            self.assertEqual(self.code(**{name: value}), code, (name, value))

    def test_what_fits_passes(self):
        self.assertIsNone(self.code(text="", kind="Soft", number=0, texts=[], level=-5, id=-(1 << 40), limit=0))
        self.assertIsNone(self.code(text="12345", kind="Hard", number=100, texts=["", "12345", "x"], level=5))
        self.each(None, "date", "2026-08-21T12:00:00Z", "2026-08-21T12:00:00.000+02:00", "2026-08-21T12:00:00")
        self.each(None, "limit", 0.0, 8.1, 1000)
        self.each(None, "rate", -1, -1.5, 1e30)
        self.each(None, "whatever", {}, {"any": [1, None]})
        self.each(None, "part", {"name": "x"}, {"name": "x", "items": []}, {"name": "x", "items": [{"at": 1}] * 2})

    def test_missing_field(self):
        self.assertEqual(code_of(check, {"kind": "Soft"}, FIELDS), "OccurenceConstraintViolation")
        self.each("OccurenceConstraintViolation", "part", {}, {"items": []}, {"name": "x", "items": [{}]})

    def test_unknown_field(self):
        self.assertEqual(self.code(other=1), "FormationViolation")
        for name in (None, 7, "x" * 999):
            self.assertEqual(code_of(check, {"text": "x", name: 1}, FIELDS), "FormationViolation")
        self.each("FormationViolation", "part", {"name": "x", "at": 1}, {"name": "x", "items": [{"at": 1, "x": 1}]})

    def test_wrong_type(self):
        self.each("TypeConstraintViolation", "text", None, 1, True, 1.5, [], {})
        self.each("TypeConstraintViolation", "date", None, 1787313600)
        self.each("TypeConstraintViolation", "number", None, "1", True, 1.0, [], {})
        self.each("TypeConstraintViolation", "limit", None, "1", True, [], {})
        self.each("TypeConstraintViolation", "texts", None, "x", {}, [1], ["x", None], [[]])
        self.each("TypeConstraintViolation", "part", None, "x", [], {"name": 1}, {"name": "x", "items": [[]]})

    def test_a_number_is_finite(self):
        self.each("TypeConstraintViolation", "rate", float("inf"), float("-inf"), float("nan"))
        self.each("TypeConstraintViolation", "limit", float("inf"), float("-inf"), float("nan"))

    def test_out_of_bounds(self):
        self.each("PropertyConstraintViolation", "text", "123456")
        self.each("PropertyConstraintViolation", "kind", "soft", "")
        self.each("PropertyConstraintViolation", "texts", ["x", "123456"])
        self.each("PropertyConstraintViolation", "date", "", "tomorrow", "2026-13-01T00:00:00Z", "2" * 999)
        self.each("PropertyConstraintViolation", "number", -1, 101, 1 << 80)
        self.each("PropertyConstraintViolation", "level", -6, 6)
        self.each("PropertyConstraintViolation", "limit", -0.1, 1000.1, 1001)
        self.each("PropertyConstraintViolation", "part", {"name": "x", "items": [{"at": 10}]})

    def test_lists_have_no_more_items_than_they_may(self):
        self.each("OccurenceConstraintViolation", "texts", ["x"] * 4, [None] * 1000)
        self.each("OccurenceConstraintViolation", "part", {"name": "x", "items": [{"at": 1}] * 3})


if __name__ == "__main__":
    unittest.main()
