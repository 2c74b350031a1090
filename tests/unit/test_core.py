import json
import unittest

from ocpp import core
from ocpp.keys import KEYS
from ocpp.rpc import CallError
from station import Station

# As SteVe sends them.
CHANGE_CONFIGURATION = '{"key":"HeartbeatInterval","value":"60"}'
GET_CONFIGURATION = '{"key":[]}'
GET_ONE = '{"key":["HeartbeatInterval"]}'


def code_of(station, action, **payload):
    """Return the code of the CALLERROR that a call is answered with, or None."""
    try:
        station.call(action, **payload)
    except CallError as error:
        return error.code


def reasons(station):
    """Deliver everything; return the Reasons of the StopTransactions."""
    return [payload["reason"] for action, payload in station.deliver() if action == "StopTransaction"]


class BootNotification(unittest.TestCase):
    def test_fields_have_the_standards_lengths(self):
        config = {"vendor": "v" * 30, "model": "m" * 30, "serial": "s" * 30, "id": "CP1"}
        self.assertEqual(
            core.boot_notification(config, "f" * 60),
            {
                "chargePointVendor": "v" * 20,
                "chargePointModel": "m" * 20,
                "chargePointSerialNumber": "s" * 25,
                "firmwareVersion": "f" * 50,
            },
        )

    def test_a_charger_without_a_serial_number_sends_none(self):
        payload = core.boot_notification({"vendor": "Arus", "model": "Desk"}, "1.0")
        self.assertEqual(payload, {"chargePointVendor": "Arus", "chargePointModel": "Desk", "firmwareVersion": "1.0"})


class Configuration(unittest.TestCase):
    def setUp(self):
        self.station = Station()

    def call(self, action, text):
        return self.station.call(action, **json.loads(text))

    def test_get_configuration_gives_all_keys_for_none(self):
        for payload in (GET_CONFIGURATION, "{}"):
            answer = self.call("GetConfiguration", payload)
            self.assertEqual([item["key"] for item in answer["configurationKey"]], sorted(KEYS))
            self.assertEqual(answer["unknownKey"], [])
            for item in answer["configurationKey"]:
                self.assertIsInstance(item["readonly"], bool)
                if item["key"] == "AuthorizationKey":
                    self.assertFalse("value" in item)
                else:
                    self.assertTrue(isinstance(item["value"], str) and len(item["value"]) <= 500)

    def test_all_keys_there_are_may_be_asked_for_by_name(self):
        answer = self.station.call("GetConfiguration", key=sorted(KEYS))
        self.assertEqual(len(answer["configurationKey"]), len(KEYS))

    def test_get_configuration_gives_the_keys_asked_for_and_names_unknown_ones(self):
        item = {"key": "HeartbeatInterval", "readonly": False, "value": "14400"}
        answer = self.call("GetConfiguration", GET_ONE)
        self.assertEqual(answer, {"configurationKey": [item], "unknownKey": []})
        answer = self.station.call("GetConfiguration", key=["Foo", "HeartbeatInterval", "Bar"])
        self.assertEqual(answer, {"configurationKey": [item], "unknownKey": ["Foo", "Bar"]})

    def test_get_configuration_with_too_many_keys_or_bad_ones_is_refused(self):
        most = self.station.point.configuration.get("GetConfigurationMaxKeys")
        self.assertIsNone(code_of(self.station, "GetConfiguration", key=["x"] * most))
        for key, code in (
            (["x"] * (most + 1), "OccurenceConstraintViolation"),
            (["x"] * 1000, "OccurenceConstraintViolation"),
            ("HeartbeatInterval", "TypeConstraintViolation"),
            (["x" * 51], "PropertyConstraintViolation"),
        ):
            self.assertEqual(code_of(self.station, "GetConfiguration", key=key), code)

    def test_change_configuration_changes_and_says_what_became_of_it(self):
        self.assertEqual(self.call("ChangeConfiguration", CHANGE_CONFIGURATION), {"status": "Accepted"})
        self.assertEqual(self.station.point.configuration.get("HeartbeatInterval"), 60)
        for key, value, status in (
            ("Foo", "1", "NotSupported"),
            ("NumberOfConnectors", "2", "Rejected"),
            ("HeartbeatInterval", "often", "Rejected"),
            ("MeterValuesSampledData", "SoC", "Rejected"),
        ):
            self.assertEqual(self.station.call("ChangeConfiguration", key=key, value=value), {"status": status})

    def test_reset_is_answered_first(self):
        self.assertEqual(self.station.call("Reset", type="Soft"), {"status": "Accepted"})
        self.station.call("Reset", type="Hard")
        self.assertEqual(self.station.resets, ["Soft", "Hard"])
        self.assertEqual(code_of(self.station, "Reset", type="soft"), "PropertyConstraintViolation")


