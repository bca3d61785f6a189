"""The feature files of records, found by their content."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mer_bench.errors import UserError

if TYPE_CHECKING:
    from mer_bench.merh5 import FeatureFile


def by_content(folder: Path) -> dict[str, FeatureFile]:
    """The feature files of a folder by the hash of their content.

    Raises:
        UserError: there is no such folder, or a file in it is no feature file.
    """
    from mer_bench.merh5 import FeatureFile

    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected the one with the feature files of the records")
    return {file.content_sha256: file for file in map(FeatureFile, sorted(folder.glob("*.h5")))}
