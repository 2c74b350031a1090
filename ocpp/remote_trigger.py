"""The RemoteTrigger profile."""

# What an update is doing, where OCPP 1.6 has no status of its own for it.
_NEAREST = {
    "DownloadScheduled": "Idle",
    "DownloadPaused": "Downloading",
    "SignatureVerified": "Downloaded",
    "InstallScheduled": "Downloaded",
    "InstallRebooting": "Installing",
}


def _trigger_message(charge_point, payload):
    session = charge_point.session
    requested = payload["requestedMessage"]
    connectors = charge_point.connectors
    if "connectorId" in payload:
        connectors = [connector for connector in connectors if connector == payload["connectorId"]]
    if requested == "BootNotification":
        requests = [session.boot_payload]
    elif requested == "Heartbeat":
        requests = [{}]
    elif requested == "StatusNotification":
        requests = [charge_point.status_notification(connector) for connector in connectors]
    elif requested == "FirmwareStatusNotification":
        status = charge_point.updater.status
        requests = [{"status": _NEAREST.get(status, status)}]
    elif requested == "DiagnosticsStatusNotification":
        from . import diagnostics

        requests = [{"status": diagnostics.of(charge_point).status}]
    else:
        return {"status": "NotImplemented"}
    if not connectors or not session.takes_requests:
        return {"status": "Rejected"}
    return {"status": "Accepted"}, lambda: session.request(requested, requests)


HANDLERS = {
    "TriggerMessage": (
        {"requestedMessage": (str, 50, True), "connectorId": (int, 9999, False)},
        _trigger_message,
    )
}