class ClearCache(unittest.TestCase):
    def test_the_cache_is_empty_then(self):
        station = Station()
        station.card("TAG")
        self.assertTrue("id_cache" in station.files.contents)
        self.assertEqual(station.call("ClearCache"), {"status": "Accepted"})
        self.assertFalse("id_cache" in station.files.contents)

    def test_it_is_rejected_where_there_is_no_cache(self):
        station = Station(AuthorizationCacheEnabled=False)
        self.assertEqual(station.call("ClearCache"), {"status": "Rejected"})

    def test_it_is_rejected_when_storage_fails(self):
        station = Station()

        def remove(name):
            raise OSError(5, "flash is worn out")

        station.files.remove = remove
        self.assertEqual(station.call("ClearCache"), {"status": "Rejected"})


class ChangeAvailability(unittest.TestCase):
    def change(self, station, number, kind):
        return station.call("ChangeAvailability", connectorId=number, type=kind)["status"]

    def test_a_connector_goes_out_of_service_and_comes_back(self):
        station = Station(connectors=2)
        self.assertEqual(self.change(station, 1, "Inoperative"), "Accepted")
        self.assertEqual(station.statuses(), ["1 Unavailable"])
        self.assertEqual(self.change(station, 1, "Inoperative"), "Accepted")  # it is
        self.assertEqual(self.change(station, 1, "Operative"), "Accepted")
        self.assertEqual(self.change(station, 1, "Operative"), "Accepted")
        self.assertEqual(station.statuses(), ["1 Available"])

    def test_zero_means_the_charge_point_and_all_its_connectors(self):
        station = Station(connectors=2)
        self.assertEqual(self.change(station, 0, "Inoperative"), "Accepted")
        self.assertEqual(station.statuses(), ["0 Unavailable", "1 Unavailable", "2 Unavailable"])
        self.assertEqual(self.change(station, 0, "Operative"), "Accepted")
        self.assertEqual(station.statuses(), ["0 Available", "1 Available", "2 Available"])

    def test_it_survives_a_reset(self):
        station = Station(connectors=2)
        self.change(station, 2, "Inoperative")
        station.reset()
        self.assertEqual([one.status for one in station.point.connectors], ["Available", "Available", "Unavailable"])

    def test_while_a_transaction_runs_it_is_scheduled(self):
        for number in (1, 0):
            station = Station()
            station.charge()
            station.deliver()
            self.assertEqual(self.change(station, number, "Inoperative"), "Scheduled")
            self.assertEqual(station.point.connectors[1].status, "Charging")
            station.card("TAG")
            station.outlets[0].becomes("B")
            station.outlets[0].becomes("A")
            self.assertEqual(station.point.connectors[1].status, "Unavailable")

    def test_what_is_scheduled_can_be_taken_back(self):
        station = Station()
        station.charge()
        self.change(station, 1, "Inoperative")
        self.assertEqual(self.change(station, 1, "Operative"), "Accepted")
        station.card("TAG")
        station.outlets[0].becomes("A")
        self.assertEqual(station.point.connectors[1].status, "Available")

    def test_a_transaction_elsewhere_does_not_matter(self):
        station = Station(connectors=2)
        station.charge(1)
        self.assertEqual(self.change(station, 2, "Inoperative"), "Accepted")
        self.assertEqual(self.change(station, 0, "Inoperative"), "Scheduled")

    def test_an_unknown_connector_is_rejected(self):
        self.assertEqual(self.change(Station(), 2, "Inoperative"), "Rejected")

    def test_it_is_rejected_when_it_cannot_be_recorded(self):
        station = Station()
        station.store.full = True
        self.assertEqual(self.change(station, 1, "Inoperative"), "Rejected")
        self.assertEqual((station.point.connectors[1].operative, station.statuses()), (True, []))


PROFILE = {
    "chargingProfileId": 1,
    "stackLevel": 0,
    "chargingProfilePurpose": "TxProfile",
    "chargingProfileKind": "Relative",
    "chargingSchedule": {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 10.0}]},
}


