"""What happens at a connector, from the plug and the card to the messages (OCPP 1.6, 4.1, 4.8, 4.9)."""

import unittest

from ocpp import connector_status
from station import Station

REFUSED = {"idTagInfo": {"status": "Invalid"}}


def messages(station):
    """Deliver everything; return it in short: "1 Charging", "Start TAG", "Stop Local"."""
    told = []
    for action, payload in station.deliver():
        if action == "StatusNotification":
            told.append("%d %s" % (payload["connectorId"], payload["status"]))
        elif action == "StartTransaction":
            told.append("Start " + payload["idTag"])
        elif action == "StopTransaction":
            told.append("Stop " + payload["reason"])
    return told


class Course(unittest.TestCase):
    def test_plug_first(self):
        station = Station()
        outlet = station.outlets[0]
        outlet.becomes("B")
        self.assertEqual(messages(station), ["1 Preparing"])
        station.card("TAG")
        self.assertTrue(outlet.permitted >= 6)
        self.assertEqual(messages(station), ["Start TAG"])
        outlet.becomes("C")
        self.assertTrue(outlet.closed)
        self.assertEqual(messages(station), ["1 Charging"])
        station.card("TAG")
        self.assertEqual(outlet.permitted, 0)
        self.assertTrue(station.point.charging)  # until the contactor has opened
        outlet.becomes("B")
        self.assertEqual(messages(station), ["1 Finishing", "Stop Local"])
        outlet.becomes("A")
        self.assertEqual(messages(station), ["1 Available"])

    def test_identification_first(self):
        station = Station()
        station.card("TAG")
        self.assertEqual(messages(station), ["1 Preparing"])
        self.assertFalse(station.point.charging)
        station.outlets[0].becomes("B")
        self.assertEqual(messages(station), ["Start TAG"])
        station.outlets[0].becomes("C")
        self.assertEqual(messages(station), ["1 Charging"])

    def test_nobody_comes_after_the_identification(self):
        station = Station(ConnectionTimeOut=30)
        station.card("TAG")
        station.advance(29)
        self.assertEqual(messages(station), ["1 Preparing"])
        station.advance(1)
        self.assertEqual(messages(station), ["1 Available"])
        station.outlets[0].becomes("B")
        self.assertFalse(station.point.charging)

    def test_nobody_identifies_after_plugging_in(self):
        station = Station(ConnectionTimeOut=30)
        station.outlets[0].becomes("B")
        station.advance(30)
        self.assertEqual(messages(station), ["1 Preparing", "1 Finishing"])
        station.card("TAG")  # may be late
        self.assertEqual(messages(station), ["1 Preparing", "Start TAG"])

    def test_the_same_card_again_takes_the_identification_back(self):
        station = Station()
        station.card("TAG")
        station.card("TAG")
        self.assertEqual(messages(station), ["1 Preparing", "1 Available"])

    def test_a_refused_card_begins_nothing(self):
        station = Station()
        station.answers["Authorize"] = REFUSED
        station.outlets[0].becomes("B")
        station.card("TAG")
        self.assertEqual(messages(station), ["1 Preparing"])
        self.assertEqual(station.outlets[0].permitted, 0)
        self.assertTrue("Card TAG is refused: Invalid" in station.log)

    def test_another_card_does_not_end_a_transaction(self):
        station = Station()
        station.charge(tag="A")
        station.card("B")
        self.assertTrue(station.point.charging)
        self.assertTrue(station.outlets[0].permitted)

    def test_a_card_with_the_same_parent_ends_it(self):
        station = Station()
        station.answers["Authorize"] = {"idTagInfo": {"status": "Accepted", "parentIdTag": "FAMILY"}}
        station.charge(tag="A")
        messages(station)
        station.card("B")
        station.outlets[0].becomes("B")
        stops = [payload for action, payload in station.deliver() if action == "StopTransaction"]
        self.assertEqual([(stop["reason"], stop["idTag"]) for stop in stops], [("Local", "B")])

    def test_a_car_that_does_not_stop_drawing_is_cut_off(self):
        station = Station()
        station.charge()
        station.outlets[0].permit = lambda amps: None  # it draws on
        station.card("TAG")
        self.assertTrue(station.point.charging)
        station.advance(10)
        self.assertFalse(station.point.charging)
        self.assertFalse(station.outlets[0].closed)

    def test_two_cars_and_two_cards(self):
        station = Station(connectors=2)
        station.outlets[1].becomes("B")
        station.card("A")
        self.assertEqual(station.point.connectors[2].transaction.tag, "A")
        station.card("B")
        self.assertEqual(station.point.connectors[1].tag, "B")
        station.card("C")
        self.assertTrue("Card C: no connector is free" in station.log)


