import json
import unittest

from ocpp.configuration import Configuration
from ocpp.keys import KEYS, answer
from scripted import Store

PASSWORD = b"sixteen-letters!"
HEX = "7369787465656e2d6c65747465727321"

MEASURANDS = (
    "Energy.Active.Import.Register",
    "Energy.Active.Import.Interval",
    "Power.Active.Import",
    "Power.Offered",
    "Current.Import",
    "Current.Offered",
    "Voltage",
)
# OCPP 1.6, 9, for all profiles.
REQUIRED = (
    "AuthorizeRemoteTxRequests ClockAlignedDataInterval ConnectionTimeOut ConnectorPhaseRotation "
    "GetConfigurationMaxKeys HeartbeatInterval LocalAuthorizeOffline LocalPreAuthorize MeterValuesAlignedData "
    "MeterValuesSampledData MeterValueSampleInterval NumberOfConnectors ResetRetries StopTransactionOnEVSideDisconnect "
    "StopTransactionOnInvalidId StopTxnAlignedData StopTxnSampledData SupportedFeatureProfiles "
    "TransactionMessageAttempts TransactionMessageRetryInterval UnlockConnectorOnEVSideDisconnect LocalAuthListEnabled "
    "LocalAuthListMaxLength SendLocalListMaxLength ChargeProfileMaxStackLevel ChargingScheduleAllowedChargingRateUnit "
    "ChargingScheduleMaxPeriods MaxChargingProfilesInstalled"
)
READ_ONLY = (
    "GetConfigurationMaxKeys NumberOfConnectors SupportedFeatureProfiles LocalAuthListMaxLength SendLocalListMaxLength "
    "ReserveConnectorZeroSupported ChargeProfileMaxStackLevel ChargingScheduleAllowedChargingRateUnit "
    "ChargingScheduleMaxPeriods MaxChargingProfilesInstalled MeterValuesSampledDataMaxLength"
)


class Point:
    """What keys.answer() needs of a charge point."""

    def __init__(self, configuration):
        self.configuration = configuration


def item(configuration, key):
    """The KeyValue of a key."""
    return answer(Point(configuration), {"key": [key]})["configurationKey"][0]


class Fixture:
    def __init__(self, stored=None, **overrides):
        self.store = Store()
        if stored is not None:
            self.store.records["configuration"] = stored
        self.log = []
        self.configuration = Configuration(self.store, overrides, self.log.append)

    def again(self):
        """The configuration after a reset."""
        return Configuration(self.store, {}, self.log.append)

    @property
    def stored(self):
        return json.loads(self.store.records["configuration"])


class Values(unittest.TestCase):
    def test_defaults_fit_their_own_limits(self):
        configuration = Fixture().configuration
        for key, (default, lowest, highest, _) in KEYS.items():
            value = configuration.get(key)
            self.assertEqual(value, default)
            if isinstance(lowest, tuple):
                self.assertEqual(configuration.set(key, value), "Accepted", key)
            elif not isinstance(value, bool):
                size = value if isinstance(value, int) else len(value)
                self.assertTrue(lowest <= size <= highest or value == b"", key)

    def test_changed_value_has_its_type_and_survives_a_reset(self):
        fixture = Fixture()
        self.assertEqual(fixture.configuration.set("HeartbeatInterval", "60"), "Accepted")
        self.assertEqual(fixture.configuration.get("HeartbeatInterval"), 60)
        self.assertEqual(fixture.again().get("HeartbeatInterval"), 60)

    def test_only_what_was_changed_is_stored_and_the_same_value_is_not_written_again(self):
        fixture = Fixture()
        for text in ("60", "60", "060"):
            self.assertEqual(fixture.configuration.set("HeartbeatInterval", text), "Accepted")
        self.assertEqual(fixture.store.writes, 1)
        self.assertEqual(fixture.stored, {"HeartbeatInterval": "60"})
        fixture.configuration.set("TrialDeadline", "90")
        self.assertEqual(fixture.stored, {"HeartbeatInterval": "60", "TrialDeadline": "90"})

    def test_unknown_key_is_not_supported(self):
        self.assertEqual(Fixture().configuration.set("heartbeatinterval", "60"), "NotSupported")

    def test_read_only_key_is_rejected(self):
        configuration = Fixture().configuration
        for key in ("NumberOfConnectors", "SupportedFeatureProfiles", "GetConfigurationMaxKeys"):
            self.assertEqual(configuration.set(key, "2"), "Rejected")
            self.assertEqual(configuration.get(key), KEYS[key][0])

    def test_value_out_of_type_or_bounds_is_rejected(self):
        fixture = Fixture()
        for text in (
            "",
            "0",
            "-5",
            "+5",
            " 5",
            "5 ",
            "1_000",
            "1e3",
            "0x10",
            "5.0",
            "true",
            "99999999",
            "9" * 500,
            "\u0665",
        ):
            self.assertEqual(fixture.configuration.set("HeartbeatInterval", text), "Rejected", text)
        self.assertEqual(fixture.configuration.get("HeartbeatInterval"), 14400)
        self.assertEqual(fixture.store.writes, 0)

    def test_zero_turns_pings_off(self):
        configuration = Fixture().configuration
        self.assertEqual(configuration.set("WebSocketPingInterval", "0"), "Accepted")
        self.assertEqual(configuration.get("WebSocketPingInterval"), 0)

    def test_value_that_cannot_be_stored_is_rejected(self):
        fixture = Fixture()
        fixture.store.full = True
        self.assertEqual(fixture.configuration.set("HeartbeatInterval", "60"), "Rejected")
        self.assertEqual(fixture.configuration.get("HeartbeatInterval"), 14400)

    def test_listeners_hear_of_changes_of_their_key_only(self):
        configuration = Fixture().configuration
        heard = []
        configuration.on_change("HeartbeatInterval", lambda: heard.append(configuration.get("HeartbeatInterval")))
        configuration.set("HeartbeatInterval", "60")
        configuration.set("HeartbeatInterval", "60")
        configuration.set("HeartbeatInterval", "nonsense")
        self.assertEqual(heard, [60])
        configuration.set("TrialDeadline", "60")
        self.assertEqual(heard, [60])


