import json
import os
import unittest

from hw.files import Files
from ocpp.id_tags import find
from ocpp.rpc import CallError
from station import NOON, Station

# As SteVe sends them.
FULL = (
    '{"listVersion":3,"localAuthorizationList":[{"idTag":"A","idTagInfo":{"expiryDate":"2026-09-01T00:00:00.000Z",'
    '"parentIdTag":"GROUP","status":"Accepted"}},{"idTag":"B","idTagInfo":{"status":"Blocked"}}],"updateType":"Full"}'
)
DIFFERENTIAL = '{"listVersion":4,"localAuthorizationList":[{"idTag":"A"}],"updateType":"Differential"}'
NAME = "local_list"


def item(tag, status="Accepted", **more):
    return {"idTag": tag, "idTagInfo": dict(more, status=status)}


class LocalAuthList(unittest.TestCase):
    def setUp(self):
        self.station = Station(1)
        self.files = self.station.files

    def send(self, version, items, kind="Full"):
        payload = {"listVersion": version, "updateType": kind}
        if items is not None:
            payload["localAuthorizationList"] = items
        return self.station.call("SendLocalList", **payload)["status"]

    def update(self, version, items):
        return self.send(version, items, "Differential")

    def code(self, **payload):
        try:
            self.station.call("SendLocalList", **payload)
        except CallError as error:
            return error.code

    @property
    def version(self):
        return self.station.call("GetLocalListVersion")["listVersion"]

    def found(self, tag):
        return find(self.station.point, NAME, tag)

    def tags(self, *tags):
        return [tag for tag in tags if self.found(tag)]

    def test_it_is_empty_at_first_and_its_version_0(self):
        self.assertEqual(self.version, 0)

    def test_when_switched_off_it_is_not_supported(self):
        self.assertEqual(self.send(1, [item("A")]), "Accepted")
        self.station.point.configuration.set("LocalAuthListEnabled", "false")
        self.assertEqual(self.version, -1)
        self.assertEqual(self.send(2, []), "NotSupported")
        self.station.point.configuration.set("LocalAuthListEnabled", "true")
        self.assertEqual(self.version, 1)

    def test_the_messages_of_steve(self):
        self.assertEqual(self.station.call("SendLocalList", **json.loads(FULL)), {"status": "Accepted"})
        self.assertEqual(self.version, 3)
        self.assertEqual(self.found("A"), ("Accepted", "GROUP", NOON + 10 * 86400 + 43200))
        self.assertEqual(self.found("B"), ("Blocked", None, None))
        self.assertEqual(self.station.call("SendLocalList", **json.loads(DIFFERENTIAL)), {"status": "Accepted"})
        self.assertEqual(self.version, 4)
        self.assertEqual(self.tags("A", "B"), ["B"])

    def test_it_outlasts_a_reset(self):
        self.send(7, [item("A")])
        self.station.reset()
        self.assertEqual((self.version, self.tags("A")), (7, ["A"]))

    def test_a_full_update_replaces_it_whatever_its_version(self):
        self.send(7, [item("A"), item("B")])
        for version in (7, 2, 9):
            self.assertEqual(self.send(version, [item("C")]), "Accepted")
            self.assertEqual((self.version, self.tags("A", "B", "C")), (version, ["C"]))

    def test_a_full_update_without_a_list_clears_it(self):
        for items in ([], None):
            self.send(7, [item("A")])
            self.assertEqual(self.send(8, items), "Accepted")
            self.assertEqual((self.version, self.tags("A"), NAME in self.files.names()), (0, [], False))
        self.assertEqual(self.send(0, []), "Accepted")

    def test_a_differential_update_adds_changes_and_removes(self):
        self.send(1, [item("A"), item("B", "Blocked"), item("C")])
        changes = [item("B", parentIdTag="GROUP"), {"idTag": "C"}, item("D", "Invalid"), {"idTag": "NONE"}]
        self.assertEqual(self.update(2, changes), "Accepted")
        self.assertEqual(self.version, 2)
        self.assertEqual(self.tags("A", "B", "C", "D", "NONE"), ["A", "B", "D"])
        self.assertEqual(self.found("B"), ("Accepted", "GROUP", None))
        self.assertEqual(self.files.contents[NAME].count("\n"), 4)

    def test_a_differential_update_may_be_the_first_or_remove_the_last(self):
        self.assertEqual(self.update(5, [item("A")]), "Accepted")
        self.assertEqual(self.version, 5)
        self.assertEqual(self.update(6, [{"idTag": "A"}]), "Accepted")
        self.assertEqual(self.version, 0)

    def test_a_differential_update_without_a_list_gives_it_a_version_only(self):
        self.send(1, [item("A")])
        for version, items in ((2, []), (3, None)):
            self.assertEqual(self.update(version, items), "Accepted")
            self.assertEqual((self.version, self.tags("A")), (version, ["A"]))

    def test_a_differential_update_needs_a_greater_version(self):
        self.send(5, [item("A")])
        for version in (5, 4, 0):
            self.assertEqual(self.update(version, [{"idTag": "A"}]), "VersionMismatch")
        self.assertEqual((self.version, self.tags("A")), (5, ["A"]))

    def test_id_tags_are_case_insensitive(self):
        self.send(1, [item("TagA")])
        self.assertEqual(self.tags("tAGa"), ["tAGa"])
        self.update(2, [item("TAGA", "Blocked")])
        self.assertEqual(self.found("taga"), ("Blocked", None, None))
        self.assertEqual(self.update(3, [item("x"), item("X")]), "Failed")
        self.update(4, [{"idTag": "taga"}])
        self.assertEqual(self.version, 0)

    def test_an_id_tag_that_comes_twice_is_refused(self):
        self.send(1, [item("A")])
        for kind in ("Full", "Differential"):
            self.assertEqual(self.send(2, [item("B"), item("C"), item("B", "Blocked")], kind), "Failed")
        self.assertEqual(self.update(2, [item("B"), {"idTag": "B"}]), "Failed")
        self.assertEqual((self.version, self.tags("A", "B", "C")), (1, ["A"]))

    def test_it_takes_as_many_as_the_keys_say(self):
        folder = "/tmp/arus_list_%d" % id(self)
        self.station.point.files = files = Files(folder)  # it is too long for the memory
        try:
            self.fill()
        finally:
            files.remove(NAME)
            os.rmdir(folder)

    def fill(self):
        get = self.station.point.configuration.get
        at_once, most = get("SendLocalListMaxLength"), get("LocalAuthListMaxLength")
        for i in range(0, most, at_once):
            part = [item("TAG%d" % (i + j), parentIdTag="GROUP") for j in range(at_once)]
            self.assertEqual(self.update(i + 1, part), "Accepted")
        last = "TAG%d" % (most - 1)
        self.assertEqual(self.tags("TAG0", last, "TAG%d" % most), ["TAG0", last])
        version = self.version
        self.assertEqual(self.update(version + 1, [item("ONE")]), "Failed")
        self.assertTrue("LocalAuthListMaxLength" in self.station.log[-1])
        self.assertEqual((self.version, self.tags("ONE")), (version, []))
        self.assertEqual(self.update(version + 1, [item("ONE"), {"idTag": "TAG0"}, item(last)]), "Accepted")
        self.assertEqual(self.tags("ONE", "TAG0", last), ["ONE", last])
        items = [item("X%d" % i) for i in range(at_once + 1)]
        for kind in ("Full", "Differential"):
            code = self.code(listVersion=version + 2, updateType=kind, localAuthorizationList=items)
            self.assertEqual(code, "OccurenceConstraintViolation")

    def test_version_0_is_that_of_an_empty_list(self):
        self.assertEqual(self.send(0, [item("A")]), "Failed")
        self.assertFalse(NAME in self.files.names())

    def test_a_full_flash_leaves_it_as_it_was(self):
        self.send(1, [item("A")])
        self.files.full = True
        self.assertEqual(self.send(2, [item("B")]), "Failed")
        self.assertEqual(self.update(2, [item("B")]), "Failed")
        self.assertEqual((self.version, self.tags("A", "B")), (1, ["A"]))

    def test_every_field_is_checked(self):
        good = {"listVersion": 2, "updateType": "Full", "localAuthorizationList": [item("A")]}
        self.send(1, [item("Z")])
        type_, size, count, form = (
            "TypeConstraintViolation",
            "PropertyConstraintViolation",
            "OccurenceConstraintViolation",
            "FormationViolation",
        )
        for code, change in (
            (type_, {"listVersion": "2"}),
            (type_, {"listVersion": 2.0}),
            (type_, {"listVersion": True}),
            (type_, {"listVersion": None}),
            (size, {"listVersion": -1}),
            (size, {"listVersion": 2**31}),
            (type_, {"updateType": 1}),
            (size, {"updateType": "full"}),
            (form, {"hash": "x"}),
            (type_, {"localAuthorizationList": {}}),
            (type_, {"localAuthorizationList": None}),
            (type_, {"localAuthorizationList": ["A"]}),
            (type_, {"localAuthorizationList": [None]}),
            (type_, {"localAuthorizationList": [[]]}),
            (count, {"localAuthorizationList": [{}]}),
            (count, {"localAuthorizationList": [{"idTag": "A"}]}),  # Full
            (count, {"localAuthorizationList": [{"idTagInfo": {"status": "Accepted"}}]}),
            (type_, {"localAuthorizationList": [{"idTag": 7, "idTagInfo": {"status": "Accepted"}}]}),
            (size, {"localAuthorizationList": [item("x" * 21)]}),
            (form, {"localAuthorizationList": [{"idTag": "A", "idTagInfo": {"status": "Accepted"}, "more": 1}]}),
            (type_, {"localAuthorizationList": [{"idTag": "A", "idTagInfo": "Accepted"}]}),
            (type_, {"localAuthorizationList": [{"idTag": "A", "idTagInfo": None}]}),
            (count, {"localAuthorizationList": [{"idTag": "A", "idTagInfo": {}}]}),
            (type_, {"localAuthorizationList": [item("A", None)]}),
            (size, {"localAuthorizationList": [item("A", "accepted")]}),
            (form, {"localAuthorizationList": [item("A", more=1)]}),
            (type_, {"localAuthorizationList": [item("A", parentIdTag=7)]}),
            (size, {"localAuthorizationList": [item("A", parentIdTag="x" * 21)]}),
            (type_, {"localAuthorizationList": [item("A", expiryDate=1787313600)]}),
            (size, {"localAuthorizationList": [item("A", expiryDate="tomorrow")]}),
            (size, {"localAuthorizationList": [item("A", expiryDate="2026-02-30T00:00:00Z")]}),
            (size, {"localAuthorizationList": [item("A"), item("B", expiryDate="9" * 100)]}),
        ):
            self.assertEqual(self.code(**dict(good, **change)), code)
        for name in ("listVersion", "updateType"):
            payload = {key: good[key] for key in good if key != name}
            self.assertEqual(self.code(**payload), count)
        try:
            self.station.call("GetLocalListVersion", more=1)
            self.fail()
        except CallError as error:
            self.assertEqual(error.code, form)
        self.assertEqual((self.version, self.tags("A", "Z")), (1, ["Z"]))


if __name__ == "__main__":
    unittest.main()