class Suspended(unittest.TestCase):
    def test_a_car_that_does_not_want_more_is_suspended_ev(self):
        station = Station()
        station.charge()
        messages(station)
        station.outlets[0].becomes("B")
        self.assertEqual(messages(station), ["1 SuspendedEV"])
        station.outlets[0].becomes("C")
        self.assertEqual(messages(station), ["1 Charging"])

    def test_a_car_that_does_not_begin_in_ten_seconds_is_suspended_ev(self):
        station = Station()
        station.outlets[0].becomes("B")
        station.card("TAG")
        station.advance(9)
        self.assertEqual(messages(station), ["1 Preparing", "Start TAG"])
        station.advance(1)
        self.assertEqual(messages(station), ["1 SuspendedEV"])

    def test_a_limit_below_six_amps_is_suspended_evse(self):
        station = Station()
        connector = station.charge()
        messages(station)
        steps = ((5, "SuspendedEVSE", 0), (10, "Charging", 10), (99, None, 16), (None, None, 16))
        for amps, status, permitted in steps:
            connector.limit = amps
            station.point.call("connectors", "limited", 1)
            self.assertEqual(station.outlets[0].permitted, permitted)
            self.assertEqual(messages(station), ["1 " + status] if status else [])

    def test_unplugging_ends_it(self):
        station = Station()
        station.charge()
        messages(station)
        station.outlets[0].becomes("A")
        self.assertEqual(messages(station), ["1 Available", "Stop EVDisconnected"])

    def test_unplugging_suspends_it_if_it_is_said_so(self):
        station = Station(StopTransactionOnEVSideDisconnect="false")
        station.charge()
        messages(station)
        station.outlets[0].becomes("A")
        self.assertEqual(messages(station), ["1 SuspendedEV"])
        station.outlets[0].becomes("C")
        self.assertEqual(messages(station), ["1 Charging"])


class Refused(unittest.TestCase):
    """By the answer to StartTransaction."""

    def station(self, **keys):
        station = Station(**keys)
        station.answers["StartTransaction"] = dict(REFUSED, transactionId=7)
        station.charge()
        return station

    def test_it_ends(self):
        station = self.station()
        station.point.peek()
        station.deliver()
        self.assertEqual(station.outlets[0].permitted, 0)
        station.outlets[0].becomes("B")
        stops = [payload for action, payload in station.deliver() if action == "StopTransaction"]
        self.assertEqual([(stop["reason"], stop["transactionId"]) for stop in stops], [("DeAuthorized", 7)])

    def test_it_goes_on_without_energy_if_it_is_said_so(self):
        station = self.station(StopTransactionOnInvalidId="false")
        self.assertEqual(messages(station)[-1], "1 SuspendedEVSE")
        self.assertTrue(station.point.charging)
        self.assertEqual(station.outlets[0].permitted, 0)

    def test_it_gets_the_energy_that_is_left_to_it(self):
        station = self.station(StopTransactionOnInvalidId="false", MaxEnergyOnInvalidId="100")
        station.deliver()
        station.advance(60, power=3600)
        self.assertTrue(station.outlets[0].permitted)
        station.advance(60, power=3600)
        self.assertEqual(station.outlets[0].permitted, 0)


class Faults(unittest.TestCase):
    def test_an_idle_connector(self):
        station = Station()
        station.outlets[0].becomes(error="GroundFailure", info="input 32")
        action, payload = station.deliver()[0]
        self.assertEqual((payload["status"], payload["errorCode"]), ("Faulted", "GroundFailure"))
        self.assertEqual(payload["info"], "input 32")
        station.outlets[0].becomes(error="NoError")
        self.assertEqual(messages(station), ["1 Available"])

    def test_one_that_is_dangerous_ends_the_transaction(self):
        for error, info, reason in (
            ("GroundFailure", None, "Other"),
            ("OverCurrentFailure", None, "Other"),
            ("PowerSwitchFailure", None, "Other"),
            ("OtherError", "EmergencyStop", "EmergencyStop"),
        ):
            station = Station()
            station.charge()
            messages(station)
            station.outlets[0].becomes(error=error, info=info)
            self.assertFalse(station.outlets[0].closed)
            self.assertTrue("Stop " + reason in messages(station))
            self.assertEqual(station.point.connectors[1].status, "Faulted")
            station.outlets[0].becomes(error="NoError")
            self.assertEqual(messages(station), ["1 Finishing"])

    def test_a_disturbed_pilot_only_suspends_it(self):
        station = Station()
        station.charge()
        messages(station)
        station.outlets[0].becomes("E", error="EVCommunicationError")
        action, payload = station.deliver()[0]
        self.assertEqual((payload["status"], payload["errorCode"]), ("SuspendedEV", "EVCommunicationError"))
        station.outlets[0].becomes("C", error="NoError")
        self.assertEqual(messages(station), ["1 Charging"])

    def test_a_disturbed_pilot_without_a_car_is_a_fault(self):
        station = Station()
        station.outlets[0].becomes("E", error="EVCommunicationError")
        action, payload = station.deliver()[0]
        self.assertEqual((payload["status"], payload["errorCode"]), ("Faulted", "OtherError"))

    def test_a_connector_with_a_fault_takes_nobody(self):
        station = Station()
        station.outlets[0].becomes("B", error="GroundFailure")
        station.card("TAG")
        self.assertFalse(station.point.charging)
        self.assertEqual(station.outlets[0].permitted, 0)

    def test_who_waits_for_a_car_does_so_no_longer(self):
        station = Station()
        station.card("TAG")
        station.outlets[0].becomes(error="GroundFailure")
        self.assertIsNone(station.point.connectors[1].tag)