class Overrides(unittest.TestCase):
    def test_override_takes_the_place_of_the_default(self):
        fixture = Fixture(NumberOfConnectors=2, HeartbeatInterval="300")
        self.assertEqual(fixture.configuration.get("NumberOfConnectors"), 2)
        self.assertEqual(fixture.configuration.get("HeartbeatInterval"), 300)
        fixture.configuration.set("HeartbeatInterval", "14400")
        self.assertEqual(fixture.stored, {"HeartbeatInterval": "14400"})

    def test_bad_override_is_logged_and_ignored(self):
        fixture = Fixture(HeartbeatInterval="often", NoSuchKey=1, TrialDeadline=None)
        self.assertEqual(fixture.configuration.get("HeartbeatInterval"), 14400)
        self.assertEqual(len(fixture.log), 3)


class StoredContent(unittest.TestCase):
    def test_unreadable_content_falls_back_to_the_defaults(self):
        for stored in (b"", b"\xff\x00", b"nonsense", b'{"HeartbeatInterval', b"[]", b"7", b"null"):
            fixture = Fixture(stored)
            self.assertEqual(fixture.configuration.get("HeartbeatInterval"), 14400)
            self.assertEqual(fixture.configuration.set("HeartbeatInterval", "60"), "Accepted")
            self.assertEqual(fixture.again().get("HeartbeatInterval"), 60)

    def test_bad_entries_are_ignored_and_good_ones_kept(self):
        fixture = Fixture(b'{"HeartbeatInterval":"-1","TrialDeadline":"90","Gone":"1",7:"1","AuthorizationKey":"xyz"}')
        self.assertEqual(fixture.configuration.get("HeartbeatInterval"), 14400)
        self.assertEqual(fixture.configuration.get("TrialDeadline"), 90)
        self.assertEqual(len(fixture.log), 4)

    def test_store_that_cannot_be_read_falls_back_to_the_defaults(self):
        class Broken(Store):
            def get(self, key):
                raise OSError(5, "NVS is damaged")

        log = []
        self.assertEqual(Configuration(Broken(), {}, log.append).get("HeartbeatInterval"), 14400)
        self.assertEqual(len(log), 1)


