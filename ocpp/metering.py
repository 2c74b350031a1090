"""Meter values: sampled during a transaction and clock-aligned (OCPP 1.6, 4.7, 3.16); loaded when some are due."""

from micropython import const

_DAY = const(86400)
_LATEST = const(5)  # seconds; what is later than that is not clock-aligned any more
_RETRY = const(30)  # seconds; the time is not known yet
_UNITS = {"E": "Wh", "P": "W", "C": "A", "V": "V"}  # by the first letter of the measurand


def resume(charge_point):
    """After a reset, or when an interval has changed: sample from now on as the keys say."""
    _schedule_aligned(charge_point)
    for connector in charge_point.connectors:
        if connector.transaction:
            _schedule(charge_point, connector)


# ----------------------------------------------------------------------------------------------------- in a transaction


def began(charge_point, connector):
    """A transaction has begun; and may have ended in the meantime."""
    if not connector.transaction:
        return
    connector.taken = {}  # Wh at the last value for a key
    _keep(charge_point, connector, "StopTxnSampledData", "Transaction.Begin")
    _schedule(charge_point, connector)


def ended(charge_point, connector):
    """A transaction is about to end."""
    charge_point.cancel("metering", "periodic", connector.number)
    _keep(charge_point, connector, "StopTxnSampledData", "Transaction.End")


def _schedule(charge_point, connector):
    interval = charge_point.configuration.get("MeterValueSampleInterval")
    charge_point.cancel("metering", "periodic", connector.number)
    if interval:
        passed = charge_point.clock.uptime() - connector.transaction.began
        charge_point.after(interval - passed % interval, "metering", "periodic", connector.number)


def periodic(charge_point, number):
    """MeterValueSampleInterval is over, once more."""
    connector = charge_point.connectors[number]
    if connector.transaction:
        _schedule(charge_point, connector)
        _send(charge_point, connector, "MeterValuesSampledData", "Sample.Periodic")
        _keep(charge_point, connector, "StopTxnSampledData", "Sample.Periodic")


def _send(charge_point, connector, key, context):
    value = sampled(charge_point, connector, key, context)
    if not value:
        return
    session = charge_point.session
    if connector.transaction:
        charge_point.call("transactions", "meter_values", connector, value)
    elif session.registered and session.takes_requests:
        # Nobody has to pay by these: they are not kept while there is no connection.
        session.request("MeterValues", [_request(charge_point, connector, value)])


def _keep(charge_point, connector, key, context):
    """Take values for StopTransaction."""
    value = sampled(charge_point, connector, key, context)
    if value and connector.transaction:
        charge_point.call("transactions", "transaction_data", connector, value)


# --------------------------------------------------------------------------------------------------------- by the clock


def _schedule_aligned(charge_point):
    """Set the timer for the next time. Return how many seconds the last one is ago, and the interval; None: never."""
    charge_point.cancel("metering", "aligned")
    interval = charge_point.configuration.get("ClockAlignedDataInterval")
    if not interval:
        return None
    now = charge_point.clock.now()
    if now is None:
        charge_point.after(_RETRY, "metering", "resume")
        return None
    second = now % _DAY
    ago = second % interval
    charge_point.after(min(interval - ago, _DAY - second), "metering", "aligned")
    return ago, interval


def aligned(charge_point):
    """ClockAlignedDataInterval is over, counted from midnight UTC: nearly so, as clocks are set now and then."""
    due = _schedule_aligned(charge_point)
    if due and due[0] <= _LATEST and 2 * due[0] < due[1]:
        for connector in charge_point.connectors[1:]:
            _send(charge_point, connector, "MeterValuesAlignedData", "Sample.Clock")
            _keep(charge_point, connector, "StopTxnAlignedData", "Sample.Clock")


# ----------------------------------------------------------------------------------------------------------- the values


def trigger(charge_point, numbers):
    """Return payloads of MeterValues.req for TriggerMessage, for those of these connectors that have any values."""
    payloads = []
    for number in numbers:
        connector = charge_point.connectors[number]
        value = sampled(charge_point, connector, "MeterValuesSampledData", "Trigger")
        if value and charge_point.clock.now() is not None:
            payloads.append(_request(charge_point, connector, value))
    return payloads


def _request(charge_point, connector, value):
    from .timestamps import format_time

    value["timestamp"] = format_time(charge_point.clock.now())
    payload = {"connectorId": connector.number, "meterValue": [value]}
    if connector.transaction and connector.transaction.id is not None:
        payload["transactionId"] = connector.transaction.id
    return payload


def sampled(charge_point, connector, key, context):
    """Return a MeterValue (7.33) without its time: what the measurands of a configuration key are now; None: nothing.

    context: ReadingContext (7.38).
    """
    values = []
    outlet = connector.outlet
    figures = outlet.values() if outlet else {}
    for measurand in charge_point.configuration.get(key).split(",") if outlet else ():
        if measurand == "Current.Offered":
            number = outlet.permitted
        elif measurand == "Power.Offered":
            number = outlet.permitted * outlet.voltage * outlet.phases
        elif measurand == "Energy.Active.Import.Interval":
            number = _interval(connector, key, context)
        else:
            number = figures.get(measurand)
        if number is not None:
            text = str(number) if isinstance(number, int) else "%.1f" % number
            values.append({"value": text, "context": context, "measurand": measurand, "unit": _UNITS[measurand[0]]})
    return {"sampledValue": values} if values else None


def _interval(connector, key, context):
    """Return the Wh since the last value for that key, in a transaction no longer than since its begin."""
    energy = connector.outlet.energy
    if not hasattr(connector, "taken"):  # few central systems ever ask for these
        connector.taken = {}
    last = connector.taken.get(key)
    if last is None:
        last = connector.transaction.start if connector.transaction else energy
    if context != "Trigger":
        connector.taken[key] = energy
    return energy - last