class Notifications(unittest.TestCase):
    def test_a_status_is_told_when_it_has_lasted(self):
        station = Station(MinimumStatusDuration=5)
        station.outlets[0].becomes("B")
        self.assertEqual(messages(station), [])
        station.advance(4)
        self.assertEqual(messages(station), [])
        station.advance(1)
        self.assertEqual(messages(station), ["1 Preparing"])

    def test_what_did_not_last_is_not_told(self):
        station = Station(MinimumStatusDuration=5)
        station.point.report_all()
        station.deliver()
        station.outlets[0].becomes("B")
        station.advance(3)
        station.outlets[0].becomes("A")
        station.advance(60)
        self.assertEqual(messages(station), [])

    def test_nothing_is_kept_for_a_central_system_that_is_not_there(self):
        station = Station()
        station.session.registered = False
        station.outlets[0].becomes("B")
        self.assertIsNone(station.point.peek())


class Service(unittest.TestCase):
    def operative(self, station, number, flag):
        station.point.call("connectors", "set_operative", station.point.connectors[number], flag)

    def test_out_of_service_survives_a_reset(self):
        station = Station(connectors=2)
        self.operative(station, 1, False)
        self.assertEqual(messages(station), ["1 Unavailable"])
        station.reset()
        statuses = [connector.status for connector in station.point.connectors]
        self.assertEqual(statuses, ["Available", "Unavailable", "Available"])
        self.operative(station, 1, True)
        station.reset()
        self.assertEqual(station.point.connectors[1].status, "Available")

    def test_all_of_it(self):
        station = Station(connectors=2)
        self.operative(station, 0, False)
        self.assertEqual(messages(station), ["0 Unavailable", "1 Unavailable", "2 Unavailable"])
        station.outlets[0].becomes("B")
        station.card("TAG")
        self.assertFalse(station.point.charging)

    def test_a_record_of_any_shape_is_no_obstacle(self):
        for record in (b"{}", b"[", b"7", b'["x"]', b"[99]"):
            station = Station()
            station.store.records["inoperative"] = record
            station.reset()
            self.assertEqual(station.point.connectors[1].status, "Available")

    def test_an_update_holds_who_waits_for_a_car(self):
        station = Station()
        station.card("TAG")
        station.point.hold()
        station.outlets[0].becomes("B")
        self.assertFalse(station.point.charging)


class Any(unittest.TestCase):
    def test_any_sequence_of_events_keeps_to_the_transitions_of_the_standard(self):
        seed = 1
        for _ in range(3):
            station = Station(connectors=2, ConnectionTimeOut=20)
            station.point.report_all()
            last = dict.fromkeys(range(3), "Available")
            station.deliver()
            for _ in range(300):
                seed = (seed * 1103515245 + 12345) & 0x3FFFFFFF
                what, number = seed >> 8 & 15, seed >> 16 & 1
                station.log.clear()
                outlet = station.outlets[number]
                if what < 6:
                    outlet.becomes("ABCDBC"[what] if outlet.state != "A" or what < 2 else "B")
                elif what < 9:
                    station.card("TAG%d" % (seed >> 20 & 3))
                elif what == 9:
                    outlet.becomes(error="GroundFailure")
                elif what < 12:
                    outlet.becomes(error="NoError")
                elif what == 12:
                    station.point.hold()
                    station.point.release()
                elif what == 13:
                    connector = station.point.connectors[number + 1]
                    station.point.call("connectors", "set_operative", connector, bool(seed >> 20 & 1))
                else:
                    station.advance(seed >> 20 & 15)
                for outlet, connector in zip(station.outlets, station.point.connectors[1:]):
                    if outlet.permitted:
                        self.assertTrue(
                            connector.transaction and connector.error == "NoError"
                        )  # there is no other here
                for action, payload in station.deliver():
                    if action == "StatusNotification":
                        number, status = payload["connectorId"], payload["status"]
                        before = last[number]
                        allowed = connector_status.TRANSITIONS[before].split()
                        self.assertTrue(status in allowed + [before], "%s to %s" % (before, status))
                        last[number] = status


if __name__ == "__main__":
    unittest.main()
