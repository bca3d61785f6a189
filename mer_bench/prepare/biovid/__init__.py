"""BioVid Heat Pain: converters for the forms in which the corpus is found."""

from mer_bench.prepare.biovid.official import OfficialTree
from mer_bench.prepare.biovid.pack import ResearchPack

LAYOUTS = (ResearchPack(), OfficialTree())
