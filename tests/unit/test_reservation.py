import unittest

from ocpp.rpc import CallError
from station import NOON, Station

# As SteVe sends it.
RESERVE = {
    "connectorId": 1,
    "expiryDate": "2026-08-21T12:10:00.000Z",
    "idTag": "OWNER",
    "parentIdTag": "GROUP",
    "reservationId": 5,
}
TIMES = {
    600: RESERVE["expiryDate"],
    3600: "2026-08-21T13:00:00Z",
    -1: "2026-08-21T11:59:59Z",
    0: "2026-08-21T12:00:00Z",
}


class Reservation(unittest.TestCase):
    def setUp(self):
        self.start()

    def start(self, connectors=1, **keys):
        self.station = Station(connectors, **keys)
        self.point = self.station.point
        self.station.deliver()

    def reset(self, **options):
        self.station.reset(**options)
        self.point = self.station.point

    def reserve(self, number=1, reservation_id=5, tag="OWNER", parent=None, seconds=600):
        payload = dict(RESERVE, connectorId=number, reservationId=reservation_id, idTag=tag, expiryDate=TIMES[seconds])
        payload["parentIdTag"] = parent
        if not parent:
            payload.pop("parentIdTag")
        return self.station.call("ReserveNow", **payload)["status"]

    def cancel(self, reservation_id=5):
        return self.station.call("CancelReservation", reservationId=reservation_id)["status"]

    def code(self, action, payload):
        try:
            self.station.call(action, **payload)
        except CallError as error:
            return error.code

    def holds(self, number, tag="OTHER", parent=None):
        return self.point.call("reservation", "holds", self.point.connectors[number], tag, parent)

    def becomes(self, number, **news):
        self.station.outlets[number - 1].becomes(**news)

    @property
    def statuses(self):
        return [connector.status for connector in self.point.connectors[1:]]

    @property
    def reserved(self):
        """The reservationIds of all connectors, 0 first."""
        return [one.reservation and one.reservation[0] for one in self.point.connectors]

    # ---- made, replaced, cancelled

    def test_an_available_connector_is_reserved_and_says_so(self):
        self.assertEqual(self.station.call("ReserveNow", **RESERVE), {"status": "Accepted"})
        self.assertEqual(self.station.statuses(), ["1 Reserved"])
        self.assertEqual(self.point.connectors[1].reservation, [5, "OWNER", "GROUP", NOON + 600])

    def test_a_connector_that_is_not_available_says_why_not(self):
        self.start(4)
        self.becomes(1, state="B")
        self.becomes(2, error="GroundFailure")
        self.station.call("ChangeAvailability", connectorId=3, type="Inoperative")
        for number, status in ((1, "Occupied"), (2, "Faulted"), (3, "Unavailable"), (4, "Accepted")):
            self.assertEqual(self.reserve(number, number), status)
        self.assertEqual(self.reserve(4, 9), "Occupied")
        self.assertEqual(self.reserve(4, 9, "ANOTHER"), "Occupied")
        self.assertEqual(self.reserved, [None, None, None, None, 4])

    def test_a_charge_point_that_is_not_available_says_why_not(self):
        self.start(2)
        self.station.call("ChangeAvailability", connectorId=0, type="Inoperative")
        for number in (0, 1, 2):
            self.assertEqual(self.reserve(number), "Unavailable")

    def test_one_that_would_have_expired_is_rejected_if_the_clock_is_set(self):
        for seconds in (-1, 0):
            self.assertEqual(self.reserve(seconds=seconds), "Rejected")
        self.station.clock.seconds = None
        self.assertEqual(self.reserve(seconds=-1), "Accepted")

    def test_the_same_reservation_id_replaces_it(self):
        self.start(2)
        self.reserve(1, 5)
        self.assertEqual(self.reserve(1, 5, "ANOTHER", "GROUP", 3600), "Accepted")
        self.assertEqual(self.point.connectors[1].reservation, [5, "ANOTHER", "GROUP", NOON + 3600])
        self.assertEqual(self.reserve(2, 5), "Accepted")
        self.assertEqual(self.statuses, ["Available", "Reserved"])
        self.assertEqual(self.reserved, [None, None, 5])
        self.station.advance(600)
        self.assertEqual(self.statuses, ["Available", "Available"])

    def test_one_that_cannot_be_replaced_stays(self):
        self.start(2)
        self.becomes(2, state="B")
        self.reserve(1, 5)
        self.assertEqual(self.reserve(2, 5), "Occupied")
        self.assertEqual(self.reserve(1, 5, seconds=-1), "Rejected")
        self.assertEqual(self.reserved, [None, 5, None])
        self.station.store.full = True
        self.assertEqual(self.reserve(1, 5, "ANOTHER"), "Rejected")
        self.assertEqual(self.point.connectors[1].reservation[1], "OWNER")

    def test_one_that_cannot_be_recorded_is_rejected(self):
        self.station.store.full = True
        self.assertEqual(self.reserve(), "Rejected")
        self.assertEqual((self.reserved, self.statuses), ([None, None], ["Available"]))

    def test_cancelled_the_connector_is_available_again(self):
        self.reserve()
        self.station.deliver()
        self.assertEqual(self.cancel(6), "Rejected")
        self.assertEqual(self.cancel(), "Accepted")
        self.assertEqual(self.station.statuses(), ["1 Available"])
        self.assertEqual(self.cancel(), "Rejected")
        self.reset()
        self.assertEqual(self.reserved, [None, None])

    def test_every_field_is_checked(self):
        kind, size, count, form = (
            "TypeConstraintViolation",
            "PropertyConstraintViolation",
            "OccurenceConstraintViolation",
            "FormationViolation",
        )
        for code, change in (
            (kind, {"connectorId": "1"}),
            (kind, {"connectorId": True}),
            (kind, {"connectorId": 1.0}),
            (size, {"connectorId": -1}),
            (size, {"connectorId": 2}),
            (size, {"connectorId": 2**40}),
            (kind, {"expiryDate": 7}),
            (size, {"expiryDate": "soon"}),
            (size, {"expiryDate": "2026-13-01T00:00:00Z"}),
            (kind, {"idTag": None}),
            (size, {"idTag": "x" * 21}),
            (kind, {"parentIdTag": ["GROUP"]}),
            (size, {"parentIdTag": "x" * 21}),
            (kind, {"reservationId": "5"}),
            (size, {"reservationId": 2**40}),
            (form, {"evseId": 1}),
        ):
            self.assertEqual(self.code("ReserveNow", dict(RESERVE, **change)), code)
        for name in ("connectorId", "expiryDate", "idTag", "reservationId"):
            self.assertEqual(self.code("ReserveNow", {key: RESERVE[key] for key in RESERVE if key != name}), count)
        for code, payload in ((count, {}), (kind, {"reservationId": None}), (form, {"reservationId": 5, "more": 1})):
            self.assertEqual(self.code("CancelReservation", payload), code)
        self.assertEqual(self.reserved, [None, None])

    # ---- expiry, reset

    def test_it_expires_and_the_connector_is_available_again(self):
        self.reserve()
        self.station.deliver()
        self.station.advance(599)
        self.assertEqual(self.station.statuses(), [])
        self.station.advance(1)
        self.assertEqual(self.station.statuses(), ["1 Available"])
        self.assertEqual(self.reserve(1, 6, "ANOTHER", seconds=3600), "Accepted")

    def test_it_outlasts_a_reset_and_expires_after_it(self):
        self.reserve(parent="GROUP")
        self.reset()
        self.assertEqual(self.statuses, ["Reserved"])
        self.assertEqual(self.point.connectors[1].reservation, [5, "OWNER", "GROUP", NOON + 600])
        self.station.advance(600)
        self.assertEqual(self.statuses, ["Available"])
        self.reset()
        self.assertEqual(self.reserved, [None, None])

    def test_one_that_has_expired_during_an_outage_of_power_is_gone_soon(self):
        self.reserve()
        self.station.clock.seconds += 1000
        self.reset()
        self.station.advance(2)
        self.assertEqual((self.reserved, self.statuses), ([None, None], ["Available"]))

    def test_while_the_clock_is_not_set_it_stays(self):
        self.reserve()
        self.reset(clock=False)
        self.station.advance(1000)
        self.assertEqual(self.statuses, ["Reserved"])
        self.station.clock.set(NOON + 1000)
        self.station.advance(61)
        self.assertEqual(self.statuses, ["Available"])

    def test_a_far_expiry_is_looked_at_again_in_between(self):
        self.station.call("ReserveNow", **dict(RESERVE, expiryDate="2026-08-21T14:00:00Z"))
        for status in ("Reserved", "Available"):
            self.station.clock.passed += 3600
            self.station.clock.seconds += 3600
            self.point.fire()
            self.assertEqual(self.statuses, [status])

    def test_a_record_that_is_damaged_or_of_more_connectors_is_no_obstacle(self):
        for record in (b"", b"[", b"7", b"[7]", b"[[1,[5]]]", b"[[1,7]]", b'[["1",[5,"A",null,9]]]', b"{}", b"\xff",
                       b'[[7,[5,"OWNER",null,1787313700]]]'):  # fmt: skip
            self.station.store.records["reservations"] = record
            self.reset()
            self.assertEqual(self.reserve(), "Accepted")

    # ---- who may use it

    def test_it_holds_the_connector_for_the_id_tag_and_its_group(self):
        self.reserve(parent="GROUP")
        for tag, parent, holds in (
            ("OWNER", None, False),
            ("owner", "CLUB", False),
            ("OTHER", "GROUP", False),
            ("OTHER", "group", False),
            ("OTHER", None, True),
            ("OTHER", "CLUB", True),
            ("OTHER", "OWNER", True),
            ("GROUP", None, True),  # 3.10: a parentIdTag is no idTag
        ):
            self.assertEqual(self.holds(1, tag, parent), holds)

    def test_without_a_group_it_is_for_the_id_tag_alone(self):
        self.reserve()
        self.assertEqual([self.holds(1, "OTHER", parent) for parent in (None, "", "GROUP")], [True] * 3)

    def test_nothing_is_held_without_reservations(self):
        self.start(2)
        self.assertEqual([self.holds(1), self.holds(2)], [False, False])

    def test_the_owner_starts_and_the_transaction_has_the_reservation_id(self):
        self.reserve()
        self.station.deliver()
        self.becomes(1, state="B")
        self.station.card("OTHER")
        self.assertFalse(self.point.charging)
        self.station.card("OWNER")
        self.assertTrue(self.point.charging)
        started = [payload for action, payload in self.station.deliver() if action == "StartTransaction"]
        self.assertEqual([(one["idTag"], one["reservationId"]) for one in started], [("OWNER", 5)])
        self.assertEqual(self.reserved, [None, None])
        self.reset()
        self.assertEqual(self.reserved, [None, None])

    def test_one_of_the_group_starts_by_the_parent_that_the_central_system_tells(self):
        self.reserve(parent="GROUP")
        self.station.answers["Authorize"] = {"idTagInfo": {"status": "Accepted", "parentIdTag": "GROUP"}}
        self.becomes(1, state="B")
        self.station.card("OTHER")
        started = [payload for action, payload in self.station.deliver() if action == "StartTransaction"]
        self.assertEqual([(one["idTag"], one["reservationId"]) for one in started], [("OTHER", 5)])

    def test_a_full_store_does_not_keep_the_owner_from_it(self):
        self.reserve()
        self.station.store.full = True
        connector = self.point.connectors[1]
        self.assertEqual(self.point.call("reservation", "used", connector, "OWNER", None), 5)
        self.assertEqual(self.reserved, [None, None])

    def test_a_transaction_that_needs_no_reservation_ends_none(self):
        self.start(2)
        self.reserve(1)
        connector = self.point.connectors[2]
        self.assertIsNone(self.point.call("reservation", "used", connector, "OTHER", None))
        self.assertIsNone(self.point.call("reservation", "used", connector, "OWNER", None))  # it is for connector 1
        self.assertEqual(self.reserved, [None, 5, None])

    def test_it_is_dropped_for_good_with_its_timer(self):
        self.reserve()
        self.point.call("reservation", "drop", self.point.connectors[1])
        self.point.call("reservation", "drop", self.point.connectors[1])  # it has none any more
        self.assertEqual(self.reserved, [None, None])
        self.reset()
        self.assertEqual(self.reserved, [None, None])

    # ---- connector 0

    def test_connector_0_keeps_one_free_whichever_it_is(self):
        self.start(3)
        self.assertEqual(self.reserve(0), "Accepted")
        self.assertEqual(self.statuses, ["Available"] * 3)
        self.assertEqual([self.holds(number) for number in (1, 2, 3)], [False] * 3)
        self.station.charge(1, "A")
        self.assertEqual([self.holds(number) for number in (2, 3)], [False] * 2)
        self.station.charge(2, "B")
        self.assertTrue(self.holds(3))
        self.assertFalse(self.holds(3, "OWNER"))
        self.becomes(3, state="B")
        self.station.card("C")
        self.assertIsNone(self.point.connectors[3].transaction)
        self.station.card("OWNER")
        self.assertTrue(self.point.connectors[3].transaction)
        started = [payload for action, payload in self.station.deliver() if action == "StartTransaction"]
        self.assertEqual([one.get("reservationId") for one in started], [None, None, 5])
        self.assertEqual(self.reserved, [None] * 4)

    def test_what_is_reserved_faulted_or_unavailable_is_not_the_one_that_is_free(self):
        self.start(4)
        self.reserve(0, 5)
        self.reserve(1, 6, "ANOTHER")
        self.becomes(2, error="GroundFailure")
        self.station.call("ChangeAvailability", connectorId=3, type="Inoperative")
        self.assertTrue(self.holds(4))
        self.assertFalse(self.holds(1, "ANOTHER"))
        self.assertEqual(self.reserve(4, 7), "Occupied")  # the last one

    def test_when_its_owner_waits_at_a_connector_the_others_are_free(self):
        self.start(2)
        self.reserve(0)
        self.station.card("OWNER")
        self.assertEqual(self.statuses.count("Preparing"), 1)
        free = self.statuses.index("Available") + 1
        self.assertFalse(self.holds(free))

    def test_connector_0_says_why_not(self):
        self.start(2)
        self.becomes(1, state="B")
        self.becomes(2, error="GroundFailure")
        self.assertEqual(self.reserve(0), "Occupied")
        self.becomes(1, error="GroundFailure")
        self.assertEqual(self.reserve(0), "Faulted")
        self.start(1)
        self.assertEqual(self.reserve(0, 5), "Accepted")
        self.assertEqual(self.reserve(0, 6), "Occupied")
        self.assertEqual(self.reserve(1, 6), "Occupied")
        self.assertEqual(self.reserve(0, 5, "ANOTHER"), "Accepted")
        self.assertEqual(self.reserve(1, 5), "Accepted")  # from any to that one
        self.assertEqual(self.reserve(0, 5), "Accepted")
        self.assertEqual((self.reserved, self.statuses), ([5, None], ["Available"]))

    def test_connector_0_is_rejected_if_it_is_not_supported(self):
        point = self.point
        get = point.configuration.get
        point.configuration.get = lambda key: key != "ReserveConnectorZeroSupported" and get(key)
        self.assertEqual(self.reserve(0), "Rejected")

    def test_connector_0_expires_and_outlasts_a_reset_too(self):
        self.reserve(0)
        self.reset()
        self.assertEqual(self.reserved, [5, None])
        self.assertTrue(self.holds(1))
        self.station.advance(600)
        self.assertFalse(self.holds(1))


if __name__ == "__main__":
    unittest.main()
