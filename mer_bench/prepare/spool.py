"""Rows of a modality kept on disk while they are collected."""

from __future__ import annotations

import tempfile

import numpy as np
from numpy.typing import NDArray

from mer_bench.errors import UserError


class Spool:
    """Rows of a modality, collected in a file without a name, so that a corpus need not fit into memory."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by the context)
        self.width = 0
        self.rows = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def add(self, values: NDArray[np.float32], where: object) -> None:
        """Append (rows, features).

        Raises:
            UserError: another number of features than before.
        """
        if self.width and values.shape[1] != self.width:
            raise UserError(f"{where}: {values.shape[1]} features; those before have {self.width}")
        self.width = values.shape[1]
        self.rows += len(values)
        self._file.write(np.ascontiguousarray(values, np.float32).data)

    def array(self) -> NDArray[np.float32]:
        """All rows, read from the file when touched; they outlive the context."""
        self._file.flush()
        return np.memmap(self._file, np.float32, "r", shape=(self.rows, self.width))
