"""The version of this package, as pyproject.toml states it."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("hdsens")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
