"""Layouts of CMU-MOSEI."""

from mer_bench.prepare.cmu.archive import LabelArchive
from mer_bench.prepare.cmu.sdk import ComputationalSequences
from mer_bench.prepare.cmu.split_pickle import SplitPickle

LAYOUTS = (ComputationalSequences("mosei"), LabelArchive("mosei"), SplitPickle("mosei"))
