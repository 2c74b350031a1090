import unittest

from station import NOON, Station

REGISTER = "Energy.Active.Import.Register"
INTERVAL = "Energy.Active.Import.Interval"


class Charger(Station):
    """A Station that changes the intervals as main.py does, and tells in short what was sent."""

    def reset(self, clock=True):
        super().reset(clock)
        for key in ("MeterValueSampleInterval", "ClockAlignedDataInterval"):
            self.point.configuration.on_change(key, lambda: self.point.call("metering", "resume"))

    def values(self):
        """Deliver everything; return the MeterValues as (time, connector, context, {measurand: value})."""
        sent = self.deliver() + self.session.requests
        self.session.requests = []
        return [
            brief(value, payload["connectorId"])
            for action, payload in sent
            if action == "MeterValues"
            for value in payload["meterValue"]
        ]

    def times(self):
        return [value[0] for value in self.values()]

    def stopped(self):
        """Deliver everything; return the transactionData of the StopTransaction."""
        for action, payload in self.deliver():
            if action == "StopTransaction":
                return [brief(value, 1) for value in payload.get("transactionData", [])]


def brief(value, connector):
    samples = value["sampledValue"]
    figures = {sample["measurand"]: sample["value"] for sample in samples}
    return value["timestamp"][11:19], connector, samples[0]["context"], figures


class Sampled(unittest.TestCase):
    def test_values_come_at_each_interval_of_a_transaction_and_at_no_other_time(self):
        charger = Charger(MeterValueSampleInterval=60)
        charger.advance(200)
        self.assertEqual(charger.times(), [])
        charger.charge()
        charger.advance(185)
        self.assertEqual(charger.times(), ["12:04:20", "12:05:20", "12:06:20"])
        charger.card("TAG")
        charger.outlets[0].becomes("B")
        charger.advance(200)
        self.assertEqual(charger.times(), [])

    def test_they_are_of_the_transaction(self):
        charger = Charger(MeterValueSampleInterval=60)
        charger.charge()
        charger.advance(60, 3680)
        ((action, payload),) = [message for message in charger.deliver() if message[0] == "MeterValues"]
        self.assertEqual((payload["connectorId"], payload["transactionId"]), (1, 1))
        self.assertEqual(
            payload["meterValue"][0]["sampledValue"][0],
            {"value": "61", "context": "Sample.Periodic", "measurand": REGISTER, "unit": "Wh"},
        )

    def test_an_interval_of_zero_means_none(self):
        charger = Charger(MeterValueSampleInterval=0)
        charger.charge()
        charger.advance(1000)
        self.assertEqual(charger.times(), [])

    def test_another_interval_counts_at_once(self):
        charger = Charger(MeterValueSampleInterval=0)
        charger.charge()
        charger.advance(50)
        charger.call("ChangeConfiguration", key="MeterValueSampleInterval", value="20")
        charger.advance(30)
        self.assertEqual(charger.times(), ["12:01:00", "12:01:20"])
        charger.call("ChangeConfiguration", key="MeterValueSampleInterval", value="0")
        charger.advance(100)
        self.assertEqual(charger.times(), [])

    def test_each_connector_counts_for_itself(self):
        charger = Charger(connectors=2, MeterValueSampleInterval=60)
        charger.charge(1, "ONE")
        charger.advance(10)
        charger.charge(2, "TWO")
        charger.advance(60)
        self.assertEqual([value[:2] for value in charger.values()], [("12:01:00", 1), ("12:01:10", 2)])

    def test_what_was_sampled_without_a_link_is_sent_later(self):
        charger = Charger(MeterValueSampleInterval=60)
        charger.charge()
        charger.deliver()
        charger.session.registered = False
        charger.advance(120)
        charger.session.registered = True
        self.assertEqual(charger.times(), ["12:01:00", "12:02:00"])

    def test_data_for_the_stop_transaction_begins_and_ends_with_it(self):
        charger = Charger(MeterValueSampleInterval=60, MeterValuesSampledData="", StopTxnSampledData=REGISTER)
        charger.charge()
        charger.advance(70, 3600)
        self.assertEqual(charger.times(), [])
        charger.card("TAG")
        charger.outlets[0].becomes("B")
        self.assertEqual(
            charger.stopped(),
            [
                ("12:00:00", 1, "Transaction.Begin", {REGISTER: "0"}),
                ("12:01:00", 1, "Sample.Periodic", {REGISTER: "60"}),
                ("12:01:10", 1, "Transaction.End", {REGISTER: "70"}),
            ],
        )

    def test_without_keys_for_it_stop_transaction_has_no_data(self):
        charger = Charger()
        charger.charge()
        charger.card("TAG")
        charger.outlets[0].becomes("B")
        self.assertEqual(charger.stopped(), [])


