import asyncio
import os
import unittest

from hw.files import Files
from ocpp.id_tags import find, key, line, parse, read
from ocpp.rpc import CallError
from station import NOON, Station

PAST, FUTURE = "2026-08-21T11:00:00Z", "2026-08-21T13:00:00Z"
# What a central system may send as idTagInfo that is none.
NO_INFO = (None, 7, "Accepted", [], [{"status": "Accepted"}], {}, {"status": None}, {"status": "accepted"},
           {"status": ["Accepted"]}, {"status": {}}, {"parentIdTag": "GROUP"})  # fmt: skip


def info(status="Accepted", parent=None, expiry=None):
    """An IdTagInfo."""
    result = {"status": status}
    if parent:
        result["parentIdTag"] = parent
    if expiry:
        result["expiryDate"] = expiry
    return result


class Authorization(unittest.TestCase):
    def setUp(self):
        self.start()

    def start(self, **keys):
        self.station = Station(1, **keys)
        self.files = self.station.files

    def authorize(self, tag="TAG"):
        coroutine = self.station.point.call("authorization", "authorize", tag)
        return asyncio.get_event_loop().run_until_complete(coroutine)

    def remember(self, tag="TAG", *given):
        self.station.point.call("authorization", "remember", tag, info(*given))

    def list(self, *entries):
        """The central system sends its local list; entries: (idTag, IdTagInfo's fields…)."""
        items = [{"idTag": entry[0], "idTagInfo": info(*entry[1:])} for entry in entries]
        answer = self.station.call("SendLocalList", listVersion=1, updateType="Full", localAuthorizationList=items)
        self.assertEqual(answer, {"status": "Accepted"})

    def says(self, answer):
        """What the central system is going to say to Authorize; an idTagInfo or an exception."""
        is_error = isinstance(answer, BaseException)
        self.station.answers["Authorize"] = answer if is_error else {"idTagInfo": answer}

    def offline(self):
        self.station.session.registered = False

    @property
    def asked(self):
        """The idTags that the central system was asked about."""
        return [payload["idTag"] for action, payload in self.station.session.calls if action == "Authorize"]

    # ---- online

    def test_an_unknown_id_tag_is_what_the_central_system_says(self):
        for status in ("Accepted", "Blocked", "Expired", "Invalid", "ConcurrentTx"):
            self.says(info(status, "GROUP"))
            self.assertEqual(self.authorize(status), (status, "GROUP"))
        self.assertEqual(len(self.asked), 5)

    def test_a_known_one_is_asked_about_too_unless_it_is_to_be_authorized_here(self):
        self.list(("LISTED", "Accepted", "GROUP"))
        self.remember("CACHED", "Accepted", "CLUB")
        self.says(info("Blocked"))
        self.assertEqual(self.authorize("LISTED"), ("Blocked", None))
        self.assertEqual(self.authorize("CACHED"), ("Blocked", None))
        self.assertEqual(self.asked, ["LISTED", "CACHED"])

    def test_with_local_pre_authorize_one_that_is_valid_here_starts_at_once(self):
        self.start(LocalPreAuthorize=True)
        self.list(("LISTED", "Accepted", "GROUP"), ("DATED", "Accepted", None, FUTURE))
        self.remember("CACHED", "Accepted", "CLUB")
        self.says(info("Blocked"))
        self.assertEqual(self.authorize("LISTED"), ("Accepted", "GROUP"))
        self.assertEqual(self.authorize("DATED"), ("Accepted", None))
        self.assertEqual(self.authorize("CACHED"), ("Accepted", "CLUB"))
        self.assertEqual(self.asked, [])

    def test_one_that_is_not_valid_here_may_be_by_now_so_the_central_system_is_asked(self):
        self.start(LocalPreAuthorize=True)
        for status in ("Blocked", "Expired", "Invalid", "ConcurrentTx"):
            self.list((status, status))
            self.assertEqual(self.authorize(status), ("Accepted", None))
            self.remember("X" + status, status)
            self.assertEqual(self.authorize("X" + status), ("Accepted", None))
        self.list(("OLD", "Accepted", None, PAST))
        self.assertEqual(self.authorize("OLD"), ("Accepted", None))
        self.assertEqual(len(self.asked), 9)

    def test_an_error_as_the_answer_is_a_refusal_unless_the_id_tag_is_valid_here(self):
        self.list(("LISTED", "Accepted", "GROUP"), ("BLOCKED", "Blocked"))
        self.remember("CACHED")
        self.says(CallError("InternalError", "no database"))
        for tag, expected in (
            ("LISTED", ("Accepted", "GROUP")),
            ("CACHED", ("Accepted", None)),
            ("BLOCKED", ("Invalid", None)),
            ("TAG", ("Invalid", None)),
        ):
            self.assertEqual(self.authorize(tag), expected)

    def test_an_error_is_no_outage(self):
        self.start(AllowOfflineTxForUnknownId=True)
        self.says(CallError("InternalError", "no database"))
        self.assertEqual(self.authorize(), ("Invalid", None))

    def test_an_answer_without_a_proper_id_tag_info_is_a_refusal_and_is_not_remembered(self):
        for answer in NO_INFO:
            self.says(answer)
            self.assertEqual(self.authorize(), ("Invalid", None))
        self.station.answers["Authorize"] = {}
        self.assertEqual(self.authorize(), ("Invalid", None))
        self.assertFalse("id_cache" in self.files.names())

    def test_parents_and_dates_that_are_none_do_no_harm(self):
        for parent in (7, "", "x" * 21, [], {}, None):
            self.says({"status": "Accepted", "parentIdTag": parent})
            self.assertEqual(self.authorize(), ("Accepted", None))
        for date in (7, "", "tomorrow", "2026-02-30T12:00:00Z", "9" * 5000, [], {}):
            self.says({"status": "Accepted", "expiryDate": date})
            self.assertEqual(self.authorize("DATED"), ("Accepted", None))
            self.offline()
            self.assertEqual(self.authorize("DATED"), ("Expired", None))  # not to be relied on
            self.station.session.registered = True

    # ---- offline

    def test_offline_the_keys_decide(self):
        # LocalAuthorizeOffline, AllowOfflineTxForUnknownId: LISTED and CACHED, UNKNOWN
        for local, unknown, known, others in (
            (True, False, ("Accepted", "GROUP"), ("Invalid", None)),
            (False, False, ("Invalid", None), ("Invalid", None)),
            (True, True, ("Accepted", "GROUP"), ("Accepted", None)),
            (False, True, ("Accepted", "GROUP"), ("Accepted", None)),
        ):
            self.start(LocalAuthorizeOffline=local, AllowOfflineTxForUnknownId=unknown)
            self.list(("LISTED", "Accepted", "GROUP"))
            self.remember("CACHED", "Accepted", "GROUP")
            self.offline()
            self.assertEqual(self.authorize("LISTED"), known)
            self.assertEqual(self.authorize("CACHED"), known)
            self.assertEqual(self.authorize("UNKNOWN"), others)

    def test_offline_what_is_known_as_not_valid_is_refused_even_if_unknown_ones_are_not(self):
        self.start(AllowOfflineTxForUnknownId=True)
        self.list(("A", "Blocked"), ("B", "Expired"), ("C", "Invalid"), ("D", "Accepted", None, PAST))
        for status in ("Blocked", "Expired", "Invalid"):
            self.remember("X" + status, status)
        self.remember("XOLD", "Accepted", None, PAST)
        self.offline()
        expected = ("Blocked", "Expired", "Invalid", "Expired")
        self.assertEqual(tuple(self.authorize(tag)[0] for tag in "ABCD"), expected)
        tags = ("XBlocked", "XExpired", "XInvalid", "XOLD")
        self.assertEqual(tuple(self.authorize(tag)[0] for tag in tags), expected)

    def test_offline_one_that_was_charging_elsewhere_is_valid(self):
        self.list(("LISTED", "ConcurrentTx"))
        self.remember("CACHED", "ConcurrentTx")
        self.offline()
        self.assertEqual(self.authorize("LISTED"), ("Accepted", None))
        self.assertEqual(self.authorize("CACHED"), ("Accepted", None))

    def test_a_link_that_is_lost_while_the_central_system_is_asked_is_an_outage(self):
        self.remember("CACHED", "Accepted", "GROUP")
        for error in (OSError(110, "no answer"), OSError(104, "connection lost")):
            self.says(error)
            self.assertEqual(self.authorize("CACHED"), ("Accepted", "GROUP"))
            self.assertEqual(self.authorize("UNKNOWN"), ("Invalid", None))

    def test_a_validity_ends_at_its_date_if_the_clock_is_set(self):
        self.list(("LISTED", "Accepted", None, "2026-08-21T12:00:01Z"))
        self.remember("CACHED", "Accepted", None, "2026-08-21T14:00:01+02:00")
        self.offline()
        for seconds, expected in ((NOON, "Accepted"), (NOON + 1, "Expired"), (None, "Accepted")):
            self.station.clock.seconds = seconds
            self.assertEqual(self.authorize("LISTED")[0], expected)
            self.assertEqual(self.authorize("CACHED")[0], expected)

    # ---- list and cache

    def test_the_list_has_priority_over_the_cache(self):
        self.remember("TAG", "Accepted", "CLUB")
        self.list(("TAG", "Blocked"))
        self.offline()
        self.assertEqual(self.authorize(), ("Blocked", None))

    def test_what_is_switched_off_is_not_asked(self):
        self.start(LocalAuthListEnabled=True, AuthorizationCacheEnabled=True)
        self.list(("LISTED",))
        self.remember("CACHED")
        self.offline()
        change = self.station.point.configuration.set
        change("LocalAuthListEnabled", "false")
        self.assertEqual(self.authorize("LISTED"), ("Invalid", None))
        self.assertEqual(self.authorize("CACHED"), ("Accepted", None))
        change("LocalAuthListEnabled", "true")
        change("AuthorizationCacheEnabled", "false")
        self.assertEqual(self.authorize("LISTED"), ("Accepted", None))
        self.assertEqual(self.authorize("CACHED"), ("Invalid", None))

    def test_id_tags_of_the_list_do_not_go_into_the_cache(self):
        self.list(("LISTED",))
        self.authorize("LISTED")
        self.remember("listed")
        self.assertFalse("id_cache" in self.files.names())

    def test_a_contradiction_to_the_list_is_reported_and_changes_nothing(self):
        self.list(("GOOD", "Accepted"), ("BAD", "Blocked"))
        self.station.deliver()
        self.remember("GOOD", "ConcurrentTx")
        self.remember("BAD", "Invalid")
        self.assertEqual(self.station.deliver(), [])
        self.remember("GOOD", "Blocked")
        self.remember("BAD", "Accepted")
        told = self.station.deliver()
        self.assertEqual([action for action, _ in told], ["StatusNotification"] * 2)
        for (_, payload), text in zip(told, ("the list has Accepted for GOOD", "the list has Blocked for BAD")):
            self.assertEqual((payload["connectorId"], payload["errorCode"]), (0, "LocalListConflict"))
            self.assertEqual((payload["status"], payload["info"]), ("Available", text))
        self.assertEqual(self.station.point.connectors[0].error, "NoError")
        self.offline()
        self.assertEqual(self.authorize("GOOD"), ("Accepted", None))

    def test_the_cache_has_what_the_central_system_said_last_over_a_reset(self):
        self.says(info("Accepted", "GROUP", FUTURE))
        self.authorize()
        self.station.reset()
        self.offline()
        self.assertEqual(self.authorize(), ("Accepted", "GROUP"))
        self.remember("TAG", "Blocked")  # as of StopTransaction.conf
        self.assertEqual(self.authorize(), ("Blocked", None))
        for answer in NO_INFO:  # StopTransaction.conf need not have one
            self.station.point.call("authorization", "remember", "TAG", answer)
        self.assertEqual(self.authorize(), ("Blocked", None))

    def test_the_cache_is_off_when_it_is_switched_off(self):
        self.start(AuthorizationCacheEnabled=False)
        self.assertEqual(self.authorize(), ("Accepted", None))
        self.assertFalse("id_cache" in self.files.names())

    def test_clear_cache_forgets_all(self):
        self.remember()
        self.station.point.call("authorization", "clear")
        self.offline()
        self.assertEqual(self.authorize(), ("Invalid", None))
        self.station.point.call("authorization", "clear")  # nothing there

    def test_the_same_again_is_not_written_again(self):
        for tag in ("A", "B", "C"):
            self.remember(tag, "Accepted", "GROUP", FUTURE)
        writes = self.files.writes
        for tag in ("A", "B", "C", "a"):
            self.remember(tag, "Accepted", "GROUP", FUTURE)
        self.assertEqual(self.files.writes, writes)
        self.remember("A", "Accepted", "OTHER", FUTURE)
        self.assertEqual(self.files.writes, writes + 1)
        self.assertEqual(self.files.contents["id_cache"].count("\n"), 3)

    def fill(self, *others):
        """Fill the cache: 0 is the oldest."""
        for i in range(40 - len(others)):
            self.remember("%d" % i)
        for entry in others:
            self.remember(*entry)
        self.assertEqual(self.files.contents["id_cache"].count("\n"), 40)

    def known(self, tag):
        return bool(find(self.station.point, "id_cache", tag))

    def test_a_full_cache_loses_what_is_not_valid(self):
        self.fill(("BLOCKED", "Blocked"), ("OLD", "Accepted", None, "2026-08-21T12:00:10Z"), ("BUSY", "ConcurrentTx"))
        self.station.clock.seconds += 10
        self.remember("NEW")
        self.assertEqual([self.known(tag) for tag in ("BLOCKED", "OLD", "BUSY", "0", "NEW")], [0, 0, 1, 1, 1])
        self.assertEqual(self.files.contents["id_cache"].count("\n"), 39)

    def test_a_full_cache_loses_the_oldest_and_not_what_has_come_again(self):
        self.fill()
        self.remember("0")  # comes again
        self.remember("NEW")
        self.assertEqual([self.known(tag) for tag in ("0", "1", "2", "39", "NEW")], [True, False, True, True, True])
        self.assertEqual(self.files.contents["id_cache"].count("\n"), 40)

    def test_strangers_cannot_drive_the_valid_ones_out_of_the_cache(self):
        self.fill()
        for i in range(100):
            self.remember("STRANGER%d" % i, "Invalid")
        self.assertEqual(sum(self.known("%d" % i) for i in range(40)), 39)

    def test_a_full_flash_is_no_reason_to_refuse_anybody(self):
        self.files.full = True
        self.assertEqual(self.authorize(), ("Accepted", None))
        self.assertTrue("cache can't be written" in self.station.log[-1])

    def test_id_tags_are_case_insensitive(self):
        self.list(("Listed",))
        self.remember("Cached")
        self.remember("CACHED")
        self.assertEqual(self.files.contents["id_cache"].count("\n"), 1)
        self.offline()
        for tag in ("lISTED", "cACHED"):
            self.assertEqual(self.authorize(tag), ("Accepted", None))


