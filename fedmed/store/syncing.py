"""What is renamed into a folder is on the disk only when the folder is, too (POSIX fsync)."""

from __future__ import annotations

from fedmed.identity.files import sync_folder as sync_folder
