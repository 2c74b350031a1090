"""The RemoteTrigger profile."""

# What an update is doing, where OCPP 1.6 has no status of its own for it.
_NEAREST = {
    "DownloadScheduled": "Idle",
    "DownloadPaused": "Downloading",
    "SignatureVerified": "Downloaded",
    "InstallScheduled": "Downloaded",
    "InstallRebooting": "Installing",
}


def _requests(charge_point, requested, connectors):
    """Return the payloads of the calls that are to be sent; None for a message that there is not."""
    if requested == "BootNotification":
        return [charge_point.session.boot_payload]
    if requested == "Heartbeat":
        return [{}]
    if requested == "StatusNotification":
        from . import connector_status

        return [connector_status.now(charge_point, connector.number) for connector in connectors]
    if requested == "MeterValues":
        from . import metering

        return metering.trigger(charge_point, [connector.number for connector in connectors])
    if requested == "FirmwareStatusNotification":
        status = charge_point.updater.status
        return [{"status": _NEAREST.get(status, status)}]
    if requested == "DiagnosticsStatusNotification":
        from . import diagnostics

        return [{"status": diagnostics.of(charge_point).status}]
    return None


def _trigger_message(charge_point, payload):
    session = charge_point.session
    requested = payload["requestedMessage"]
    connectors = charge_point.connectors
    if "connectorId" in payload:
        connectors = [connector for connector in connectors if connector.number == payload["connectorId"]]
    requests = _requests(charge_point, requested, connectors)
    if requests is None:
        return {"status": "NotImplemented"}
    if not requests or not connectors or not session.takes_requests:
        return {"status": "Rejected"}
    return {"status": "Accepted"}, lambda: session.request(requested, requests)


HANDLERS = {
    "TriggerMessage": (
        {"requestedMessage": (str, 50, True), "connectorId": (int, 9999, False)},
        _trigger_message,
    )
}