class Aligned(unittest.TestCase):
    def test_values_come_at_multiples_of_the_interval_from_midnight(self):
        charger = Charger(ClockAlignedDataInterval=900, MeterValuesAlignedData=REGISTER)
        charger.clock.seconds += 100
        charger.reset()
        charger.advance(1750)
        self.assertEqual(
            charger.values(),
            [
                ("12:15:00", 1, "Sample.Clock", {REGISTER: "0"}),
                ("12:30:00", 1, "Sample.Clock", {REGISTER: "0"}),
            ],
        )

    def test_an_interval_that_does_not_divide_a_day_begins_anew_at_midnight(self):
        charger = Charger(ClockAlignedDataInterval=50000)
        charger.clock.seconds = NOON + 12 * 3600 - 20
        charger.reset()
        charger.advance(30)
        self.assertEqual(charger.times(), ["00:00:00"])

    def test_they_come_of_all_connectors_durable_in_a_transaction(self):
        charger = Charger(connectors=2, ClockAlignedDataInterval=900, MeterValueSampleInterval=0)
        charger.charge(1)
        charger.deliver()
        charger.session.registered = False
        charger.advance(900)
        charger.session.registered = True
        charger.advance(900)
        self.assertEqual(
            sorted([value[:3] for value in charger.values()]),
            [("12:15:00", 1, "Sample.Clock"), ("12:30:00", 1, "Sample.Clock"), ("12:30:00", 2, "Sample.Clock")],
        )

    def test_outside_of_a_transaction_they_have_no_transaction_id(self):
        charger = Charger(ClockAlignedDataInterval=60)
        charger.advance(60)
        ((action, payload),) = charger.session.requests
        self.assertEqual((action, payload["connectorId"], "transactionId" in payload), ("MeterValues", 1, False))

    def test_nothing_is_sent_that_may_not_be_sent(self):
        charger = Charger(ClockAlignedDataInterval=60)
        charger.session.takes_requests = False
        charger.advance(60)
        self.assertEqual(charger.session.requests, [])

    def test_a_clock_that_is_set_does_not_make_them_unaligned(self):
        charger = Charger(ClockAlignedDataInterval=900)
        charger.advance(400)
        charger.clock.set(NOON + 500)
        charger.advance(520)
        self.assertEqual(charger.times(), [])  # 12:15:00 was over when the timer came
        charger.advance(900)
        self.assertEqual(charger.times(), ["12:30:00"])

    def test_a_timer_that_comes_a_second_early_waits_for_the_time(self):
        charger = Charger(ClockAlignedDataInterval=60)
        charger.advance(30)
        charger.clock.set(NOON + 29)
        charger.advance(31)
        self.assertEqual(charger.times(), ["12:01:00"])

    def test_they_wait_for_the_time_to_be_known(self):
        charger = Charger(ClockAlignedDataInterval=900)
        charger.reset(clock=False)
        charger.advance(1000)
        self.assertEqual(charger.times(), [])
        charger.clock.set(NOON + 800)
        charger.advance(110)
        self.assertEqual(charger.times(), ["12:15:00"])

    def test_another_interval_counts_at_once(self):
        charger = Charger()
        charger.advance(70)
        charger.call("ChangeConfiguration", key="ClockAlignedDataInterval", value="60")
        charger.advance(60)
        self.assertEqual(charger.times(), ["12:02:00"])
        charger.call("ChangeConfiguration", key="ClockAlignedDataInterval", value="0")
        charger.advance(200)
        self.assertEqual(charger.times(), [])

    def test_data_for_the_stop_transaction(self):
        charger = Charger(MeterValueSampleInterval=0, ClockAlignedDataInterval=60, StopTxnAlignedData=REGISTER)
        charger.charge()
        charger.advance(70, 3600)
        charger.card("TAG")
        charger.outlets[0].becomes("B")
        self.assertEqual(charger.stopped(), [("12:01:00", 1, "Sample.Clock", {REGISTER: "60"})])


class Values(unittest.TestCase):
    def test_every_measurand_has_its_unit_and_its_value(self):
        every = "Energy.Active.Import.Register,Energy.Active.Import.Interval,Power.Active.Import,Current.Import"
        charger = Charger(MeterValuesSampledData=every + ",Current.Offered,Power.Offered,Voltage")
        charger.charge()
        charger.outlets[0].energy = 100
        value = charger.point.call(
            "metering", "sampled", charger.point.connectors[1], "MeterValuesSampledData", "Sample.Periodic"
        )
        self.assertEqual(
            [(sample["measurand"], sample["value"], sample["unit"]) for sample in value["sampledValue"]],
            [
                (REGISTER, "100", "Wh"),
                (INTERVAL, "100", "Wh"),
                ("Power.Active.Import", "3680", "W"),
                ("Current.Import", "16.0", "A"),
                ("Current.Offered", "16", "A"),
                ("Power.Offered", "3680", "W"),
                ("Voltage", "230", "V"),
            ],
        )

    def test_what_the_meter_does_not_measure_is_left_out(self):
        charger = Charger(MeterValuesSampledData="Voltage,Current.Import")
        charger.outlets[0].values = lambda: {REGISTER: 0}
        for outlet in (charger.outlets[0], None):
            charger.point.connectors[1].outlet = outlet
            value = charger.point.call(
                "metering", "sampled", charger.point.connectors[1], "MeterValuesSampledData", "Trigger"
            )
            self.assertIsNone(value)

    def test_energy_of_an_interval_is_since_the_last_value_and_begins_with_the_transaction(self):
        charger = Charger(MeterValuesSampledData=INTERVAL)
        charger.outlets[0].energy = 1000
        charger.charge()
        charger.advance(30, 3600)
        charger.call("TriggerMessage", requestedMessage="MeterValues")
        charger.advance(90, 3600)
        self.assertEqual([value[3][INTERVAL] for value in charger.values()], ["60", "60", "30"])

    def test_sampled_and_aligned_values_count_the_interval_apart(self):
        charger = Charger(
            MeterValuesSampledData=INTERVAL,
            MeterValuesAlignedData=INTERVAL,
            MeterValueSampleInterval=60,
            ClockAlignedDataInterval=90,
        )
        charger.charge()
        charger.advance(180, 3600)
        self.assertEqual(
            [(value[2], value[3][INTERVAL]) for value in charger.values()],
            [
                ("Sample.Periodic", "60"),
                ("Sample.Clock", "90"),
                ("Sample.Periodic", "60"),
                ("Sample.Clock", "90"),
                ("Sample.Periodic", "60"),
            ],
        )


if __name__ == "__main__":
    unittest.main()
