import asyncio
import unittest

from station import Station


class Statuses(unittest.TestCase):
    def test_it_is_a_queue_of_the_outbox_that_is_empty_at_first(self):
        station = Station()
        self.assertTrue(station.point.outbox.queue is station.point)
        self.assertIsNone(station.point.peek())

    def test_every_connector_is_reported_after_an_acceptance(self):
        station = Station(connectors=2)
        station.point.report_all()
        self.assertEqual(station.statuses(), ["0 Available", "1 Available", "2 Available"])
        station.point.report_all()
        self.assertEqual(len(station.deliver()), 3)

    def test_payload_is_that_of_the_standard(self):
        station = Station()
        station.point.report(1)
        self.assertEqual(
            station.deliver(),
            [
                (
                    "StatusNotification",
                    {
                        "connectorId": 1,
                        "errorCode": "NoError",
                        "status": "Available",
                        "timestamp": "2026-08-21T12:00:00Z",
                    },
                )
            ],
        )

    def test_the_timestamp_is_that_of_the_change_and_not_of_the_sending(self):
        station = Station()
        station.point.report(1)
        station.advance(60)
        self.assertEqual(station.deliver()[0][1]["timestamp"], "2026-08-21T12:00:00Z")

    def test_there_is_no_timestamp_while_the_clock_is_not_set(self):
        station = Station()
        station.clock.seconds = None
        station.point.report(0)
        self.assertFalse("timestamp" in station.deliver()[0][1])

    def test_hold_and_release_report_every_connector_once(self):
        station = Station()
        station.point.hold()
        station.point.hold()
        self.assertEqual(station.statuses(), ["0 Unavailable", "1 Unavailable"])
        station.point.release()
        station.point.release()
        self.assertEqual(station.statuses(), ["0 Available", "1 Available"])

    def test_a_message_stays_the_head_when_all_are_reported_anew_meanwhile(self):
        station = Station()
        station.point.report(1)
        head = station.point.peek()
        station.point.report_all()
        self.assertTrue(station.point.peek() is head)
        station.point.pop({})
        self.assertEqual(station.statuses(), ["0 Available", "1 Available"])

    def test_no_more_than_a_few_wait_and_the_newest_stay(self):
        station = Station()
        for number in range(100):
            station.point.connectors[1].info = str(number)
            station.point.report(1)
        infos = [payload["info"] for _, payload in station.deliver()]
        self.assertEqual((len(infos), infos[-1]), (16, "99"))

    def test_a_refused_one_is_tried_again_but_not_for_ever(self):
        station = Station()
        station.point.report_all()
        refused = 0
        while station.point.peek():
            station.point.pop(None)
            refused += 1
        self.assertEqual(refused, 4)


class Timers(unittest.TestCase):
    def fired(self, station):
        return [line for line in station.log if line.startswith("Card ")]

    def test_each_fires_once_when_it_is_due(self):
        station = Station()
        station.answers["Authorize"] = {"idTagInfo": {"status": "Invalid"}}
        station.point.after(10, "identification", "card", "A")
        station.point.after(5, "identification", "card", "B")
        station.advance(4)
        self.assertEqual(self.fired(station), [])
        station.advance(1)
        self.assertEqual(self.fired(station), ["Card B"])
        station.advance(60)
        self.assertEqual(self.fired(station), ["Card B", "Card A"])

    def test_the_same_again_takes_the_place_of_the_earlier_one(self):
        station = Station()
        station.point.after(5, "identification", "card", "A")
        station.point.after(8, "identification", "card", "A")
        station.advance(7)
        self.assertEqual(self.fired(station), [])
        station.advance(5)
        self.assertEqual(self.fired(station), ["Card A"])

    def test_one_that_was_cancelled_does_not_fire(self):
        station = Station()
        station.point.after(5, "identification", "card", "A")
        station.point.cancel("identification", "card", "A")
        station.advance(10)
        self.assertEqual(self.fired(station), [])

    def test_fire_tells_how_long_there_is_nothing_to_do(self):
        station = Station()
        station.point.after(30, "identification", "card", "A")
        self.assertEqual(station.point.fire(), 30)
        self.assertTrue(Station().point.fire() <= 3600)

    def test_the_charge_point_lives_on_when_one_fails(self):
        station = Station()
        station.store.full = True
        station.point.after(0, "connectors", "set_operative", station.point.connectors[1], False)
        station.point.fire()
        self.assertTrue(any("set_operative" in line for line in station.log))

    def test_run_fires_what_is_due_and_what_is_added_later(self):
        station = Station()

        async def main():
            task = asyncio.create_task(station.point.run())
            await asyncio.sleep_ms(0)
            station.point.card("A")
            while not self.fired(station):
                await asyncio.sleep_ms(0)
            task.cancel()

        asyncio.run(asyncio.wait_for(main(), 5))
        self.assertEqual(self.fired(station), ["Card A"])


class Charging(unittest.TestCase):
    def test_stop_charging_opens_every_contactor_and_records_every_end(self):
        station = Station(connectors=2)
        station.charge(1, "A")
        station.charge(2, "B")
        station.deliver()
        for outlet in station.outlets:
            outlet.permit = lambda amps, outlet=outlet: outlet.becomes("B" if amps < 6 else "C")  # a willing car

        async def main():
            task = asyncio.create_task(station.point.run())
            await station.point.stop_charging("Reboot")
            task.cancel()

        asyncio.run(main())
        self.assertFalse(station.point.charging)
        self.assertFalse(any(outlet.closed for outlet in station.outlets))
        stops = [payload["reason"] for action, payload in station.deliver() if action == "StopTransaction"]
        self.assertEqual(stops, ["Reboot", "Reboot"])

    def test_until_free_waits_for_the_last_transaction(self):
        station = Station(connectors=2)
        station.charge(1, "A")
        station.charge(2, "B")
        ended = []

        async def main():
            async def wait():
                await station.point.until_free()
                ended.append(len(ended))

            task = asyncio.create_task(wait())
            for number in (1, 2):
                await asyncio.sleep_ms(0)
                self.assertEqual(ended, [])
                station.point.call("charging", "stop_now", station.point.connectors[number], "Other")
            await task

        asyncio.run(main())
        self.assertEqual(ended, [0])

    def test_a_connector_that_is_held_becomes_unavailable_when_its_transaction_ends(self):
        station = Station(connectors=2)
        station.charge(1)
        station.statuses()
        station.point.hold()
        self.assertEqual(station.statuses(), ["2 Unavailable"])
        station.card("TAG")
        station.outlets[0].becomes("B")
        self.assertEqual(station.statuses(), ["0 Unavailable", "1 Unavailable"])


if __name__ == "__main__":
    unittest.main()