class RemoteStart(unittest.TestCase):
    def begin(self, station, tag="TAG", **payload):
        status = station.call("RemoteStartTransaction", idTag=tag, **payload)["status"]
        station.run()
        return status

    def asked(self, station):
        return [payload["idTag"] for action, payload in station.session.calls if action == "Authorize"]

    def test_a_car_that_is_plugged_in_is_charged_at_once(self):
        station = Station()
        station.outlets[0].becomes("B")
        self.assertEqual(self.begin(station, connectorId=1), "Accepted")
        station.outlets[0].becomes("C")
        connector = station.point.connectors[1]
        self.assertEqual((connector.status, connector.transaction.tag), ("Charging", "TAG"))
        self.assertEqual(self.asked(station), [])

    def test_the_answer_comes_before_the_transaction(self):
        from ocpp.calls import answer

        station = Station()
        station.outlets[0].becomes("B")
        result, after = answer(station.point, "RemoteStartTransaction", {"idTag": "TAG"})
        self.assertEqual((result, station.point.charging), ({"status": "Accepted"}, False))
        after()
        station.settle()
        self.assertTrue(station.point.charging)

    def test_without_a_car_the_connector_waits_for_one(self):
        station = Station(ConnectionTimeOut=30)
        self.assertEqual(self.begin(station, connectorId=1), "Accepted")
        self.assertEqual(station.statuses(), ["1 Preparing"])
        station.advance(30)
        self.assertEqual(station.statuses(), ["1 Available"])
        self.assertFalse(station.point.charging)

    def test_without_a_connector_it_is_where_a_car_waits_or_the_first_free_one(self):
        station = Station(connectors=2)
        station.outlets[1].becomes("B")
        self.assertEqual(self.begin(station, "ONE"), "Accepted")
        self.assertEqual(station.point.connectors[2].transaction.tag, "ONE")
        self.assertEqual(self.begin(station, "TWO"), "Accepted")
        self.assertEqual(station.point.connectors[1].tag, "TWO")
        self.assertEqual(self.begin(station, "THREE"), "Rejected")

    def test_it_is_rejected_where_no_transaction_can_begin(self):
        station = Station(connectors=2)
        station.charge(1)
        for number in (0, 1, 3):
            self.assertEqual(self.begin(station, connectorId=number), "Rejected")
        station.call("ChangeAvailability", connectorId=2, type="Inoperative")
        self.assertEqual(self.begin(station, connectorId=2), "Rejected")
        station.call("ChangeAvailability", connectorId=2, type="Operative")
        station.outlets[1].becomes(error="GroundFailure")
        self.assertEqual(self.begin(station, connectorId=2), "Rejected")
        self.assertEqual(self.begin(station), "Rejected")

    def test_it_is_rejected_without_an_idtag_to_speak_of_and_during_an_update(self):
        station = Station()
        self.assertEqual(self.begin(station, ""), "Rejected")
        station.point.hold()
        self.assertEqual(self.begin(station), "Rejected")

    def test_there_are_no_remote_transactions_before_the_registration(self):
        station = Station()
        station.charge()
        station.deliver()
        station.session.registered = False
        number = station.point.connectors[1].transaction.id
        self.assertEqual(station.call("RemoteStopTransaction", transactionId=number), {"status": "Rejected"})
        self.assertEqual(self.begin(Station(), connectorId=1), "Accepted")
        station = Station()
        station.session.registered = False
        self.assertEqual(self.begin(station, connectorId=1), "Rejected")

    def test_a_reserved_connector_is_for_who_has_reserved_it(self):
        station = Station()
        station.call("ReserveNow", connectorId=1, expiryDate="2026-08-21T13:00:00Z", idTag="OWNER", reservationId=7)
        self.assertEqual(self.begin(station, "OTHER"), "Rejected")
        self.assertEqual(self.begin(station, "OTHER", connectorId=1), "Rejected")
        self.assertEqual(self.begin(station, "OWNER", connectorId=1), "Accepted")

    def test_the_idtag_is_authorized_first_if_it_is_to_be(self):
        station = Station(AuthorizeRemoteTxRequests=True)
        station.outlets[0].becomes("B")
        self.assertEqual(self.begin(station), "Accepted")
        self.assertEqual(self.asked(station), ["TAG"])
        self.assertTrue(station.point.charging)

    def test_nothing_begins_when_the_idtag_is_refused(self):
        station = Station(AuthorizeRemoteTxRequests=True)
        station.answers["Authorize"] = {"idTagInfo": {"status": "Blocked"}}
        station.outlets[0].becomes("B")
        self.assertEqual(self.begin(station, chargingProfile=PROFILE), "Accepted")
        self.assertFalse(station.point.charging)
        self.assertTrue("Blocked" in station.log[-1])
        self.assertEqual(station.point.connectors[1].limit, None)

    def test_a_reservation_of_the_same_group_is_known_when_the_idtag_has_been_authorized(self):
        for parent, begins in (("GROUP", True), ("OTHERS", False)):
            station = Station(AuthorizeRemoteTxRequests=True)
            station.answers["Authorize"] = {"idTagInfo": {"status": "Accepted", "parentIdTag": parent}}
            reservation = {"idTag": "OWNER", "parentIdTag": "GROUP", "reservationId": 7}
            station.call("ReserveNow", connectorId=1, expiryDate="2026-08-21T13:00:00Z", **reservation)
            station.outlets[0].becomes("B")
            self.assertEqual(self.begin(station, connectorId=1), "Accepted")
            self.assertEqual(station.point.charging, begins)

    def test_a_connector_that_was_taken_meanwhile_is_left_alone(self):
        station = Station(AuthorizeRemoteTxRequests=True)
        station.outlets[0].becomes("B")
        station.call("RemoteStartTransaction", idTag="LATE")
        station.point.call("identification", "authorize", 1, "FIRST", None)
        station.run()
        self.assertEqual(station.point.connectors[1].transaction.tag, "FIRST")
        self.assertTrue("not free for LATE" in station.log[-1])

    def test_the_charging_profile_holds_for_the_transaction(self):
        for first in (False, True):
            station = Station(AuthorizeRemoteTxRequests=first)
            station.outlets[0].becomes("B")
            self.assertEqual(self.begin(station, chargingProfile=PROFILE), "Accepted")
            self.assertEqual(station.outlets[0].permitted, 10)
            station.deliver()
            number = station.point.connectors[1].transaction.id
            station.call("RemoteStopTransaction", transactionId=number)
            self.assertEqual(station.point.connectors[1].limit, None)

    def test_a_charging_profile_that_waits_goes_with_its_idtag(self):
        station = Station(ConnectionTimeOut=30)
        self.begin(station, chargingProfile=PROFILE)
        station.advance(30)
        station.charge()
        self.assertEqual(station.outlets[0].permitted, 16)

    def test_another_purpose_than_txprofile_is_rejected(self):
        station = Station()
        profile = dict(PROFILE, chargingProfilePurpose="TxDefaultProfile")
        self.assertEqual(self.begin(station, chargingProfile=profile), "Rejected")

    def test_a_charging_profile_that_cannot_be_used_does_not_let_the_car_charge_without_it(self):
        station = Station()
        station.outlets[0].becomes("B")
        self.begin(station, chargingProfile=dict(PROFILE, stackLevel=99))
        self.assertFalse(station.point.charging)

    def test_a_malformed_charging_profile_is_a_callerror(self):
        for profile, code in (
            ({}, "OccurenceConstraintViolation"),
            (dict(PROFILE, foo=1), "FormationViolation"),
            (dict(PROFILE, stackLevel="0"), "TypeConstraintViolation"),
            ([], "TypeConstraintViolation"),
        ):
            self.assertEqual(code_of(Station(), "RemoteStartTransaction", idTag="TAG", chargingProfile=profile), code)