class Choices(unittest.TestCase):
    def test_boolean_is_true_or_false(self):
        fixture = Fixture()
        self.assertIs(fixture.configuration.get("UpdateProgressDataTransfer"), False)
        for text, value in (("true", True), ("false", False), ("True", True), ("FALSE", False)):
            self.assertEqual(fixture.configuration.set("UpdateProgressDataTransfer", text), "Accepted")
            self.assertIs(fixture.configuration.get("UpdateProgressDataTransfer"), value)
            self.assertIs(fixture.again().get("UpdateProgressDataTransfer"), value)
        for text in ("", "1", "0", "yes", "on", "true ", "truefalse", "None"):
            self.assertEqual(fixture.configuration.set("UpdateProgressDataTransfer", text), "Rejected", text)

    def test_text_with_a_few_values_takes_only_these(self):
        fixture = Fixture()
        self.assertEqual(fixture.configuration.get("UpdateWhileCharging"), "stop")
        for text in ("wait", "download", "stop"):
            self.assertEqual(fixture.configuration.set("UpdateWhileCharging", text), "Accepted")
            self.assertEqual(fixture.configuration.get("UpdateWhileCharging"), text)
            self.assertEqual(fixture.again().get("UpdateWhileCharging"), text)
        for text in ("", "never", "stop,wait", "s", "true"):
            self.assertEqual(fixture.configuration.set("UpdateWhileCharging", text), "Rejected", text)
        self.assertTrue("stop, wait, download" in fixture.log[-1])

    def test_config_json_may_have_them_as_json_or_as_text(self):
        for value in (True, "true", "True"):
            self.assertIs(
                Fixture(UpdateProgressDataTransfer=value).configuration.get("UpdateProgressDataTransfer"), True
            )
        fixture = Fixture(UpdateProgressDataTransfer=1, UpdateWhileCharging=False)
        self.assertIs(fixture.configuration.get("UpdateProgressDataTransfer"), False)
        self.assertEqual((fixture.configuration.get("UpdateWhileCharging"), len(fixture.log)), ("stop", 2))

    def test_item_shows_a_boolean_in_the_standards_words(self):
        configuration = Fixture(UpdateProgressDataTransfer=True).configuration
        self.assertEqual(item(configuration, "UpdateProgressDataTransfer")["value"], "true")
        self.assertEqual(item(configuration, "RequireSignedFirmware")["value"], "false")
        self.assertEqual(item(configuration, "UpdateWhileCharging")["value"], "stop")


class Lists(unittest.TestCase):
    def test_measurands_are_a_list_with_commas(self):
        fixture = Fixture()
        for key in ("MeterValuesSampledData", "MeterValuesAlignedData", "StopTxnSampledData", "StopTxnAlignedData"):
            for text, value in (
                ("Voltage", "Voltage"),
                ("Voltage, Current.Import ", "Voltage,Current.Import"),
                (",".join(MEASURANDS), ",".join(MEASURANDS)),
                ("", ""),
                (" ", ""),
            ):
                self.assertEqual(fixture.configuration.set(key, text), "Accepted", text)
                self.assertEqual(fixture.configuration.get(key), value)
                self.assertEqual(fixture.again().get(key), value)

    def test_a_list_with_anything_else_is_rejected_as_a_whole(self):
        configuration = Fixture().configuration
        configuration.set("MeterValuesSampledData", "Voltage")
        for text in ("SoC", "Voltage,SoC", "voltage", "Voltage.L1", ",", "Voltage,", "Voltage,Voltage", "x" * 500):
            self.assertEqual(configuration.set("MeterValuesSampledData", text), "Rejected", text)
        self.assertEqual(configuration.get("MeterValuesSampledData"), "Voltage")

    def test_no_list_is_longer_than_its_key_says(self):
        configuration = Fixture().configuration
        for name in (
            "MeterValuesAlignedData",
            "MeterValuesSampledData",
            "StopTxnAlignedData",
            "StopTxnSampledData",
        ):
            self.assertEqual(configuration.get(name + "MaxLength"), KEYS[name][2])
        self.assertEqual(configuration.get("MeterValuesSampledDataMaxLength"), len(MEASURANDS))

    def test_phase_rotation_is_that_of_each_connector(self):
        configuration = Fixture().configuration
        for text in ("0.RST", "0.RST,1.RST,2.RTS", "1.NotApplicable, 2.Unknown", "Unknown", ""):
            self.assertEqual(configuration.set("ConnectorPhaseRotation", text), "Accepted", text)
        for text in ("0.ABC", "0.", "RST.0", "0,RST", "-1.RST", "x.RST", "0.RST,0.RST", "0.RST;1.RST"):
            self.assertEqual(configuration.set("ConnectorPhaseRotation", text), "Rejected", text)
        eleven = ",".join(["%d.RST" % number for number in range(10)] + ["0.RTS"])
        self.assertEqual(configuration.set("ConnectorPhaseRotation", eleven), "Rejected")


