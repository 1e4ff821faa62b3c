"""The version of the installed distribution."""

from importlib.metadata import PackageNotFoundError, version

__all__ = ["__version__"]

try:
    __version__ = version("streams-engine")
except PackageNotFoundError:  # a checkout on the path, not an installation
    __version__ = "0+unknown"
