"""The feature file: one corpus, its modalities, labels and splits in one HDF5 file (merh5 1.0). No torch here."""

from mer_bench.merh5.info import LabelsInfo, ModalityInfo, SplitInfo
from mer_bench.merh5.reader import FeatureFile
from mer_bench.merh5.schema import Contents, Fault, Labels, Modality, Source, SplitTable
from mer_bench.merh5.validator import check
from mer_bench.merh5.writer import write

__all__ = [
    "Contents",
    "Fault",
    "FeatureFile",
    "Labels",
    "LabelsInfo",
    "Modality",
    "ModalityInfo",
    "Source",
    "SplitInfo",
    "SplitTable",
    "check",
    "write",
]
