"""IEMOCAP: converters for the forms in which the corpus is found."""

from mer_bench.prepare.iemocap.official import ConversationPapers, OfficialTree
from mer_bench.prepare.iemocap.pack import ResearchPack

LAYOUTS = (ResearchPack(), OfficialTree(), ConversationPapers())
