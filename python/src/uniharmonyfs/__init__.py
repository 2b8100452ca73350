"""Git-annex BIDS datasets as folders of plain files, from Python.

The package drives the program uniharmonyfs. Errors are exceptions, one class
for each of its exit codes.
"""

from ._errors import (
    FailedError,
    FailedFile,
    InterruptedDownloadError,
    MountError,
    NoMatchError,
    NoSpaceError,
    PartialError,
    ProgramNotFoundError,
    UniharmonyFSError,
    UnreachableError,
    UsageError,
)
from ._mount import Fetched, mount, prefetch
from ._status import CloneStatus, MountStatus, Status, Transfer, Trouble, status
from .datasets import (
    Cleaned,
    Download,
    clean_tmp,
    clean_tmp_folder,
    download_bids_dataset,
    list_available_files,
)

__all__ = [
    "Cleaned",
    "CloneStatus",
    "Download",
    "FailedError",
    "FailedFile",
    "Fetched",
    "InterruptedDownloadError",
    "MountError",
    "MountStatus",
    "NoMatchError",
    "NoSpaceError",
    "PartialError",
    "ProgramNotFoundError",
    "Status",
    "Transfer",
    "Trouble",
    "UniharmonyFSError",
    "UnreachableError",
    "UsageError",
    "clean_tmp",
    "clean_tmp_folder",
    "download_bids_dataset",
    "list_available_files",
    "mount",
    "prefetch",
    "status",
]
