"""Layouts of CMU-MOSI."""

from mer_bench.prepare.cmu.archive import LabelArchive
from mer_bench.prepare.cmu.bclstm import BcLstm
from mer_bench.prepare.cmu.pack import ResearchPack
from mer_bench.prepare.cmu.sdk import ComputationalSequences
from mer_bench.prepare.cmu.split_pickle import SplitPickle

LAYOUTS = (
    ResearchPack(),
    BcLstm(),
    ComputationalSequences("mosi"),
    LabelArchive("mosi"),
    SplitPickle("mosi"),
)