class Standard(unittest.TestCase):
    def test_every_required_key_is_there(self):
        for key in REQUIRED.split():
            self.assertTrue(key in KEYS, key)

    def test_feature_profiles_and_limits_are_read_only(self):
        configuration = Fixture().configuration
        for key in READ_ONLY.split():
            self.assertEqual(configuration.set(key, str(configuration.get(key))), "Rejected", key)
            self.assertTrue(item(configuration, key)["readonly"])

    def test_all_that_may_be_changed_can_be_recorded_at_once(self):
        fixture = Fixture()
        for key, (default, lowest, highest, _) in KEYS.items():
            if isinstance(lowest, tuple):
                text = ",".join(lowest[:highest]) if highest else lowest[-1]
            else:
                text = HEX if isinstance(default, bytes) else "true" if isinstance(default, bool) else str(highest)
            if item(fixture.configuration, key)["readonly"]:
                continue
            self.assertEqual(fixture.configuration.set(key, text), "Accepted", (key, text))
        self.assertTrue(len(fixture.store.records["configuration"]) < 4000)  # bytes, of which NVS takes any
        again = fixture.again()
        for key in KEYS:
            self.assertEqual(again.get(key), fixture.configuration.get(key), key)

    def test_no_two_keys_share_a_place(self):
        self.assertEqual(len(Fixture().configuration._values), len(KEYS))

    def test_a_key_that_there_is_not_has_no_value(self):
        with self.assertRaises(KeyError):
            Fixture().configuration.get("heartbeatinterval")


class RequireSignedFirmware(unittest.TestCase):
    def test_it_can_be_switched_on_but_not_off(self):
        fixture = Fixture()
        self.assertEqual(fixture.configuration.set("RequireSignedFirmware", "false"), "Accepted")  # it is
        self.assertEqual(fixture.configuration.set("RequireSignedFirmware", "true"), "Accepted")
        self.assertEqual(fixture.configuration.set("RequireSignedFirmware", "true"), "Accepted")
        self.assertEqual(fixture.configuration.set("RequireSignedFirmware", "false"), "Rejected")
        self.assertTrue("only config.json" in fixture.log[-1])
        self.assertIs(fixture.configuration.get("RequireSignedFirmware"), True)
        again = fixture.again()
        self.assertIs(again.get("RequireSignedFirmware"), True)
        self.assertEqual(again.set("RequireSignedFirmware", "false"), "Rejected")

    def test_config_json_has_the_last_word_at_the_start(self):
        stored = b'{"RequireSignedFirmware": "true"}'
        self.assertIs(Fixture(stored, RequireSignedFirmware=False).configuration.get("RequireSignedFirmware"), False)
        self.assertIs(Fixture(stored).configuration.get("RequireSignedFirmware"), True)
        stored = b'{"RequireSignedFirmware": "false"}'
        self.assertIs(Fixture(stored, RequireSignedFirmware=True).configuration.get("RequireSignedFirmware"), True)

    def test_what_config_json_has_wrong_does_not_switch_it_off(self):
        stored = b'{"RequireSignedFirmware": "true"}'
        for value in ("no", 0, None, []):
            fixture = Fixture(stored, RequireSignedFirmware=value)
            self.assertIs(fixture.configuration.get("RequireSignedFirmware"), True)
            self.assertEqual(len(fixture.log), 1)


class AuthorizationKey(unittest.TestCase):
    def test_hex_becomes_the_password(self):
        fixture = Fixture()
        self.assertEqual(fixture.configuration.get("AuthorizationKey"), b"")
        self.assertEqual(fixture.configuration.set("AuthorizationKey", HEX), "Accepted")
        self.assertEqual(fixture.configuration.get("AuthorizationKey"), PASSWORD)
        self.assertEqual(fixture.again().get("AuthorizationKey"), PASSWORD)

    def test_any_bytes_are_possible(self):
        fixture = Fixture()
        self.assertEqual(fixture.configuration.set("AuthorizationKey", "ff00" * 10), "Accepted")
        self.assertEqual(fixture.again().get("AuthorizationKey"), b"\xff\x00" * 10)

    def test_password_has_16_to_20_bytes(self):
        configuration = Fixture().configuration
        for text in ("", "41" * 15, "41" * 21, "41" * 16 + "4", "sixteen-letters!", "zz" * 16):
            self.assertEqual(configuration.set("AuthorizationKey", text), "Rejected", text)

    def test_it_is_never_shown(self):
        fixture = Fixture()
        fixture.configuration.set("AuthorizationKey", HEX)
        fixture.configuration.set("AuthorizationKey", HEX + "4")
        self.assertEqual(
            item(fixture.configuration, "AuthorizationKey"), {"key": "AuthorizationKey", "readonly": False}
        )
        for line in fixture.log:
            self.assertFalse(HEX in line or "sixteen" in line, line)


class Items(unittest.TestCase):
    def test_item_is_a_key_value_of_the_standard(self):
        configuration = Fixture(NumberOfConnectors=2).configuration
        self.assertEqual(
            item(configuration, "NumberOfConnectors"), {"key": "NumberOfConnectors", "readonly": True, "value": "2"}
        )
        self.assertEqual(
            item(configuration, "HeartbeatInterval"), {"key": "HeartbeatInterval", "readonly": False, "value": "14400"}
        )


if __name__ == "__main__":
    unittest.main()
