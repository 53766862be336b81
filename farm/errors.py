"""Errors for people: each says where, what is wrong, and what would be right."""


class FarmError(Exception):
    """Anything a user can mend; the command line prints its text without a traceback."""

    exit_code = 1


class ConfigError(FarmError):
    """A key, type or choice of the configuration is wrong."""

    exit_code = 2


class DataError(FarmError):
    """An input file or row is wrong; the text names file and line."""

    exit_code = 3


class StoreError(FarmError):
    """The artefact store is locked by another run, or holds something unexpected."""

    exit_code = 4


class ClusterError(FarmError):
    """Ray could not start, a request cannot be scheduled, or a worker died too often."""

    exit_code = 5