class Lines(unittest.TestCase):
    def test_an_id_tag_may_have_any_character(self):
        tags = ("", '"', "\\", "\n", "\r\n", "\t", '",\t"', "\0", "\x7f", "\u00e9", "\u2028", "\U0001f50c", "null")
        entry = ("Accepted", 'a\tb"\n', 2**31 + 5)
        folder = "/tmp/arus_lines_%d" % id(self)
        files = Files(folder)
        try:
            files.write("f", (line(tag, entry) + "\n" for tag in tags))
            read_back = list(files.lines("f"))
            self.assertEqual(len(read_back), len(tags))
            for tag, text in zip(tags, read_back):
                self.assertTrue(text.startswith(key(tag)))
                self.assertEqual(parse(text), entry)
                self.assertEqual([other for other in tags if text.startswith(key(other))], [tag])
        finally:
            files.remove("f")
            os.rmdir(folder)

    def test_an_entry_comes_back_as_it_was(self):
        for entry in (("Blocked", None, None), ("Accepted", "GROUP", 0), ("ConcurrentTx", "g", NOON)):
            self.assertEqual(parse(line("TAG", entry)), entry)

    def test_an_id_tag_info_is_read(self):
        self.assertEqual(read(info("Expired", "GROUP", "2026-08-21T12:00:00Z")), ("Expired", "GROUP", NOON))


if __name__ == "__main__":
    unittest.main()
