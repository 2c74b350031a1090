"""The Core profile: what the central system asks of a charge point (OCPP 1.6, 5)."""


def boot_notification(config, version):
    """Return the payload of BootNotification.req (6.3) from the charger's configuration and its firmware's version."""
    payload = {
        "chargePointVendor": config["vendor"][:20],
        "chargePointModel": config["model"][:20],
        "firmwareVersion": version[:50],
    }
    if "serial" in config:
        payload["chargePointSerialNumber"] = config["serial"][:25]
    return payload


def _connector(charge_point, number):
    """Return the Connector of that number; None if there is none, and for 0, which stands for the charge point."""
    return charge_point.connectors[number] if 0 < number < len(charge_point.connectors) else None


# ------------------------------------------------------------------------------------------- configuration and the like


def _change_configuration(charge_point, payload):
    return {"status": charge_point.configuration.set(payload["key"], payload["value"])}


def _clear_cache(charge_point, payload):
    status = "Rejected"
    if charge_point.configuration.get("AuthorizationCacheEnabled"):
        try:
            charge_point.call("authorization", "clear")
            status = "Accepted"
        except OSError as error:
            charge_point.log("the authorization cache can't be cleared: %s" % error)
    return {"status": status}


def _reset(charge_point, payload):
    return {"status": "Accepted"}, lambda: charge_point.reset(payload["type"])


# ----------------------------------------------------------------------------------------------------------- connectors


def _change_availability(charge_point, payload):
    """5.2. What is to be out of service while a transaction runs there goes out of service at its end."""
    number, operative = payload["connectorId"], payload["type"] == "Operative"
    if number >= len(charge_point.connectors):
        return {"status": "Rejected"}
    connector = charge_point.connectors[number]
    try:
        charge_point.call("connectors", "set_operative", connector, operative)
    except OSError as error:
        charge_point.log("the availability can't be recorded: %s" % error)
        return {"status": "Rejected"}
    busy = connector.transaction if number else charge_point.charging
    return {"status": "Scheduled" if busy and not operative else "Accepted"}


def _unlock_connector(charge_point, payload):
    """5.18, with the errata: an unknown connector is NotSupported like one without a lock."""
    connector = _connector(charge_point, payload["connectorId"])
    status = "NotSupported"
    if connector and connector.outlet and connector.outlet.lock is not None:
        if connector.transaction:
            charge_point.call("charging", "stop_now", connector, "UnlockCommand")
        status = "Unlocked" if connector.outlet.unlock() else "UnlockFailed"
    return {"status": status}


# -------------------------------------------------------------------------------------------------- remote transactions


def _remote_start(charge_point, payload):
    """5.11. The charging profile, if any, waits with the idTag for the transaction to begin."""
    tag, profile = payload["idTag"], payload.get("chargingProfile")
    first = charge_point.configuration.get("AuthorizeRemoteTxRequests")
    if profile is not None:
        charge_point.call("smart_charging", "check", profile)
    if "connectorId" in payload:
        connector = _connector(charge_point, payload["connectorId"])
        # Who has reserved it may be of the same group: that is known when the idTag has been authorized.
        group = connector.reservation[2] if first and connector and connector.reservation else None
        if connector and not charge_point.call("identification", "is_usable", connector, tag, group):
            connector = None
    else:
        connector = charge_point.call("identification", "choose", tag, None)
    # There are no remote transactions while the registration is Pending (4.2).
    if not connector or not tag or not charge_point.session.registered:
        return {"status": "Rejected"}
    if profile is not None and profile["chargingProfilePurpose"] != "TxProfile":
        return {"status": "Rejected"}
    if first:
        return {"status": "Accepted"}, lambda: charge_point.spawn(_identify(charge_point, connector, tag, profile))
    return {"status": "Accepted"}, lambda: charge_point.event("core", "start", connector, tag, None, profile)


async def _identify(charge_point, connector, tag, profile):
    from . import authorization

    status, parent = await authorization.authorize(charge_point, tag)
    charge_point.forget()
    if status == "Accepted":
        start(charge_point, connector, tag, parent, profile)
    else:
        charge_point.log("remote start: %s is refused: %s" % (tag, status))


def start(charge_point, connector, tag, parent, profile):
    """Have an idTag use a connector that has been asked for from afar."""
    if not charge_point.call("identification", "is_usable", connector, tag, parent):
        charge_point.log("remote start: connector %d is not free for %s" % (connector.number, tag))
        return
    if profile is not None and not charge_point.call("smart_charging", "begin_profile", connector, profile):
        return  # what the profile is for, nobody knows here: perhaps the fuse is at stake
    charge_point.call("identification", "authorize", connector.number, tag, parent)


def _remote_stop(charge_point, payload):
    number = payload["transactionId"]
    meant = [one for one in charge_point.connectors if one.transaction and one.transaction.id == number]
    if not meant or not charge_point.session.registered:
        return {"status": "Rejected"}
    return {"status": "Accepted"}, lambda: charge_point.event("charging", "stop", meant[0], "Remote")


_NUMBER = (int, 9999, True)

HANDLERS = {
    "ChangeAvailability": (
        {"connectorId": _NUMBER, "type": (str, ("Inoperative", "Operative"), True)},
        _change_availability,
    ),
    "ChangeConfiguration": ({"key": (str, 50, True), "value": (str, 500, True)}, _change_configuration),
    "ClearCache": ({}, _clear_cache),
    "DataTransfer": (
        {"vendorId": (str, 255, True), "messageId": (str, 50, False), "data": (str, None, False)},
        "data_transfer",
    ),
    "GetConfiguration": ({"key": (list, (str, 50, 999), False)}, "keys"),
    "RemoteStartTransaction": (
        {"idTag": (str, 20, True), "connectorId": (int, 9999, False), "chargingProfile": (dict, None, False)},
        _remote_start,
    ),
    "RemoteStopTransaction": ({"transactionId": (int, None, True)}, _remote_stop),
    "Reset": ({"type": (str, ("Hard", "Soft"), True)}, _reset),
    "UnlockConnector": ({"connectorId": _NUMBER}, _unlock_connector),
}