class RemoteStop(unittest.TestCase):
    def test_it_ends_the_transaction_of_that_id(self):
        station = Station()
        connector = station.charge()
        station.deliver()
        number = connector.transaction.id
        self.assertEqual(station.call("RemoteStopTransaction", transactionId=number + 1), {"status": "Rejected"})
        self.assertEqual(station.call("RemoteStopTransaction", transactionId=number), {"status": "Accepted"})
        station.outlets[0].becomes("B")
        self.assertEqual(reasons(station), ["Remote"])
        self.assertEqual(station.call("RemoteStopTransaction", transactionId=number), {"status": "Rejected"})

    def test_a_transaction_whose_id_is_not_known_yet_cannot_be_meant(self):
        station = Station()
        station.charge()
        self.assertEqual(station.call("RemoteStopTransaction", transactionId=0), {"status": "Rejected"})


class UnlockConnector(unittest.TestCase):
    def unlock(self, station, number=1):
        return station.call("UnlockConnector", connectorId=number)["status"]

    def test_the_lock_says_whether_it_is_open(self):
        station = Station()
        for works, status in ((True, "Unlocked"), (False, "UnlockFailed")):
            station.outlets[0].lock = works
            self.assertEqual(self.unlock(station), status)

    def test_a_transaction_ends_first(self):
        station = Station()
        station.outlets[0].lock = True
        station.charge()
        self.assertEqual(self.unlock(station), "Unlocked")
        self.assertFalse(station.outlets[0].closed)
        self.assertEqual(reasons(station), ["UnlockCommand"])

    def test_without_a_lock_it_is_not_supported_and_ends_nothing(self):
        station = Station()
        station.charge()
        self.assertEqual(self.unlock(station), "NotSupported")
        self.assertTrue(station.outlets[0].closed)

    def test_an_unknown_connector_is_not_supported(self):
        station = Station()
        station.outlets[0].lock = True
        for number in (0, 2, 9999):
            self.assertEqual(self.unlock(station, number), "NotSupported")


if __name__ == "__main__":
    unittest.main()
