"""The states of an update."""

# Which status may follow which: the vocabulary of OCPP 2.0.1; None: no update.
TRANSITIONS = {
    None: ("DownloadScheduled", "Downloading", "InstallationFailed"),
    "DownloadScheduled": ("Downloading", "InstallationFailed"),
    "Downloading": ("Downloaded", "DownloadFailed"),
    "Downloaded": ("InstallScheduled", "Installing", "InstallationFailed"),
    "InstallScheduled": ("Installing", "InstallationFailed"),
    "Installing": ("Installed", "InstallationFailed"),
}


def check(before, after):
    """Raise RuntimeError for a step that isn't in the table: it would be a bug."""
    if after not in TRANSITIONS[before]:
        raise RuntimeError("no way from %s to %s" % (before, after))
