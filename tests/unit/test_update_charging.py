"""UpdateWhileCharging: what an update does when somebody charges."""

import unittest

from charger import Charger

DONE = ["Downloading", "Downloaded", "Installing"]


class TestUpdateWhileCharging(unittest.TestCase):
    def charger(self, policy, charging=True):
        charger = Charger()
        charger.policy = policy
        charger.station.charging = charging
        return charger

    def test_stop_ends_charging_before_the_first_erase_and_before_anything_is_fetched(self):
        charger = self.charger("stop")
        seen = []
        stop = charger.station.stop_charging

        async def stop_charging(reason):
            seen.append((reason, charger.station.held, charger.slots.flash.operations, charger.server.requests[:]))
            await stop(reason)

        charger.station.stop_charging = stop_charging
        charger.update()
        self.assertEqual(seen, [("Reboot", True, 0, [])])
        self.assertEqual(charger.told, DONE)
        self.assertTrue("Charging ends for the update" in charger.log)

    def test_wait_takes_nobody_new_and_begins_when_the_last_has_left(self):
        charger = self.charger("wait")
        charger.update(until=lambda: "The update waits until charging ends" in charger.log)
        self.assertTrue(charger.station.held)
        self.assertEqual((charger.server.requests, charger.told), ([], []))
        charger.station.end_charging()
        charger.run()
        self.assertEqual(charger.told, DONE)

    def test_download_fetches_meanwhile_and_installs_when_the_last_has_left(self):
        charger = self.charger("download")
        held = []
        open_source = charger.server.open_source

        async def watched(*arguments, **options):
            held.append(charger.station.held)
            return await open_source(*arguments, **options)

        charger.server.open_source = watched
        charger.reset()
        charger.station.charging = True
        charger.update(until=lambda: charger.told[-1:] == ["InstallScheduled"])
        self.assertEqual(held, [False])
        self.assertTrue(charger.station.held)
        self.assertTrue(charger.station.charging)
        self.assertFalse(charger.slots.flash.boots)
        charger.station.end_charging()
        charger.run()
        self.assertEqual(charger.told, ["Downloading", "Downloaded", "InstallScheduled", "Installing"])
        self.assertTrue(charger.slots.flash.boots)

    def test_a_reset_while_the_installation_waits_does_not_lose_it(self):
        charger = self.charger("download")
        charger.update(until=lambda: charger.told[-1:] == ["InstallScheduled"])
        charger.reset()  # which ended the transaction
        charger.run()
        self.assertEqual(charger.told, ["Downloading", "Downloaded", "InstallScheduled", "Installing"])
        self.assertEqual(charger.server.requests, [0])

    def test_connectors_are_held_during_the_download_also_after_a_reset(self):
        charger = self.charger("stop", charging=False)
        charger.slots.flash.cut_at = 4
        charger.update()
        charger.reset()
        charger.run(until=lambda: len(charger.server.requests) == 2)
        self.assertTrue(charger.station.held)

    def test_every_failure_puts_the_connectors_back(self):
        for policy in ("stop", "wait", "download"):
            for data in (b"<html>", None):
                charger = Charger(data)
                charger.policy = policy
                if not data:
                    charger.server.refusals = [OSError(104, "reset")] * 9
                charger.update(retries=2)
                self.assertFalse(charger.station.held)
                self.assertFalse(charger.journal.busy)


if __name__ == "__main__":
    unittest.main()
