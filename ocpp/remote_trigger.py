"""The RemoteTrigger profile."""

from .firmware_management import firmware_status


def register(charge_point, session, updater):
    """Put the handler of this profile into the table."""

    def trigger_message(payload):
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
            requests = [firmware_status(updater.status)]
        else:
            return {"status": "NotImplemented"}
        if not connectors or not session.takes_requests:
            return {"status": "Rejected"}
        return {"status": "Accepted"}, lambda: session.request(requested, requests)

    fields = {"requestedMessage": (str, 50, True), "connectorId": (int, 9999, False)}
    charge_point.handlers["TriggerMessage"] = fields, trigger_message
