"""Authorization without asking: the local list, its versions and updates, and the cache.

OCA.md says which cases of the OCA's list are proved here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from central_system import Payload
from oca import FRIEND, PARENT, STRANGER, TAG, TRANSACTIONS, Charger
from simulator.interpreter import Interpreter

pytestmark = pytest.mark.asyncio(loop_scope="module")

GOOD, BAD = {"status": "Accepted"}, {"status": "Blocked"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, interpreter: Interpreter) -> AsyncIterator[Charger]:
    async with Charger(tmp_path_factory.mktemp("oca"), interpreter) as charger:
        yield charger


@pytest_asyncio.fixture(loop_scope="module")
async def charger(shared: Charger) -> AsyncIterator[Charger]:
    async with shared.scenario():
        yield shared


async def send(charger: Charger, version: int, kind: str = "Full", /, **tags: Payload | None) -> str:
    """Send a list, {idTag: IdTagInfo, or None to remove it}; return the status."""
    entries = [{"idTag": tag, **({"idTagInfo": info} if info else {})} for tag, info in tags.items()]
    payload: dict[str, Any] = {"listVersion": version, "updateType": kind, "localAuthorizationList": entries}
    return str((await charger.call("SendLocalList", **payload))["status"])


async def version(charger: Charger) -> int:
    return int((await charger.call("GetLocalListVersion"))["listVersion"])


async def charges_offline(charger: Charger, tag: str) -> bool:
    """Whether a card may charge while the charger is offline."""
    line = len(charger.lines)
    charger.chip.plug()
    await charger.card(tag)

    def told(words: str) -> bool:
        return any(words in text for text in charger.lines[line:])

    await charger.until(lambda: told(f"transaction of {tag} begins") or told(f"{tag} is refused"), "a decision")
    accepted = told("begins")
    if accepted:
        await charger.draws()
    charger.chip.unplug()
    await charger.until(lambda: not charger.chip.contactor(), "the contactor is open")
    await charger.passes(1)
    return accepted


# ------------------------------------------------------------------------------------------------------------- the list


async def test_a_card_of_the_list_needs_no_authorize(charger: Charger) -> None:
    await charger.configure(LocalPreAuthorize=True, AuthorizationCacheEnabled=False)
    assert await send(charger, 1, **{TAG: GOOD}) == "Accepted"
    await charger.card()
    await charger.until_status("Preparing")
    charger.chip.plug()
    await charger.until_status("Charging")
    stop = await charger.stop()
    charger.check(charger.messages("StartTransaction")[0], stop)
    assert charger.messages("Authorize") == []


async def test_where_lists_are_switched_off_there_is_none(charger: Charger) -> None:
    await charger.configure(LocalAuthListEnabled=False)
    assert await version(charger) == -1
    assert await send(charger, 1, **{TAG: GOOD}) == "NotSupported"
    await charger.configure(LocalAuthListEnabled=True)
    assert await version(charger) == 0


async def test_an_empty_list_has_version_0(charger: Charger) -> None:
    await charger.ask("SendLocalList", listVersion=1, updateType="Full")
    assert await version(charger) == 0


async def test_a_full_and_a_differential_update(charger: Charger) -> None:
    await charger.configure(AuthorizationCacheEnabled=False)
    assert await send(charger, 1, **{TAG: GOOD, STRANGER: BAD}) == "Accepted"
    assert await version(charger) == 1
    changes = {FRIEND: {**GOOD, "parentIdTag": PARENT}, STRANGER: GOOD, TAG: None}
    assert await send(charger, 2, "Differential", **changes) == "Accepted"
    assert await version(charger) == 2
    await charger.offline()
    assert [await charges_offline(charger, tag) for tag in (TAG, FRIEND, STRANGER)] == [False, True, True]
    charger.go_online()
    await charger.message("StopTransaction", 2)
    assert await send(charger, 3, **{TAG: GOOD}) == "Accepted"
    assert await version(charger) == 3
    await charger.offline()
    assert [await charges_offline(charger, tag) for tag in (TAG, FRIEND)] == [True, False]


async def test_an_update_with_an_old_version_is_refused(charger: Charger) -> None:
    assert await send(charger, 2, **{TAG: GOOD}) == "Accepted"
    assert await version(charger) == 2
    assert await send(charger, 5, "Differential", **{FRIEND: GOOD}) == "Accepted"
    assert await version(charger) == 5
    assert await send(charger, 4, "Differential", **{FRIEND: BAD}) == "VersionMismatch"
    assert await version(charger) == 5


async def test_a_list_that_cannot_be_kept_fails_and_the_old_one_stays(charger: Charger) -> None:
    assert await send(charger, 1, **{TAG: GOOD}) == "Accepted"
    entries = [{"idTag": TAG, "idTagInfo": GOOD}] * 2  # the same twice: which one would count?
    await charger.ask("SendLocalList", "Failed", listVersion=2, updateType="Full", localAuthorizationList=entries)
    assert await version(charger) == 1


async def test_a_list_outlives_a_power_failure(charger: Charger) -> None:
    await charger.configure(LocalPreAuthorize=True)
    assert await send(charger, 7, **{TAG: GOOD}) == "Accepted"
    charger.chip.cut_power()
    await charger.restarted()
    assert await version(charger) == 7
    await charger.charge()
    assert charger.messages("Authorize") == []


async def test_a_card_that_the_list_refuses_charges_if_the_central_system_says_so_which_is_a_conflict(
    charger: Charger,
) -> None:
    assert await send(charger, 1, **{TAG: BAD}) == "Accepted"
    await charger.charge()
    notification = await charger.message("StatusNotification", errorCode="LocalListConflict")
    assert notification["connectorId"] == 0
    await charger.offline()
    await charger.card()
    await charger.until(lambda: not charger.chip.contactor(), "the contactor is open")
    charger.chip.unplug()
    await charger.passes(2)
    assert not await charges_offline(charger, TAG)


# ------------------------------------------------------------------------------------------------------------ the cache


async def remember(charger: Charger, tag: str = TAG) -> None:
    """Have a card authorized by the central system, and taken back."""
    await charger.card(tag)
    await charger.until_status("Preparing")
    await charger.card(tag)
    await charger.until_status("Available")


async def test_a_card_of_the_cache_needs_no_authorize(charger: Charger) -> None:
    await charger.configure(LocalPreAuthorize=True)
    await remember(charger)
    charger.begin()
    await charger.card()
    await charger.until_status("Preparing")
    charger.chip.plug()
    await charger.until_status("Charging")
    assert charger.story("Authorize", *TRANSACTIONS) == [f"Start {TAG}"]


async def test_without_local_pre_authorize_the_central_system_is_asked(charger: Charger) -> None:
    await charger.configure(LocalPreAuthorize=False)
    await remember(charger)
    await charger.charge()
    assert len(charger.messages("Authorize", idTag=TAG)) == 2


async def test_a_cache_that_was_cleared_knows_nobody(charger: Charger) -> None:
    await charger.configure(LocalPreAuthorize=True)
    await remember(charger)
    await charger.ask("ClearCache")
    await charger.card()
    await charger.until_status("Preparing")
    assert len(charger.messages("Authorize", idTag=TAG)) == 2


async def test_a_cache_that_is_switched_off_is_not_cleared(charger: Charger) -> None:
    await charger.configure(AuthorizationCacheEnabled=False)
    await charger.ask("ClearCache", "Rejected")


async def test_the_cache_decides_offline_also_after_a_power_failure(charger: Charger) -> None:
    charger.central.id_tags[STRANGER] = "Expired"
    await remember(charger)
    await charger.card(STRANGER)
    await charger.logged(f"{STRANGER} is refused: Expired")
    await charger.settled()
    charger.chip.cut_power()
    await charger.restarted()
    await charger.offline()
    assert [await charges_offline(charger, tag) for tag in (TAG, STRANGER, FRIEND)] == [True, False, False]
    await charger.passes(1)


async def test_locally_known_cards_do_not_charge_offline_where_that_is_switched_off(charger: Charger) -> None:
    await charger.configure(LocalAuthorizeOffline=False)
    await remember(charger)
    await charger.offline()
    assert not await charges_offline(charger, TAG)
